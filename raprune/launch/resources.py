"""Whether a study's pool of evaluators fits the cluster, node by node; a pool that does not fit would wait forever."""

from __future__ import annotations

import math
import platform
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from raprune.errors import InputError
from raprune.study.parts import EvaluatorsSpec

TRIAL_CPUS = 0.05
MOST_NAMED = 8
"""Nodes that a line names."""
Node = Mapping[str, float]
"""A machine's resources as Ray reports them: ``CPU``, ``GPU`` and more."""


@dataclass(frozen=True)
class Resources:
    """What the pool reserves on the cluster."""

    num_evaluators: int
    device: str
    """The device of an evaluator: ``cuda`` or ``cpu``."""
    options: dict[str, Any]
    """Ray options of one evaluator."""


def resources_for(nodes: Sequence[Node], spec: EvaluatorsSpec, count: int | str, threads: int) -> Resources:
    """What the pool reserves on a cluster's machines. Raises :class:`InputError` if the study does not fit."""
    cpus = sum(node.get("CPU", 0.0) for node in nodes)
    gpus = sum(math.floor(node.get("GPU", 0.0)) for node in nodes)
    if spec.device == "cuda" and gpus == 0:
        raise InputError("evaluators.device is cuda, but the cluster has no GPU")
    if gpus > 0 and spec.device in ("auto", "cuda"):
        a_gpu = evaluators_a_gpu(spec.gpu_share)
        most = gpus * a_gpu
        number = most if count == "auto" else int(count)
        if number > most:
            raise InputError(
                f"{evaluators(number)} of {spec.gpu_share:g} GPU each do not fit: a GPU holds {a_gpu}, and the cluster "
                f"has {gpus:g}: use --evaluators {most}, or a smaller evaluators.gpu_share"
            )
        if cpus < TRIAL_CPUS:
            raise InputError("the cluster has no processor core left for the trials")
        return Resources(number, "cuda", {"num_gpus": spec.gpu_share, "num_cpus": 0})
    whole = sum(int(node.get("CPU", 0.0)) // threads for node in nodes)
    number = max(1, min(most_on_processors(nodes, threads), whole)) if count == "auto" else int(count)
    check_cpus(number, threads, nodes, "the cluster")
    return Resources(number, "cpu", {"num_gpus": 0, "num_cpus": evaluator_cpus(threads)})


def evaluators_a_gpu(share: float) -> int:
    """Evaluators that fit on one GPU: a share cannot be split over two GPUs."""
    return math.floor(1 / share + 1e-9)


def evaluator_cpus(threads: int) -> float:
    """Cores that one evaluator reserves: a little less than its threads, so that the trials fit beside it."""
    return threads - 0.1


def most_on_processors(nodes: Sequence[Node], threads: int) -> int:
    """Evaluators that fit on the machines, with a trial beside them; each runs on one machine."""
    need = evaluator_cpus(threads)
    cores = [node.get("CPU", 0.0) for node in nodes]
    most = [math.floor(cpus / need + 1e-9) for cpus in cores]
    rest = max((cpus - number * need for cpus, number in zip(cores, most, strict=True)), default=0.0)
    return sum(most) if rest >= TRIAL_CPUS - 1e-9 else max(0, sum(most) - 1)


def check_cpus(count: int, threads: int, nodes: Sequence[Node], where: str) -> None:
    """Raise :class:`InputError` if ``count`` evaluators on processors do not fit."""
    most = most_on_processors(nodes, threads)
    if count <= most:
        return
    need = count * evaluator_cpus(threads) + TRIAL_CPUS
    cores = [node.get("CPU", 0.0) for node in nodes]
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


def where(nodes: Sequence[tuple[str, str]], device: str) -> str:
    """``6 evaluators (cuda) on 3 nodes: a (2), b (3), c (1)``, of each one's node (id, name)."""
    number, names = Counter(nodes), [name for _, name in set(nodes)]
    pool = f"{evaluators(len(nodes))} ({device})"
    if len(number) == 1:
        return f"{pool} on {'this machine' if names[0] == platform.node() else names[0]}"
    listed = [f"{name} ({count})" for (_, name), count in sorted(number.items(), key=lambda item: item[0][::-1])]
    if len(listed) > MOST_NAMED:
        listed = [*listed[:MOST_NAMED], f"and {len(listed) - MOST_NAMED} more"]
    return f"{pool} on {len(number)} nodes: {', '.join(listed)}"
