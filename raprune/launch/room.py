"""How many evaluators fit on a cluster beside what other programs have reserved there."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from raprune.evaluators.backend import Node
from raprune.launch.resources import TRIAL_CPUS, Resources, evaluator_cpus, evaluators_a_gpu, of_type

NEARLY = 1e-6
"""Ray counts in ten-thousandths."""


class Room(NamedTuple):
    """What there is for a study's evaluators."""

    whole: int = 0
    """That fit on the machines, were the study alone there."""
    fits: int = 0
    """That fit beside other programs: the study's own, and those that what is free would hold."""
    more: int = 0
    """That can be started now."""
    wanted: int = 0
    """Of the whole, those that the study can use, but no fewer than it begins with."""


def vacancies(
    resources: Resources, nodes: Sequence[Node], free: Mapping[str, Mapping[str, float]], held: Mapping[str, int]
) -> int:
    """Evaluators that the machines would hold beside all that is reserved, with a trial.

    ``free``: machine's id -> what nobody has reserved. ``held``: machine's id -> the study's evaluators there.
    """
    if resources.device == "cuda":
        able = of_type(nodes, resources.spec.accelerator_type)
        share = resources.spec.gpu_share
        return sum(_on_gpus(node, free.get(node.id, {}).get("GPU", 0.0), held.get(node.id, 0), share) for node in able)
    need = evaluator_cpus(resources.threads)
    cores = [free.get(node.id, {}).get("CPU", 0.0) for node in nodes]
    numbers = [math.floor(cpus / need + NEARLY) for cpus in cores]
    rest = max((cpus - number * need for cpus, number in zip(cores, numbers, strict=True)), default=0.0)
    return sum(numbers) if rest >= TRIAL_CPUS - NEARLY else max(0, sum(numbers) - 1)


def _on_gpus(node: Node, free: float, held: int, share: float) -> int:
    """Evaluators that the GPUs of a machine would hold, if other programs' shares lie on as few of them as possible."""
    gpus = math.floor(node.resources.get("GPU", 0.0))
    others = max(0.0, gpus - free - held * share)
    theirs = math.ceil(others - NEARLY)
    beside = (gpus - theirs) * evaluators_a_gpu(share) + math.floor((theirs - others) / share + NEARLY)
    return max(0, min(beside - held, math.floor(free / share + NEARLY)))
