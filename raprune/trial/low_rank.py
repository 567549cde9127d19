"""The low-rank step of a trial: layer by layer, factorise, score, and keep what is within the drop bound.

After Huang, Zhou, You, Neumann, arXiv 1801.07365, who factorise by SVD the layers that pruning left whole. Departures:
other schemes besides SVD, and the contract of ``within_bound.py``: every kept state is scored on the full validation
split. Where no rule fixes a layer's rank, bisection finds the smallest one within the bound, without fine-tuning.
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
from raprune.trial.candidates import Scale
from raprune.trial.clock import seconds_since, seconds_so_far
from raprune.trial.context import TrialContext
from raprune.trial.rows import low_rank_row
from raprune.trial.snapshots import Snapshots
from raprune.trial.within_bound import Contract


@dataclass(frozen=True)
class Factorised:
    """A network with one more factorised layer, and how many ranks of that layer were scored to find it."""

    state: State
    val_score: float
    factorised_val_score: float | None = None
    """Score once the last layer was factorised, before its fine-tune."""
    num_scored: int = 0


class Stays(Exception):
    """Not an error: a layer is not factorised. Holds the reason, and how many of its ranks were scored."""

    def __init__(self, reason: str, num_scored: int = 0) -> None:
        super().__init__(reason)
        self.num_scored = num_scored


class LowRankStep:
    """The low-rank step of one trial; resumes after the last layer that is on disk."""

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
        """``first_step``: number of the first snapshot, after those of the pruned layers.

        ``is_over``: whether the study's budget is spent. A matched trial adopts the ranks of ``context.matched``,
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
        """Fine-tunes of this run that left NaN or infinite weights; none of them was kept."""

    def run(self, state: State, val_score: float) -> tuple[State, float, bool]:
        """Run the step; returns the state and its score afterwards, and whether all layers were tried.

        ``state`` is the one of :func:`last_snapshot`; ``val_score`` is the pruned network's score.
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
        start, num_diverged, num_looks = time.perf_counter(), self.num_diverged, self._num_looks
        before = seconds_so_far(self.evaluator)
        row = low_rank_row(step, layer, val_score)
        try:
            factor, energies, factorised = self._factorise(layer, state, val_score)
        except Stays as stays:
            row |= {"reason": str(stays), "num_scored": stays.num_scored}
            factorised = Factorised(state, val_score)
        else:
            assert layer.costs is not None
            row |= _applied(layer.costs, factor.rank, lowrank.energy_kept(energies, factor.rank), factorised)
            self.snapshots.save(self.first_step + step, factorised.state, {})
        row["num_diverged"] = self.num_diverged - num_diverged
        row["num_guard_looks"] = self._num_looks - num_looks
        row |= seconds_since(before, self.evaluator)
        self.store.write_low_rank(step, row | {"wall_time_s": time.perf_counter() - start})
        if row["applied"]:
            self.snapshots.forget_before(self.first_step + step)
            self.tell({"low_rank": row | {"val_score_drop": self.scale.baseline_score - factorised.val_score}})
        return factorised.state, factorised.val_score

    @property
    def _num_looks(self) -> int:
        return 0 if self.contract.guard is None else self.contract.guard.num_looks

    def _arranged(self, state: State) -> Iterator[Surveyed]:
        """The layers in the order in which they are tried; those that cannot be factorised come last."""
        network = self.sizes.network(state.unfactorised())
        assert isinstance(network, fx.GraphModule)
        layers = {ly.layer: ly for ly in lowrank.survey(network, self.spec.schemes, self.sizes.input_shape)}
        if isinstance(self.spec.layers, list):
            layers = {name: layers[check_layer(name, list(layers))] for name in self.spec.layers}
        elif self.spec.layers == "whole":
            layers = {name: ly if self._is_whole(network, name) else _pruned(ly) for name, ly in layers.items()}
        able = [layer for layer in layers.values() if layer.costs is not None]
        able.sort(key=lambda layer: layer.index, reverse=self.spec.order == "high_to_low")
        if self.spec.order == "largest_saving":
            able.sort(key=lambda layer: layer.costs.largest_saving if layer.costs else 0, reverse=True)
        yield from able
        yield from sorted((ly for ly in layers.values() if ly.costs is None), key=lambda layer: layer.index)

    def _is_whole(self, network: fx.GraphModule, layer: str) -> bool:
        weights = [net.get_submodule(layer).get_parameter("weight") for net in (network, self.sizes.traced.network)]
        return weights[0].shape[0] == weights[1].shape[0]

    def _factorise(self, layer: Surveyed, state: State, val_score: float) -> tuple[Factor, list[float], Factorised]:
        """The layer's factor, the energy of each component, and the network; raises :class:`Stays`."""
        costs = layer.costs
        if costs is None:
            raise Stays(layer.reason or "")
        if costs.max_rank == 0:
            raise Stays("no rank saves both parameters and multiply-adds")
        energies = self.evaluator.run(Energies(layer.layer, costs.scheme, self.spec.images), state)
        rank = self._rank(costs, energies)
        if rank is None:
            factorised = self._searched(costs, state, self.contract.search_scale(state, val_score))
        else:
            factorised = self._scored(costs, state, rank)
        return factorised.state.factors[layer.layer], energies, self.finetuned(layer.layer, factorised)

    def _rank(self, costs: LayerCosts, energies: list[float]) -> int | None:
        """The rank that the matched trial has or a rule fixes; ``None`` where it is searched. Raises :class:`Stays`."""
        if self.matched is not None:
            theirs = {row["layer"]: row for row in self.matched.low_rank_rows() if row["applied"]}
            if costs.layer not in theirs:
                raise Stays("the trial that this one is matched to left it as it is")
            return int(theirs[costs.layer]["rank"])
        rank, subject = self.spec.rank, "rank {}"
        if self.spec.energy is not None:
            rank, subject = (
                lowrank.rank_for_energy(energies, self.spec.energy),
                f"rank {{}} keeps {self.spec.energy:.4g} of energy",
            )
        elif self.spec.ratio is not None:
            rank = costs.rank_for_ratio(self.spec.ratio)
            if rank == 0:
                raise Stays(f"rank 1 has more than {self.spec.ratio:.4g} of its parameters")
        if rank is not None and rank > costs.max_rank:
            raise Stays(f"{subject.format(rank)}; only ranks up to {costs.max_rank} save parameters and multiply-adds")
        return rank

    def _scored(self, costs: LayerCosts, state: State, rank: int) -> Factorised:
        """The network with the layer at ``rank``."""
        factor = Factor(costs.scheme, rank)
        factorised = self.evaluator.run(Factorise(costs.layer, factor, self.spec.images), state)
        score = self.evaluator.run(Measure("val"), factorised)
        return Factorised(factorised, score, score, 1)

    def _searched(self, costs: LayerCosts, state: State, scale: Scale) -> Factorised:
        """A smallest rank within the bound, by bisection: the next smaller rank is over the bound."""
        best: Factorised | None = None
        infeasible, feasible, tried = 0, costs.max_rank + 1, 0
        while feasible - infeasible > 1:
            middle = (feasible + infeasible) // 2
            network = self._scored(costs, state, middle)
            tried += 1
            if scale.feasible(network.val_score):
                feasible, best = middle, network
            else:
                infeasible = middle
        if best is None:
            raise Stays(f"no rank up to {costs.max_rank}, the largest that saves, is within the drop bound", tried)
        return replace(best, num_scored=tried)

    def finetuned(self, layer: str, cut: Factorised) -> Factorised:
        """The network after the study's fine-tune, if the study has one and its score is kept, else as it was.

        Raises :class:`Stays` where that is over the bound.
        """
        if self.spec.finetune:
            tuned = self.evaluator.run(Finetune("commit", cut.state.version), cut.state)
            if self.contract.diverged(tuned):
                self.num_diverged += 1
            elif tuned.version != cut.state.version:
                score = self.evaluator.run(Measure("val"), tuned)
                if self.scale.keeps(cut.val_score, score) and self._within(score):
                    return self._guarded(layer, replace(cut, state=tuned, val_score=score))
        if not self._within(cut.val_score):
            rank = cut.state.factors[layer].rank
            raise Stays(f"at rank {rank} the score is {cut.val_score:.2f}: over the drop bound", cut.num_scored)
        return self._guarded(layer, cut)

    def _guarded(self, layer: str, kept: Factorised) -> Factorised:
        """``kept``, if the guard allows it; raises :class:`Stays` where it does not."""
        if self.matched is None and not self.contract.allows(kept.state):
            rank = kept.state.factors[layer].rank
            raise Stays(f"at rank {rank} the drop is over the bound on the guard images", kept.num_scored)
        return kept

    def _within(self, score: float) -> bool:
        return self.matched is not None or self.scale.feasible(score)


