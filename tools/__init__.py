"""What the repository makes of itself: its generated documents and pictures."""
