"""Trackers outside that feed tasks and hear what became of them."""
