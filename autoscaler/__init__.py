"""The autoscaler's place. Nothing runs here yet: limits stay where hosts.yaml and people put them."""
