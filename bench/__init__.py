"""What ygg costs, measured on this machine. `make bench` runs all of it."""
