"""What a study may cost before it ends itself."""

from __future__ import annotations

from pydantic import ConfigDict, Field, model_validator

from raprune.registry import Settings
from raprune.study.wording import counted


class BudgetSpec(Settings):
    """Once one of these is spent, a study ends with the best so far within the bound; never part of a trial's id."""

    model_config = ConfigDict(json_schema_extra={"minProperties": 1})

    hours: float | None = Field(default=None, gt=0)
    """Hours that all runs of the study may take together, whether or not they had a budget."""
    candidates: int | None = Field(default=None, ge=1)
    """Candidates that all trials of the study may ask for together, those that the memo answers included."""

    @model_validator(mode="after")
    def _something(self) -> BudgetSpec:
        if self.hours is None and self.candidates is None:
            raise ValueError("must have hours, candidates, or both")
        return self

    def __str__(self) -> str:
        """``8 hours``, ``2,000 candidates``, ``8 hours or 2,000 candidates``."""
        parts = [] if self.hours is None else [f"{self.hours:g} hour{'' if self.hours == 1 else 's'}"]
        if self.candidates is not None:
            parts.append(counted(self.candidates, "candidate"))
        return " or ".join(parts)
