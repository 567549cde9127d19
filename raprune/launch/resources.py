"""What a study's pool takes of a cluster, machine by machine: how many evaluators fit, and where trials run."""

from __future__ import annotations

import math
import platform
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from raprune.errors import InputError
from raprune.evaluators.backend import Node
from raprune.study.parts import EvaluatorsSpec

TRIAL_CPUS = 0.05
MOST_NAMED = 8
"""Nodes that a line names."""
MARKET = "ray.io/market-type"
"""The label with which a cluster says that a machine may be taken away at any moment: ``spot``."""
CARD = "accelerator_type:"
"""The resource with which Ray says which GPUs a machine has, as ``accelerator_type:A100``."""
ENDLESS = 2**31
WAITS = "; with evaluators: {min: 1, max: N} a study waits for one"


@dataclass(frozen=True)
class Resources:
    """What the pool reserves on the cluster."""

    num_evaluators: int
    """What fits now; at least ``least``."""
    device: str
    """The device of an evaluator: ``cuda`` or ``cpu``."""
    options: dict[str, Any]
    """Ray options of one evaluator."""
    spec: EvaluatorsSpec
    threads: int
    least: int = 1
    """Evaluators with which a study begins."""
    most: int = ENDLESS
    """The pool never grows beyond."""
    whole_cores: bool = True
    """No more evaluators than have all their threads' cores to themselves, unless somebody asks for more."""
    follows: bool = False
    """The study named a range: the pool asks for machines, waits for them, and gives back what it cannot use."""

    def room(self, nodes: Sequence[Node]) -> int:
        """Evaluators that fit on the machines with a trial, were the study alone there; at most ``most``."""
        if self.device == "cuda":
            return min(self.most, gpus_of(nodes, self.spec) * evaluators_a_gpu(self.spec.gpu_share))
        whole = _whole(nodes, self.threads) if self.whole_cores else ENDLESS
        return min(self.most, whole, most_on_processors(nodes, self.threads))

    def no_room(self, nodes: Sequence[Node]) -> str:
        """What the machines lack if none of them can hold an evaluator."""
        if self.device == "cuda" and self.spec.accelerator_type is not None:
            return f"no {_gpu(self.spec)}{_cards(nodes)}"
        return "no room for one" if self.device == "cuda" or self.threads == 1 else f"no {self.threads} cores together"

    @property
    def bundle(self) -> dict[str, float]:
        """What one evaluator needs, as Ray's autoscaler reads it."""
        card = {f"{CARD}{self.spec.accelerator_type}": 0.001} if self.spec.accelerator_type else {}
        return {"GPU": self.spec.gpu_share, **card} if self.device == "cuda" else {"CPU": self.options["num_cpus"]}


def resources_for(nodes: Sequence[Node], spec: EvaluatorsSpec, count: int | str, threads: int) -> Resources:
    """What the pool reserves on a cluster's machines; ``count`` is a number, or ``auto`` for what ``spec`` says.

    Raises :class:`InputError` if the study does not fit. A pool that follows the cluster always does: it waits.
    """
    follows = spec.has_range and count == "auto"
    gpus = gpus_of(nodes, spec)
    if spec.device == "cuda" and gpus == 0 and not follows:
        raise InputError(f"evaluators.device is cuda, but the cluster has no {_gpu(spec)}{_cards(nodes)}{WAITS}")
    if spec.device == "cuda" or (gpus > 0 and spec.device == "auto"):
        options: dict[str, Any] = {"num_gpus": spec.gpu_share, "num_cpus": 0}
        options |= {"accelerator_type": spec.accelerator_type} if spec.accelerator_type else {}
        device, most = "cuda", gpus * evaluators_a_gpu(spec.gpu_share)
    else:
        device, options = "cpu", {"num_gpus": 0, "num_cpus": evaluator_cpus(threads)}
        most = max(1, min(most_on_processors(nodes, threads), _whole(nodes, threads)))
    if follows:
        least, ceiling = spec.min or 1, spec.max or ENDLESS
        number = max(least, min(most, ceiling))
        return Resources(number, device, options, spec, threads, least, ceiling, follows=True)
    number = most if count == "auto" else int(count)
    if device == "cuda":
        _check_gpus(number, most, nodes, spec)
    else:
        check_cpus(number, threads, nodes, "the cluster")
    asked = count != "auto"
    return Resources(number, device, options, spec, threads, 1, number if asked else ENDLESS, whole_cores=not asked)


def _check_gpus(number: int, most: int, nodes: Sequence[Node], spec: EvaluatorsSpec) -> None:
    a_gpu, gpus = evaluators_a_gpu(spec.gpu_share), gpus_of(nodes, spec)
    if number > most:
        raise InputError(
            f"{evaluators(number)} of {spec.gpu_share:g} GPU each do not fit: a GPU holds {a_gpu}, and the cluster "
            f"has {gpus:g}: use --evaluators {most}, or a smaller evaluators.gpu_share"
        )
    if sum(node.resources.get("CPU", 0.0) for node in nodes) < TRIAL_CPUS:
        raise InputError("the cluster has no processor core left for the trials")


def gpus_of(nodes: Sequence[Node], spec: EvaluatorsSpec) -> int:
    """GPUs of the wanted type."""
    return sum(math.floor(node.resources.get("GPU", 0.0)) for node in of_type(nodes, spec.accelerator_type))


