"""Whether a finished study's tables are true: its trials replayed here, and what differs judged."""

from raprune.launch.verifying.judging import ENGINES, EQUAL, REFUTED, ROUNDING, Finding, Verified
from raprune.launch.verifying.study import Part, verify

__all__ = ["ENGINES", "EQUAL", "REFUTED", "ROUNDING", "Finding", "Part", "Verified", "verify"]
