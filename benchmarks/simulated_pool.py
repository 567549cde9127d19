"""Rows 9 and 10 of benchmarks/pool.py: evaluators that sleep; Ray, the dispatcher and the agent are the real ones."""

from __future__ import annotations

import contextlib
import math
import resource
import statistics
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor

from benchmarks.sleeper import Sleeper
from raprune.evaluators.dispatch import Call, Dispatcher
from raprune.evaluators.members import Turn
from raprune.evaluators.ray_backend import RayBackend
from raprune.launch.cluster import connect
from raprune.plugins.methods.agent import Agent, AgentSettings
from raprune.plugins.methods.base import Evaluation, LayerView
from raprune.study.parts import EvaluatorsSpec

AT_ONCE = 8


@contextlib.contextmanager
def sleepers(number: int, slots: int) -> Iterator[list[Any]]:
    connect(None, "pool", EvaluatorsSpec(device="cpu"), "auto", 1)
    import ray

    try:
        actor = ray.remote(num_cpus=0.001, max_concurrency=slots, max_restarts=-1, max_task_retries=0)(Sleeper)
        actors: list[Any] = []
        while len(actors) < number:  # more at once than the cores can start in a minute, and Ray kills them all
            some = [actor.remote() for _ in range(min(AT_ONCE, number - len(actors)))]
            ray.get([a.ping.remote() for a in some])
            actors += some
        yield actors
    finally:
        ray.shutdown()


def scoring(actors: Sequence[Any], first: int, seconds: float) -> Callable[[Sequence[Any]], list[Any]]:
    """What scores masks for one simulated trial: the project's dispatcher on sleeping actors."""
    dispatcher = Dispatcher({str(index): actor for index, actor in enumerate(actors)}, RayBackend("pool"), Turn(first))

    def evaluate(masks: Sequence[Any]) -> list[Any]:
        calls = [Call([mask], [index]) for index, mask in enumerate(masks)]
        return dispatcher.run(calls, lambda actor, items: actor.evaluate.remote(items, seconds), "sleeping")

    return evaluate


def many(number: int, slots: int, trials: int, masks: int, seconds: float = 0.5, window_s: float = 15.0) -> None:
    with sleepers(number, slots) as actors:
        raw = floor(actors, 2 * number * slots, seconds, window_s)
        done, stop = [0] * trials, threading.Event()

        def trial(index: int) -> None:
            evaluate = scoring(actors, index * number // trials, seconds)
            while not stop.is_set():
                done[index] += len(evaluate([bytes(512)] * masks))

        threads = [threading.Thread(target=trial, args=(index,)) for index in range(trials)]
        for thread in threads:
            thread.start()
        time.sleep(5 + 2 * seconds)
        before, used, began = sum(done), _processor_s(), time.perf_counter()
        time.sleep(window_s)
        wall, scored, used = time.perf_counter() - began, sum(done) - before, _processor_s() - used
        stop.set()
        for thread in threads:
            thread.join()
    print(f"{number} evaluators of {slots} slots, {trials} trials of {masks} masks an update, {wall:.0f} s:")
    print(f"{scored / wall:.0f} calls a second, busy {scored * seconds / wall / number / slots:.0%}, "
          f"driver {used / wall:.2f} cores ({1e6 * used / max(1, scored):.0f} us a call)")  # fmt: skip
    print(f"Ray alone, as many calls outstanding and nothing between them: {raw:.0f} calls a second, "
          f"busy {min(1.0, raw * seconds / number / slots):.0%}")  # fmt: skip


def floor(actors: Sequence[Any], outstanding: int, seconds: float, window_s: float) -> float:
    """Calls a second that Ray gives here without any of our code: each answer is followed by the next call."""
    import ray

    actor_of = {actors[i % len(actors)].evaluate.remote([b""], seconds): i % len(actors) for i in range(outstanding)}
    answered, began = 0, 0.0
    start = time.perf_counter()
    while (now := time.perf_counter()) - start < 5 + 2 * seconds + window_s:
        if not began and now - start > 5 + 2 * seconds:
            answered, began = 0, now
        ready, _ = ray.wait(list(actor_of), num_returns=len(actors), timeout=0.1)
        for ref in ready:
            index = actor_of.pop(ref)
            actor_of[actors[index].evaluate.remote([b""], seconds)] = index
        answered += len(ready)
    ray.wait(list(actor_of), num_returns=len(actor_of))
    return answered / (now - began)


def _processor_s() -> float:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


def few(seconds: float, updates: int, masks: int = 5, num_filters: int = 128) -> None:
    settings = AgentSettings(masks_per_update=masks, min_updates=updates, max_updates=updates,
                             converged_entropy=0.0)  # fmt: skip
    weights = torch.randn(num_filters, num_filters * 9, generator=torch.Generator().manual_seed(0))
    torch.set_num_threads(1)
    for number in (1, 2, 6):
        with sleepers(number, 1) as actors:
            for trials in sorted({1, max(2, math.ceil(2 * number / masks))}):
                shares: list[float] = [0.0] * trials
                wall, scored = _agents(actors, trials, seconds, LayerView("layer", weights), Agent(settings), shares)
                print(f"{number} evaluators, {trials} trial{'s' * (trials > 1)}, {seconds} s a mask: busy "
                      f"{scored * seconds / wall / number:.0%}, of a trial {statistics.mean(shares):.1%} is scoring, "
                      f"{wall:.1f} s")  # fmt: skip


def _agents(
    actors: Sequence[Any], trials: int, seconds: float, view: LayerView, agent: Agent, shares: list[float]
) -> tuple[float, int]:
    """Seconds and masks scored of real agents on sleeping evaluators; of each, the share of time its masks took."""
    counts = [0] * trials

    def trial(index: int) -> None:
        evaluate = _Timed(scoring(actors, index, seconds))
        began = time.perf_counter()
        agent.rank(view, evaluate, torch.Generator().manual_seed(index))
        shares[index] = evaluate.inside_s / (time.perf_counter() - began)
        counts[index] = len(evaluate.seen)

    threads = [threading.Thread(target=trial, args=(index,)) for index in range(trials)]
    began = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return time.perf_counter() - began, sum(counts)


class _Timed:
    """An ``evaluate`` without a limit that counts the seconds its masks took."""

    left = None

    def __init__(self, score: Callable[[Sequence[float]], Any]) -> None:
        self.score = score
        self.seen: list[tuple[Tensor, Evaluation]] = []
        self.inside_s = 0.0

    def __call__(self, masks: Sequence[Tensor], *, policy_entropy: float | None = None) -> list[Evaluation]:
        began = time.perf_counter()
        kept = [mask.float().mean().item() for mask in masks]
        self.score(kept)
        self.inside_s += time.perf_counter() - began
        found = [Evaluation(1 - share, 90.0, 1.0, True) for share in kept]
        self.seen += zip(masks, found, strict=True)
        return found