def of_type(nodes: Sequence[Node], wanted: str | None) -> list[Node]:
    """The machines whose GPUs are of the ``wanted`` type; all without one."""
    return [node for node in nodes if wanted is None or f"{CARD}{wanted}" in node.resources]


def _gpu(spec: EvaluatorsSpec) -> str:
    return "GPU" if spec.accelerator_type is None else f"GPU of type {spec.accelerator_type}"


def _cards(nodes: Sequence[Node]) -> str:
    types = sorted({name.removeprefix(CARD) for node in nodes for name in node.resources if name.startswith(CARD)})
    return f" (it has {', '.join(types)})" if types else ""


def trial_labels(nodes: Sequence[Node]) -> dict[str, str]:
    """The labels of machines on which trials run: not on spot ones, where the cluster has others with a core."""
    steady = [n for n in nodes if n.labels.get(MARKET) != "spot" and n.resources.get("CPU", 0.0) >= TRIAL_CPUS]
    return {MARKET: "!spot"} if steady and len(steady) < len(nodes) else {}


def remarks(nodes: Sequence[Node], here: str, resources: Resources) -> list[str]:
    """What a person should know before the pool starts; ``here``: the node of the driver."""
    said = []
    if resources.follows and resources.device == "cpu" and resources.spec.device == "auto":
        said.append(
            "the cluster has no GPU now, so candidates are scored on processors for the whole run; "
            "evaluators.device: cuda waits for GPUs"
        )
    if any(node.id == here and node.labels.get(MARKET) == "spot" for node in nodes):
        said.append("this process runs on a spot node: the study ends with it, and the same command resumes")
    return said


def evaluators_a_gpu(share: float) -> int:
    """Evaluators that fit on one GPU: a share cannot be split over two GPUs."""
    return math.floor(1 / share + 1e-9)


def evaluator_cpus(threads: int) -> float:
    """Cores that one evaluator reserves: a little less than its threads, so that the trials fit beside it."""
    return threads - 0.1


def _whole(nodes: Sequence[Node], threads: int) -> int:
    """Evaluators that have all their threads' cores to themselves."""
    return sum(int(node.resources.get("CPU", 0.0)) // threads for node in nodes)


def most_on_processors(nodes: Sequence[Node], threads: int) -> int:
    """Evaluators that fit on the machines, with a trial beside them; each runs on one machine."""
    need = evaluator_cpus(threads)
    cores = [node.resources.get("CPU", 0.0) for node in nodes]
    most = [math.floor(cpus / need + 1e-9) for cpus in cores]
    rest = max((cpus - number * need for cpus, number in zip(cores, most, strict=True)), default=0.0)
    return sum(most) if rest >= TRIAL_CPUS - 1e-9 else max(0, sum(most) - 1)


def check_cpus(count: int, threads: int, nodes: Sequence[Node], where: str) -> None:
    """Raise :class:`InputError` if ``count`` evaluators on processors do not fit."""
    most = most_on_processors(nodes, threads)
    if count <= most:
        return
    need = count * evaluator_cpus(threads) + TRIAL_CPUS
    cores = [node.resources.get("CPU", 0.0) for node in nodes]
    has = (
        f"{sum(cores):g}" if len(cores) < 2 else f"{' + '.join(f'{cpus:g}' for cpus in cores)} on {len(cores)} machines"
    )
    if most == 0:
        way_on = "use --evaluators 0, which scores in process, or a smaller scoring.threads"
    else:
        way_on = f"use --evaluators {most} (0 scores in process), or omit it"
    pool = f"{evaluators(count)} of {threads} thread{'s' if threads > 1 else ''}"
    raise InputError(f"{pool} and one trial need {need:g} cores; {where} has {has}: {way_on}")


def evaluators(number: int) -> str:
    """``1 evaluator``, ``2 evaluators``."""
    return f"{number} evaluator{'' if number == 1 else 's'}"


class Seat(NamedTuple):
    """Where an evaluator runs."""

    node: str
    """Ray's id of it."""
    host: str
    card: str = ""
    """Name of the GPU; empty on a processor."""


def where(seats: Sequence[Seat], device: str) -> str:
    """``6 evaluators (cuda) on 3 nodes: a (2), b (3), c (1)``; GPUs of several types are named."""
    number = Counter((seat.node, seat.host) for seat in seats)
    names = [name for _, name in number]
    pool = f"{evaluators(len(seats))} ({device})"
    if len(number) == 0:
        return pool
    if len(number) == 1:
        return f"{pool} on {'this machine' if names[0] == platform.node() else names[0]}{_mixed(seats)}"
    listed = [f"{name} ({count})" for (_, name), count in sorted(number.items(), key=lambda item: item[0][::-1])]
    if len(listed) > MOST_NAMED:
        listed = [*listed[:MOST_NAMED], f"and {len(listed) - MOST_NAMED} more"]
    return f"{pool} on {len(number)} nodes: {', '.join(listed)}{_mixed(seats)}"


def _mixed(seats: Sequence[Seat]) -> str:
    cards = Counter(seat.card for seat in seats if seat.card)
    if len(cards) < 2:
        return ""
    listed = ", ".join(f"{card} ({number})" for card, number in sorted(cards.items()))
    return (
        f"; GPUs of {len(cards)} types: {listed}: scores may differ between them in the last digits "
        "(evaluators.accelerator_type uses one type)"
    )
