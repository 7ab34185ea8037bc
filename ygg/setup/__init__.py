"""Sets a fleet up: asks servers what they have, proposes hosts.yaml, writes it where none is."""
