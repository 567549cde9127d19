"""What everything is compared with: the trained, untouched network, and what it was made of."""
