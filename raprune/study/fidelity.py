"""Named fidelities: ways to score a candidate approximately, all of them off by default.

Whatever is set here, what is committed is fine-tuned and measured at full fidelity; under ``recalibrate`` that
fine-tune starts from re-estimated batch norms, as the candidates had them.
"""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field, SerializerFunctionWrapHandler, model_serializer, model_validator

from raprune.registry import Settings

MOST_TOGETHER = 64


class FidelitySpec(Settings):
    """Which parts of a candidate's full measurement are left out to save time."""

    val_images: int | None = Field(default=None, ge=2)
    """How many val images (a seeded choice) compare a candidate with the state it is cut from; null for all."""
    finetune_steps: int | None = Field(default=None, ge=1)
    """Optimiser steps before the reward, instead of finetune.before_reward; null for no change."""
    finetune: Literal["full", "suffix", "recalibrate"] = "full"
    """``suffix`` trains only what lies above the decided layer; ``recalibrate`` only re-estimates the batch norms."""
    recalibration_batches: int = Field(default=8, ge=1)
    """Training batches over which ``recalibrate`` averages the batch norms' statistics."""
    precision: Literal["full", "tf32", "bfloat16"] = "full"
    """``tf32``, on a GPU, fine-tunes and scores candidates in it. ``bfloat16`` scores them under autocast; training and
    recalibration before it stay in full precision."""
    racing: float | None = Field(default=None, gt=0)
    """Stop once the score so far plus this many standard errors is below the reward's floor; null for never."""
    together: int = Field(default=1, ge=1, le=MOST_TOGETHER)
    """How many candidates are fine-tuned before their reward in one set of launches, for a GPU that one leaves idle;
    1: one by one. Scores differ by rounding, and not by what else is in the set."""

    @model_validator(mode="after")
    def _no_steps_without_training(self) -> FidelitySpec:
        if self.recalibrates and self.finetune_steps is not None:
            raise ValueError("must not set finetune_steps with finetune: recalibrate, which takes no steps")
        return self

    @model_validator(mode="after")
    def _whole_fine_tunes_together(self) -> FidelitySpec:
        if self.together > 1 and self.finetune != "full":
            raise ValueError(f"must not set together with finetune: {self.finetune}, whose candidates go one by one")
        return self

    @model_serializer(mode="wrap")
    def _without_unused(self, values: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Without what was added later, where it is not used: trials keep the ids that they had."""
        dumped: dict[str, Any] = values(self)
        return {name: value for name, value in dumped.items() if (name, value) != ("together", 1)}

    @property
    def is_full(self) -> bool:
        """Whether nothing is approximate."""
        parts = (self.finetune, self.precision, self.val_images, self.finetune_steps, self.racing, self.together)
        return parts == ("full", "full", None, None, None, 1)

    @property
    def recalibrates(self) -> bool:
        """Whether candidates have their batch norms re-estimated, so that what is committed starts from those."""
        return self.finetune == "recalibrate"

    def name(self, finetune: str) -> str:
        """All that is approximate, and how candidates are fine-tuned; ``finetune`` describes the full fine-tune."""
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
        if self.together > 1:
            parts.append(f"{self.together} together")
        return ", ".join(parts)
