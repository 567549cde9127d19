"""What everything is compared with: the trained, untouched network, and its sources."""
