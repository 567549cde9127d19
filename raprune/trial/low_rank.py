"""The low-rank step of a trial: layer by layer, factorise, score, keep what is within the drop bound.

After Huang, Zhou, You, Neumann, arXiv 1801.07365, who factorise by SVD what pruning left whole; our departures: other
schemes beside it, and the contract of ``within_bound.py``: every kept state is scored on the full validation split.
Where no rule names a layer's rank it is bisected to the smallest within the bound, scored without fine-tuning.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

from torch import fx

from raprune.engine.tasks import Energies, Factorise, Finetune, Measure
from raprune.errors import InputError
from raprune.network import lowrank
from raprune.network.lowrank import Factor, LayerCosts, Reasons, Surveyed
from raprune.network.sizes import Sizes
from raprune.network.state import State
from raprune.registry import nearest
from raprune.results import TrialStore
from raprune.study.postprocess import LowRankSpec
from raprune.trial.context import TrialContext
from raprune.trial.rows import low_rank_row
from raprune.trial.snapshots import Snapshots
from raprune.trial.within_bound import Contract


@dataclass(frozen=True)
class Factorised:
    """A network with one layer more factorised, and how many ranks of that layer were scored on the way to it."""

    state: State
    val_score: float
    factorised_val_score: float | None = None
    """Of the last layer that was factorised, before its fine-tune."""
    num_scored: int = 0


class Stays(Exception):
    """No error: a layer is not factorised; why, and how many of its ranks were scored."""

    def __init__(self, reason: str, num_scored: int = 0) -> None:
        super().__init__(reason)
        self.num_scored = num_scored


class LowRankStep:
    """One trial's; goes on from the last layer that is on disk."""

    def __init__(
        self,
        spec: LowRankSpec,
        contract: Contract,
        sizes: Sizes,
        context: TrialContext,
        snapshots: Snapshots,
        first_step: int,
        is_over: Callable[[], bool],
    ) -> None:
        """``first_step``: number of the first snapshot, those of the pruned layers come before.

        ``is_over``: whether the study's budget is spent. A matched trial takes over the ranks of ``context.matched``,
        without the bound.
        """
        self.spec = spec
        self.contract = contract
        self.evaluator = contract.evaluator
        self.scale = contract.scale
        self.sizes = sizes
        self.store = context.store
        self.matched = context.matched
        self.tell = context.progress
        self.snapshots = snapshots
        self.first_step = first_step
        self.is_over = is_over
        self.num_diverged = 0
        """Fine-tunes of this run that left weights which are NaN or infinite; none of them was kept."""

    def run(self, state: State, val_score: float) -> tuple[State, float, bool]:
        """The state and its score afterwards, and whether the step came to its end.

        ``state`` is that of :func:`last_snapshot`, ``val_score`` that of the pruned network.
        """
        rows = self.store.low_rank_rows()
        if applied := [row for row in rows if row["applied"]]:
            val_score = applied[-1]["val_score_after"]
        layers = list(self._arranged(state))
        for step in range(len(rows), len(layers)):
            if self.is_over():
                return state, val_score, False
            state, val_score = self._layer(step, layers[step], state, val_score)
        return state, val_score, True

    def _layer(self, step: int, layer: Surveyed, state: State, val_score: float) -> tuple[State, float]:
        start, num_diverged = time.perf_counter(), self.num_diverged
        row = low_rank_row(step, layer, val_score)
        try:
            factor, energies, found = self._factorise(layer, state)
        except Stays as stays:
            row |= {"reason": str(stays), "num_scored": stays.num_scored}
            found = Factorised(state, val_score)
        else:
            assert layer.costs is not None
            row |= _applied(layer.costs, factor.rank, lowrank.energy_kept(energies, factor.rank), found)
            self.snapshots.save(self.first_step + step, found.state, {})
        row["num_diverged"] = self.num_diverged - num_diverged
        self.store.write_low_rank(step, row | {"wall_time_s": time.perf_counter() - start})
        if row["applied"]:
            self.snapshots.forget_before(self.first_step + step)
            self.tell({"low_rank": row | {"val_score_drop": self.scale.baseline_score - found.val_score}})
        return found.state, found.val_score

    def _arranged(self, state: State) -> Iterator[Surveyed]:
        """The layers in the order of trying; those that cannot be factorised at the end."""
        network = self.sizes.network(state.unfactorised())
        assert isinstance(network, fx.GraphModule)
        found = {one.layer: one for one in lowrank.survey(network, self.spec.schemes, self.sizes.input_shape)}
        if isinstance(self.spec.layers, list):
            found = {name: found[check_layer(name, list(found))] for name in self.spec.layers}
        elif self.spec.layers == "whole":
            found = {name: one if self._is_whole(network, name) else _pruned(one) for name, one in found.items()}
        able = [one for one in found.values() if one.costs is not None]
        able.sort(key=lambda one: one.index, reverse=self.spec.order == "high_to_low")
        if self.spec.order == "largest_saving":
            able.sort(key=lambda one: one.costs.largest_saving if one.costs else 0, reverse=True)
        yield from able
        yield from sorted((one for one in found.values() if one.costs is None), key=lambda one: one.index)

    def _is_whole(self, network: fx.GraphModule, layer: str) -> bool:
        weights = [of.get_submodule(layer).get_parameter("weight") for of in (network, self.sizes.traced.network)]
        return weights[0].shape[0] == weights[1].shape[0]

    def _factorise(self, layer: Surveyed, state: State) -> tuple[Factor, list[float], Factorised]:
        """The layer's factor, what each component holds, and the network; raises :class:`Stays`."""
        costs = layer.costs
        if costs is None:
            raise Stays(layer.reason or "")
        if costs.max_rank == 0:
            raise Stays("no rank saves both parameters and multiply-adds")
        energies = self.evaluator.run(Energies(layer.layer, costs.scheme, self.spec.images), state)
        rank = self._rank(costs, energies)
        found = self._searched(costs, state) if rank is None else self._scored(costs, state, rank)
        return found.state.factors[layer.layer], energies, self._finetuned(costs, found)

    def _rank(self, costs: LayerCosts, energies: list[float]) -> int | None:
        """The rank that the partner has or a rule names; ``None`` where it is searched."""
        if self.matched is not None:
            theirs = {row["layer"]: row for row in self.matched.low_rank_rows() if row["applied"]}
            if costs.layer not in theirs:
                raise Stays("the trial that this one is matched to left it as it is")
            return int(theirs[costs.layer]["rank"])
        rank, said = self.spec.rank, "rank {}"
        if self.spec.energy is not None:
            rank, said = (
                lowrank.rank_for_energy(energies, self.spec.energy),
                f"rank {{}} keeps {self.spec.energy:.4g} of energy",
            )
        elif self.spec.ratio is not None:
            rank = costs.rank_for_ratio(self.spec.ratio)
            if rank == 0:
                raise Stays(f"rank 1 has more than {self.spec.ratio:.4g} of its parameters")
        if rank is not None and rank > costs.max_rank:
            raise Stays(f"{said.format(rank)}; only ranks up to {costs.max_rank} save parameters and multiply-adds")
        return rank

    def _scored(self, costs: LayerCosts, state: State, rank: int) -> Factorised:
        """The network with the layer at ``rank``."""
        factor = Factor(costs.scheme, rank)
        factorised = self.evaluator.run(Factorise(costs.layer, factor, self.spec.images), state)
        score = self.evaluator.run(Measure("val"), factorised)
        return Factorised(factorised, score, score, 1)

    def _searched(self, costs: LayerCosts, state: State) -> Factorised:
        """The smallest rank within the bound, by bisection: a rank whose next tried smaller one is over it."""
        found: Factorised | None = None
        infeasible, feasible, tried = 0, costs.max_rank + 1, 0
        while feasible - infeasible > 1:
            middle = (feasible + infeasible) // 2
            network = self._scored(costs, state, middle)
            tried += 1
            if self.scale.feasible(network.val_score):
                feasible, found = middle, network
            else:
                infeasible = middle
        if found is None:
            raise Stays(f"no rank up to {costs.max_rank}, the largest that saves, is within the drop bound", tried)
        return replace(found, num_scored=tried)

    def _finetuned(self, costs: LayerCosts, found: Factorised) -> Factorised:
        """After the study's fine-tune where it is asked for and within the bound; raises :class:`Stays` over it."""
        if self.spec.finetune:
            tuned = self.evaluator.run(Finetune("commit", found.state.version), found.state)
            if self.contract.diverged(tuned):
                self.num_diverged += 1
            elif tuned.version != found.state.version:
                score = self.evaluator.run(Measure("val"), tuned)
                if self.scale.keeps(found.val_score, score) and self._within(score):
                    return replace(found, state=tuned, val_score=score)
        if not self._within(found.val_score):
            rank = found.state.factors[costs.layer].rank
            raise Stays(f"at rank {rank} the score is {found.val_score:.2f}: over the drop bound", found.num_scored)
        return found

    def _within(self, score: float) -> bool:
        return self.matched is not None or self.scale.feasible(score)


