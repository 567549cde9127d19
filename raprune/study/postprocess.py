"""What is done to a network after the last layer has been decided, before the final fine-tune."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations
from typing import Any, Literal

from pydantic import ConfigDict, Field, field_validator, model_validator

from raprune.registry import Settings
from raprune.study.wording import closest, shown

SchemeName = Literal["svd", "filter_basis", "response_svd", "separable"]
LAYERS_AS_JSON: dict[str, Any] = {
    "anyOf": [
        {"enum": ["whole", "all"]},
        {"type": "array", "items": {"type": "string"}, "minItems": 1, "uniqueItems": True},
    ]
}
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
    layers: Literal["whole", "all"] | list[str] = Field(default="whole", json_schema_extra=LAYERS_AS_JSON)
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

    @field_validator("schemes")
    @classmethod
    def _schemes_once(cls, schemes: list[SchemeName]) -> list[SchemeName]:
        if (twice := _twice(schemes)) is not None:
            raise ValueError(f"must name each scheme once; {shown(twice)} is given twice")
        return schemes

    @field_validator("layers", mode="before")
    @classmethod
    def _layers_named(cls, layers: Any) -> Any:
        if isinstance(layers, str) and layers not in ("whole", "all"):
            raise ValueError(f"must be whole, all or a list of layer names{closest(layers, ['whole', 'all'])}")
        if isinstance(layers, list) and not layers:
            raise ValueError("must be a list of at least one layer")
        if isinstance(layers, list) and (twice := _twice(layers)) is not None:
            raise ValueError(f"must name each layer once; {shown(twice)} is given twice")
        return layers

    @model_validator(mode="after")
    def _one_rule(self) -> LowRankSpec:
        given = [name for name in RULES if getattr(self, name) is not None]
        if len(given) > 1:
            raise ValueError(f"must have at most one of {', '.join(RULES)}")
        return self


def _twice(names: Sequence[Any]) -> Any:
    """The first name that is repeated."""
    return next((name for index, name in enumerate(names) if name in names[:index]), None)


class PostprocessSpec(Settings):
    """Steps after the last layer has been decided, before the final fine-tune, within the drop bound as well."""

    low_rank: LowRankSpec | None = None
    """Factorise layers into smaller ones: ``{}`` for the defaults; left out for none."""
