"""The typed form of a study and of its trials: what each key means, its unit and its default."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Annotated, Any, Literal

from pydantic import Field, SerializerFunctionWrapHandler, field_validator, model_serializer, model_validator
from pydantic_core import PydanticCustomError

from raprune.registry import Settings
from raprune.study.budget import BudgetSpec
from raprune.study.choice import Choice as Choice
from raprune.study.fidelity import FidelitySpec
from raprune.study.parts import BaselineSpec, DataSpec, EvaluatorsSpec, FinetuneSpec, ScoringSpec
from raprune.study.postprocess import PostprocessSpec
from raprune.study.search import SearchSpec
from raprune.study.seeds import NUMERICS_VERSION, digest
from raprune.study.wording import check_layers, layers_as_json

MIN_DROP_BOUND = 0.1
DEFAULT_GUARD = 0.3
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,99}")
AUTO_BOUNDS, AUTO_POINTS = 1.0, 4.0
"""``credit: auto`` begins with so many drop bounds, but no more than so many points (:mod:`raprune.trial.credit`)."""
AUTO_RULE = "auto: additive increase, multiplicative decrease"
"""What an id hashes of ``credit: auto``, whose numbers an earlier rule set otherwise."""
LAYERS = ["all", "each"]
"""``each`` is expanded before a trial is made."""


NEW_FIELDS: dict[str, Any] = {
    "round_to": 1,
    "fidelity": FidelitySpec(),
    "postprocess": PostprocessSpec(),
    "guard": 0.0,
    "warranty": None,
    "candidates_per_layer": "none",
    "images_per_layer": "none",
    "allocation": Choice(name="shared"),
    "credit": 0.0,
}
"""Fields that were added to a trial later, with what results older than the field had: at that value they are left out
of its id, so that those results still belong to the trial."""


class ModelChoice(Choice):
    """A network, and how it is traced."""

    whole: list[str] = Field(default_factory=list)
    """Modules and nodes that are not traced into: what they read is not pruned."""
    output: str | int | None = None
    """The output that is scored, where the network returns several: a key, or an index."""
    precision: Literal["float32", "float64"] | None = None
    """Type of the weights, in which everything is computed; null leaves them as the network is built."""

    @model_serializer(mode="wrap")
    def _without_unused(self, values: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Without the precision where none is set: trials keep the ids that they had before there was one."""
        dumped: dict[str, Any] = values(self)
        return {name: value for name, value in dumped.items() if (name, value) != ("precision", None)}


class DataChoice(Choice):
    """A data set as a trial reads it."""

    guard: float = 0.0
    """The share of val that is set aside as the guard."""


