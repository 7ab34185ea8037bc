"""What the repository makes of itself: reference pages, recorded sessions. Not installed."""
