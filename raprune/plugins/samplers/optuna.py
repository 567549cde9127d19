"""Optuna's tree-structured Parzen estimator.

Source: Bergstra, Bardenet, Bengio, Kegl, Algorithms for Hyper-Parameter Optimization (2011), as Optuna implements it.
It splits the trials seen into good and bad ones by their order alone, so it is told ranks. Each suggestion has a
sampler and a seed of its own: a search that goes on after an interruption suggests what it would have suggested anyway.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any

from pydantic import Field

from raprune.plugins.samplers.base import Axis, Sampler, Seen
from raprune.registry import SAMPLERS
from raprune.study.seeds import seed_for
from raprune.system.extras import NeedsPackage


class OptunaSettings(NeedsPackage):
    package = "optuna"
    extra = "optuna"

    seed: int = Field(default=0, ge=0)
    """Seed of the draws."""
    num_random: int = Field(default=8, ge=1)
    """Trials that are drawn at random before what was seen is used."""


@SAMPLERS.register("optuna", OptunaSettings)
class Optuna(Sampler):
    """Optuna's TPE: draws more often where good trials were seen."""

    def __init__(self, settings: OptunaSettings) -> None:
        self.settings = settings

    def suggest(self, axes: Sequence[Axis], seen: Sequence[Seen], number: int) -> dict[str, Any]:
        import optuna

        optuna.logging.set_verbosity(optuna.logging.ERROR)
        space = {axis.key: _distribution(axis) for axis in axes}
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # some options are called experimental
            sampler = optuna.samplers.TPESampler(
                seed=seed_for(self.settings.seed, "optuna", number) % 2**32, n_startup_trials=self.settings.num_random,
                multivariate=True, constant_liar=True,
            )  # fmt: skip
            study = optuna.create_study(sampler=sampler)
            study.add_trials([_frozen(one, axes, space) for one in seen])
            found = study.ask(space).params
        return {axis.key: _value(axis, found[axis.key]) for axis in axes}


def _frozen(seen: Seen, axes: Sequence[Axis], space: dict[str, Any]) -> Any:
    import optuna

    state = optuna.trial.TrialState.RUNNING if seen.rank is None else optuna.trial.TrialState.COMPLETE
    params = {axis.key: _param(axis, seen.point[axis.key]) for axis in axes}
    return optuna.trial.create_trial(state=state, value=seen.rank, params=params, distributions=space)


def _value(axis: Axis, param: Any) -> Any:
    return axis.value(param) if axis.num_places is None else axis.at(param)


def _param(axis: Axis, value: Any) -> Any:
    return axis.number(value) if axis.num_places is None else axis.place(value)


def _distribution(axis: Axis) -> Any:
    """Choices and grids by their places: Optuna refuses a number that is off its own grid by rounding."""
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

    if axis.choices:
        return CategoricalDistribution(range(len(axis.choices)))
    if axis.num_places is not None:
        return IntDistribution(0, axis.num_places - 1)
    if axis.whole:
        return IntDistribution(int(axis.low), int(axis.high), log=axis.log)
    return FloatDistribution(axis.low, axis.high, log=axis.log)
