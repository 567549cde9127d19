"""What can be known before any work is paid for: what is wrong, and what it will cost."""