class TrialSpec(Settings):
    """One point of a study: frozen, complete, picklable. Its id hashes what changes its numbers."""

    study: str
    model: ModelChoice
    """The network that is pruned."""
    dataset: Choice
    """What it is trained and scored on."""
    score: Choice
    """How good a network is on its task."""
    baseline: BaselineSpec = BaselineSpec()
    layers: Literal["all"] | list[str] = Field(default="all", json_schema_extra=layers_as_json(LAYERS))
    """The layers to decide: ``all``, ``each`` (one trial per layer) or names (of a group: its first convolution)."""
    order: Choice
    """The order in which layers are decided."""
    allocation: Choice = Choice(name="shared")
    """How much of the drop bound each layer may use."""
    method: Choice
    """How the filters of a layer are ranked."""
    decision: Choice
    """How it is decided which filters of a ranked layer go; where it is not set, as is usual for the method."""
    candidates_per_layer: Annotated[int, Field(ge=1)] | Literal["none"] = "none"
    """Most masks that may be scored to decide a layer, whatever the method; none for no limit."""
    images_per_layer: Annotated[int, Field(ge=1)] | Literal["none"] = "none"
    """Most images for a layer's masks: masks times the images that each needs in full; none for no limit."""
    reward: Choice
    """What a candidate is worth to the agent."""
    drop_bound: float | None = Field(default=None, json_schema_extra={"minimum": MIN_DROP_BOUND, "maximum": 100})
    """How many points of validation score the whole network may lose (the paper's b)."""
    score_floor: float | None = Field(default=None, json_schema_extra={"minimum": 1, "maximum": 100})
    """Instead of drop_bound: the validation score, in percent, that must be kept."""
    guard: float = Field(default=DEFAULT_GUARD, ge=0, le=0.9)
    """Share of the validation images set aside as the guard: the drop bound must hold on them, too, and no candidate
    is scored on them; 0 for none."""
    warranty: float | None = Field(default=None, json_schema_extra={"exclusiveMinimum": 0.5, "exclusiveMaximum": 1})
    """Confidence, such as 0.95, with which the bound must hold on fresh images, by a paired test on the guard; null
    where the drop on the guard itself is compared with the bound."""
    credit: Annotated[float, Field(ge=0, le=100)] | Literal["auto"] = 0.0
    """Points by which candidates may exceed the bound, lent on what the fine-tune after the cut wins back; what is
    committed must be within the bound, so masks are tried until one is. auto: begins with the bound, at most 4
    points, and follows what the fine-tunes of the layers before won back."""
    finetune: FinetuneSpec = FinetuneSpec()
    scoring: ScoringSpec = ScoringSpec()
    fidelity: FidelitySpec = FidelitySpec()
    """What of a candidate's measurement is approximate."""
    seed: int = Field(default=0, ge=0)
    """Seed of the method's own draws; where it is swept, it also sets every seed that the study does not set itself:
    ``data_seed`` and, unless the baseline is a checkpoint, ``baseline.seed`` and the data set's ``split_seed``."""
    data_seed: int = Field(default=0, ge=0)
    """Seed of the fine-tunes' batch order; the same for all candidates of one state (common random numbers)."""
    residual: Literal["independent", "coupled"] = "independent"
    """How filters that meet in a residual sum are pruned."""
    round_to: int = Field(default=1, ge=1, le=1024)
    """Kept filters of every decided layer are rounded up to a multiple of this (8 suits many kernels); 1 for none."""
    postprocess: PostprocessSpec = PostprocessSpec()
    """What is done to the network after its last layer has been decided."""
    matched_trial_id: str | None = None
    """The trial whose num_kept this one prunes to in every layer, without search and without the bound."""

    @field_validator("drop_bound")
    @classmethod
    def _points(cls, bound: float | None) -> float | None:
        if bound is not None and bound < MIN_DROP_BOUND:
            hint = f"; did you mean {bound * 100:g}?" if bound > 0 else ""
            raise ValueError(f"is in percentage points, not a fraction, and must be at least {MIN_DROP_BOUND}{hint}")
        if bound is not None and bound > 100:
            raise ValueError("is in percentage points and must be at most 100")
        return bound

    @field_validator("score_floor")
    @classmethod
    def _percent(cls, floor: float | None) -> float | None:
        if floor is not None and not 1 <= floor <= 100:
            hint = f"; did you mean {floor * 100:g}?" if 0 < floor < 1 else ""
            raise ValueError(f"is in percent, not a fraction, and must be from 1 to 100{hint}")
        return floor

    @field_validator("warranty")
    @classmethod
    def _confidence(cls, warranty: float | None) -> float | None:
        if warranty is not None and not 0.5 < warranty < 1:
            hint = f"; did you mean {warranty / 100:g}?" if 50 < warranty < 100 else ""
            raise ValueError(f"is a confidence, above 0.5 and below 1{hint}")
        return warranty

    @field_validator("layers", mode="before")
    @classmethod
    def _layers_named(cls, layers: Any) -> Any:
        return check_layers(layers, LAYERS, "all, each (one trial per layer)")

    @model_validator(mode="after")
    def _one_bound(self) -> TrialSpec:
        if self.drop_bound is None and self.score_floor is None:
            message = "is required: points of validation score that may be lost (or score_floor: percent to keep)"
            raise PydanticCustomError("rule", message, {"at": "drop_bound"})
        if self.drop_bound is not None and self.score_floor is not None:
            message = f"must not stand beside drop_bound; keep one of the two; got {self.score_floor:g}"
            raise PydanticCustomError("rule", message, {"at": "score_floor"})
        return self

    @model_validator(mode="after")
    def _images_for_a_warranty(self) -> TrialSpec:
        if self.warranty is not None and self.guard == 0:
            message = "needs guard images to test on: set guard above 0, or leave warranty out"
            raise PydanticCustomError("rule", message, {"at": "warranty"})
        return self

    @model_validator(mode="after")
    def _something_to_approximate(self) -> TrialSpec:
        full = self.finetune.before_reward
        shorter, trained = self.fidelity.finetune_steps, full.steps or full.epochs
        if not trained and (shorter is not None or self.fidelity.finetune == "suffix"):
            message = "must not set finetune_steps or finetune: suffix where finetune.before_reward is 0"
            raise PydanticCustomError("rule", message, {"at": "fidelity"})
        if not trained and self.fidelity.together > 1:
            message = "must not set together where finetune.before_reward is 0: there is nothing to fine-tune"
            raise PydanticCustomError("rule", message, {"at": "fidelity"})
        if shorter is not None and full.steps and shorter > full.steps:
            message = f"must have finetune_steps of at most {full.steps}, as finetune.before_reward has; got {shorter}"
            raise PydanticCustomError("rule", message, {"at": "fidelity"})
        return self

    @property
    def data(self) -> DataChoice:
        """The data set with its guard."""
        return DataChoice(**self.dataset.model_dump(), guard=self.guard)

    def lent(self, drop_bound: float) -> float:
        """Points by which the first layer's candidates may exceed ``drop_bound``; 0 where no fine-tune follows."""
        if self.finetune.after_layer.num_steps(1) == 0:
            return 0.0
        return min(AUTO_BOUNDS * drop_bound, AUTO_POINTS) if isinstance(self.credit, str) else self.credit

    def layers_among(self, known: Iterable[str]) -> list[str]:
        """The layers to decide, of a network that has the layers ``known``."""
        return list(known) if self.layers == "all" else list(self.layers)

    @property
    def fidelity_name(self) -> str:
        """How a candidate's score was measured, as the ``fidelity`` column has it."""
        length = self.finetune.before_reward
        unit, number = ("epochs", length.epochs) if length.epochs is not None else ("steps", length.steps)
        name = self.fidelity.name(f"finetune={number} {unit}" if number else "forward only")
        return name if self.model.precision is None else f"{name}, {self.model.precision}"

    @property
    def trial_id(self) -> str:
        """Hash of what changes the numbers: all of the above but the study's name."""
        return digest(self._hashed(set(type(self).model_fields) - {"study"}), NUMERICS_VERSION)

    @property
    def baseline_key(self) -> str:
        """Hash of what the baseline network and its scores depend on."""
        return digest(self._hashed({"model", "dataset", "score", "baseline", "scoring", "guard"}), NUMERICS_VERSION)

    def _hashed(self, fields: set[str]) -> dict[str, Any]:
        """What an id hashes of ``fields``: their values, except later ones at the value before they were added."""
        included = {name for name in fields if name not in NEW_FIELDS or getattr(self, name) != NEW_FIELDS[name]}
        values = self.model_dump(mode="json", include=included)
        return values | {"credit": AUTO_RULE} if values.get("credit") == "auto" else values


