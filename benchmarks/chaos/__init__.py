"""Chaos: a study whose processes are killed and suspended by a seeded schedule, and what it lost."""
