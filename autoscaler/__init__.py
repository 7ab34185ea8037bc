"""The autoscaler: the rule that sets limits, and the exporter that shows a host's cards.

What is seen comes in through readings.py, watch.py decides with the rule of policy.py, and loop.py
is what looks, reports and writes down.
"""
