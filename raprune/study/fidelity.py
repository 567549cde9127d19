"""How a candidate is scored where that may be approximate: named fidelities, all of them off by default.

What is committed is fine-tuned and measured at full fidelity whatever stands here; under ``recalibrate`` that
fine-tune starts from batch norms measured anew, as the candidates had them.
"""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from raprune.registry import Settings


class FidelitySpec(Settings):
    """What of the full measurement of a candidate is left out, to save time."""

    val_images: int | None = Field(default=None, ge=2)
    """Images of val, a seeded choice, on which a candidate is compared with the state it is cut from; null for all."""
    finetune_steps: int | None = Field(default=None, ge=1)
    """Optimiser steps before the reward in the place of finetune.before_reward; null for those."""
    finetune: Literal["full", "suffix", "recalibrate"] = "full"
    """``suffix`` trains only what lies above the decided layer, ``recalibrate`` only measures its batch norms anew."""
    recalibration_batches: int = Field(default=8, ge=1)
    """Training batches over which ``recalibrate`` averages the batch norms' statistics."""
    precision: Literal["full", "bfloat16"] = "full"
    """``bfloat16`` scores candidates under autocast; what is trained or recalibrated before stays in full."""
    racing: float | None = Field(default=None, gt=0)
    """Standard errors above the score seen so far that must lie below the reward's floor to stop; null for never."""

    @model_validator(mode="after")
    def _no_steps_without_training(self) -> FidelitySpec:
        if self.recalibrates and self.finetune_steps is not None:
            raise ValueError("must have no finetune_steps beside finetune: recalibrate, which takes none")
        return self

    @property
    def is_full(self) -> bool:
        """Whether nothing is approximate."""
        parts = (self.finetune, self.precision, self.val_images, self.finetune_steps, self.racing)
        return parts == ("full", "full", None, None, None)

    @property
    def recalibrates(self) -> bool:
        """Whether candidates have their batch norms measured anew, so that what is committed starts from those."""
        return self.finetune == "recalibrate"

    def name(self, finetune: str) -> str:
        """All that is not full, and how candidates are fine-tuned; ``finetune`` is that at full fidelity, in words."""
        if self.finetune_steps is not None:
            finetune = f"finetune={self.finetune_steps} steps"
        if self.recalibrates:
            finetune = f"recalibrate={self.recalibration_batches} batches"
        parts = [finetune]
        if self.finetune == "suffix":
            parts.append("suffix only")
        if self.val_images is not None:
            parts.append(f"{self.val_images} val images")
        if self.precision != "full":
            parts.append(self.precision)
        if self.racing is not None:
            parts.append(f"racing {self.racing:g}")
        return ", ".join(parts)