def last_snapshot(store: TrialStore, num_pruned: int) -> int:
    """Number of the snapshot that a trial goes on from when it has pruned so many layers."""
    applied = [row["step"] for row in store.low_rank_rows() if row["applied"]]
    return num_pruned + applied[-1] if applied else num_pruned - 1


def low_rank_problems(spec: LowRankSpec, reasons: Reasons, ranks: lowrank.Ranks) -> Iterator[tuple[str, str]]:
    """What of a step cannot be done with a network: the setting, and why."""
    if isinstance(spec.layers, list):
        for index, name in enumerate(spec.layers):
            try:
                _, why = lowrank.choose(reasons[check_layer(name, list(reasons))], spec.schemes)
            except InputError as error:
                why = str(error)
            else:
                why = None if why is None else f"{name} cannot be factorised: {why}"
            if why is not None:
                yield f"layers[{index}]", why
    wanted = spec.layers_among(reasons)
    chosen = {name: lowrank.choose(reasons[name], spec.schemes)[0] for name in wanted if name in reasons}
    largest = max((ranks[name][scheme] for name, scheme in chosen.items() if scheme is not None), default=None)
    if spec.rank is not None and largest is not None and spec.rank > largest:
        yield "rank", f"must be at most {largest}, the largest full rank of a layer that is tried; got {spec.rank}"