class StudySpec(Settings):
    """The keys of a study file that are not a trial's."""

    name: str = Field(json_schema_extra={"pattern": f"^{NAME.pattern}$"})
    """Name of the results folder: letters, digits, ``_``, ``-`` and ``.``"""
    description: str = ""
    """Shown in the report."""
    preset: Literal["default", "fast", "paper"] = "default"
    """``paper`` pins the published setting; ``fast`` scores candidates approximately and asks for fewer of them."""
    evaluators: EvaluatorsSpec = Field(default_factory=EvaluatorsSpec)
    data: DataSpec = Field(default_factory=DataSpec)
    keep_models: Literal["best", "front", "all"] = "all"
    """Which networks stay on disk when the study has ended, for each model and data set: that of the trial with the
    fewest multiply-adds within its bound, those that no other beats in both multiply-adds and drop, or all."""
    budget: BudgetSpec | None = None
    """What the study may cost before it ends with the best so far within the bound; null for no limit."""
    search: SearchSpec | None = None
    """Instead of a sweep: keys with ranges, in which good trials are searched."""
    scheduler: Choice | None = None
    """Which trials end early because others do better; null for none."""
    trackers: list[Choice] = Field(default_factory=list)
    """Where else its progress is shown; never changes a number, and an error of theirs stops nothing."""

    @field_validator("name")
    @classmethod
    def _names_a_folder(cls, name: str) -> str:
        if not NAME.fullmatch(name):
            near = re.sub(r"[^A-Za-z0-9_.-]+", "-", name).strip("-_.")[:100]
            hint = f"; did you mean {near!r}?" if near else ""
            raise ValueError(f"must be 1 to 100 letters, digits, '_', '-' or '.', a letter or digit first{hint}")
        return name


STUDY_KEYS = [*StudySpec.model_fields, "sweep"]
TRIAL_KEYS = [k for k in TrialSpec.model_fields if k not in ("study", "matched_trial_id")]
PLUGIN_KEYS = ["model", "dataset", "score", "order", "allocation", "method", "decision", "reward"]