def last_snapshot(store: TrialStore, num_pruned: int) -> int:
    """Number of the snapshot from which a trial resumes once it has pruned ``num_pruned`` layers."""
    applied = [row["step"] for row in store.low_rank_rows() if row["applied"]]
    return num_pruned + applied[-1] if applied else num_pruned - 1


def low_rank_problems(spec: LowRankSpec, reasons: Reasons, ranks: lowrank.Ranks) -> Iterator[tuple[str, str]]:
    """What a network cannot do of a step: pairs of the setting and the reason."""
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
    """A line on the layers that a step can try, then lines on those that it cannot."""
    wanted = spec.layers_among(reasons)
    chosen = {name: lowrank.choose(reasons[name], spec.schemes) for name in wanted}
    by_scheme = [f"{sum(name == scheme for name, _ in chosen.values())} by {scheme}" for scheme in spec.schemes]
    able = sum(scheme is not None for scheme, _ in chosen.values())
    unless = " unless they lose filters" if spec.layers == "whole" else ""
    lines = [
        f"low rank: {able} of {len(wanted)} convolutions and linear layers are tried{unless}: {', '.join(by_scheme)}"
    ]
    for why in dict.fromkeys(why for _, why in chosen.values() if why is not None):
        lines.append(f"  not {', '.join(name for name in wanted if chosen[name][1] == why)} ({why})")
    return "\n".join(lines)


def check_layer(name: str, known: list[str]) -> str:
    """Return ``name``; raises :class:`InputError` unless it is a convolution or linear layer of the network."""
    if name not in known:
        raise InputError(f"no convolution or linear layer is called {name!r}{nearest(name, known)}")
    return name


def _pruned(layer: Surveyed) -> Surveyed:
    """A layer that lost filters, under ``layers: whole``."""
    return layer if layer.costs is None else replace(layer, costs=None, reason="filters of it were pruned")


def _applied(costs: LayerCosts, rank: int, energy: float, factorised: Factorised) -> dict[str, Any]:
    """The further columns of a factorised layer's row."""
    after = costs.at(rank)
    return {
        "rank": rank,
        "energy": energy,
        "params_after": after.params,
        "macs_after": after.macs,
        "bytes_after": after.model_bytes,
        "factorised_val_score": factorised.factorised_val_score,
        "val_score_after": factorised.val_score,
        "num_scored": factorised.num_scored,
        "applied": True,
    }