def low_rank_line(spec: LowRankSpec, reasons: Reasons) -> str:
    """The layers that a step can try, and those that it cannot."""
    wanted = spec.layers_among(reasons)
    chosen = {name: lowrank.choose(reasons[name], spec.schemes) for name in wanted}
    by_scheme = [f"{sum(of == scheme for of, _ in chosen.values())} by {scheme}" for scheme in spec.schemes]
    able = sum(scheme is not None for scheme, _ in chosen.values())
    unless = " unless they lose filters" if spec.layers == "whole" else ""
    lines = [
        f"low rank: {able} of {len(wanted)} convolutions and linear layers are tried{unless}: {', '.join(by_scheme)}"
    ]
    for why in dict.fromkeys(why for _, why in chosen.values() if why is not None):
        lines.append(f"  not {', '.join(name for name in wanted if chosen[name][1] == why)} ({why})")
    return "\n".join(lines)


def check_layer(name: str, known: list[str]) -> str:
    """``name``, which must be a convolution or linear layer of the network."""
    if name not in known:
        raise InputError(f"no convolution or linear layer is called {name!r}{nearest(name, known)}")
    return name


def _pruned(layer: Surveyed) -> Surveyed:
    """A layer that lost filters, under ``layers: whole``."""
    return layer if layer.costs is None else replace(layer, costs=None, reason="filters of it were pruned")


def _applied(costs: LayerCosts, rank: int, energy: float, found: Factorised) -> dict[str, Any]:
    """What the row of a factorised layer says besides."""
    after = costs.at(rank)
    return {
        "rank": rank,
        "energy": energy,
        "params_after": after.params,
        "macs_after": after.macs,
        "bytes_after": after.model_bytes,
        "factorised_val_score": found.factorised_val_score,
        "val_score_after": found.val_score,
        "num_scored": found.num_scored,
        "applied": True,
    }
