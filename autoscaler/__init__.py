"""The autoscaler: the rule that sets limits, and the exporter that shows a host's cards.

The loop that applies the rule is not here yet: limits stay where hosts.yaml and people put them.
"""
