"""What is done to a network after the last layer has been decided, before the final fine-tune."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import combinations
from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field, field_validator, model_validator

from raprune.registry import SCHEMES, Settings
from raprune.study.names import NameOf
from raprune.study.wording import check_layers, check_once, layers_as_json

SchemeName = Annotated[str, NameOf(SCHEMES)]
LAYERS = ["whole", "all"]
RULES = ("energy", "rank", "ratio")
"""Ways to say a layer's rank; without any it is searched."""
TWO_RULES = tuple(combinations(RULES, 2))


class LowRankSpec(Settings):
    """Factorises layers into two smaller ones; a layer that would exceed the bound, or save nothing, stays as it is.

    Without ``energy``, ``rank`` and ``ratio`` a layer's rank is the smallest that is within the drop bound.
    """

    model_config = ConfigDict(json_schema_extra={"not": {"anyOf": [{"required": list(two)} for two in TWO_RULES]}})

    schemes: list[SchemeName] = Field(default=["response_svd"], min_length=1, json_schema_extra={"uniqueItems": True})
    """Ways to factorise; for each layer the first that can is used."""
    layers: Literal["whole", "all"] | list[str] = Field(default="whole", json_schema_extra=layers_as_json(LAYERS))
    """Layers to try: ``whole`` (those with no filter pruned), ``all``, or names."""
    order: Literal["largest_saving", "low_to_high", "high_to_low"] = "largest_saving"
    """The order in which layers are tried: by the parameters that rank 1 would save, or by place in the network."""
    energy: float | None = Field(default=None, gt=0, le=1)
    """Share of the squared singular values to keep (of the responses' variance, for response_svd)."""
    rank: int | None = Field(default=None, ge=1)
    """Filters of the first of the two layers."""
    ratio: float | None = Field(default=None, gt=0, lt=1)
    """Share of the layer's parameters that the two layers may have."""
    finetune: bool = False
    """Fine-tune after each factorised layer as after a pruned one (``finetune.after_layer``)."""
    images: int = Field(default=256, ge=1)
    """Training images on which response_svd measures responses; all, where there are fewer."""

    def layers_among(self, known: Iterable[str]) -> list[str]:
        """The layers to look at, of a network that has the layers ``known``."""
        return list(self.layers) if isinstance(self.layers, list) else list(known)

    @field_validator("schemes")
    @classmethod
    def _schemes_once(cls, schemes: list[SchemeName]) -> list[SchemeName]:
        return check_once(schemes, "scheme")

    @field_validator("layers", mode="before")
    @classmethod
    def _layers_named(cls, layers: Any) -> Any:
        return check_layers(layers, LAYERS, ", ".join(LAYERS))

    @model_validator(mode="after")
    def _one_rule(self) -> LowRankSpec:
        given = [name for name in RULES if getattr(self, name) is not None]
        if len(given) > 1:
            raise ValueError(f"must have at most one of {', '.join(RULES)}")
        return self


class JointSpec(Settings):
    """Spends what is left of the drop bound on all layers together: prunes where a point saves most."""

    candidates: int | None = Field(default=None, ge=1)
    """Most masks that may be scored in a pass; left out, as many as in a layer, or 50 where that has no limit."""
    passes: int = Field(default=3, ge=0)
    """Passes, each with a fine-tune as after a layer, which may win back score for the next. A pass that prunes
    nothing is the last, unless the next one is lent less credit. 0 for none."""
    saves: Literal["macs", "params"] = "macs"
    """What is to be saved with each point: multiply-adds or parameters."""
    proposals: int = Field(default=4, ge=1)
    """Masks scored at once; the first that fits is taken."""


class PostprocessSpec(Settings):
    """Steps after the last layer has been decided, before the final fine-tune, within the drop bound as well."""

    joint: JointSpec | None = None
    """Prune all layers together once each has been decided: ``{}`` for the defaults, ``{passes: 0}`` for none.
    Left out, the default preset has it after ``decision: search`` over several layers, each with a fine-tune."""
    low_rank: LowRankSpec | None = None
    """Factorise layers into smaller ones: ``{}`` for the defaults; left out for none."""

    @field_validator("joint")
    @classmethod
    def _none_without_passes(cls, joint: JointSpec | None) -> JointSpec | None:
        return None if joint is None or joint.passes == 0 else joint
