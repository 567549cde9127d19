"""What is known before a study runs: what is wrong with it, and what it will cost."""
