"""Which batch size scores the most images per second: a proposal for the study, never applied automatically."""

from __future__ import annotations

import copy
import statistics
import time
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import nn

from raprune.artefact.trials import TrialNetworks
from raprune.bench.backends import images
from raprune.study.parts import ScoringSpec

SMALLEST, LARGEST = 8, 512
LONGEST_S = 2.0
"""Larger batches are not tried once one takes so long."""
ROUNDS, ROUND_S = 3, 0.15
"""Each batch size is run for so long, in so many rounds over all of them."""
CLOSE = 0.98
"""The smallest batch size with this share of the highest rate is the best: more costs memory and gains nothing."""


@dataclass(frozen=True)
class Proposal:
    """Images per second of the baseline's forward pass, by batch size."""

    rates: Mapping[int, float]
    scoring: ScoringSpec
    """The study's."""
    own: int
    """Its batch size, or all validation images where those are fewer."""
    device: str

    @property
    def best(self) -> int:
        """The smallest batch size among the fastest."""
        return min(size for size, rate in self.rates.items() if rate >= CLOSE * max(self.rates.values()))

    @property
    def setting(self) -> str:
        """What to put into the study."""
        changed = {"batch_size": self.best} | ({"threads": self.scoring.threads} if self.scoring.threads != 1 else {})
        return f"scoring: {{{', '.join(f'{key}: {value}' for key, value in changed.items())}}}"


def propose(trial: TrialNetworks) -> Proposal:
    """Measure powers of two and the study's own batch size, on the study's threads, as candidates are scored.

    On the GPU where the trial was scored on one that is here, else on the processor.
    """
    on_gpu = str(trial.row["device"]) not in ("cpu", "mps") and torch.cuda.is_available()
    device = "cuda" if on_gpu else "cpu"
    torch.set_num_threads(trial.scoring.threads)
    network = copy.deepcopy(trial.networks["baseline"]).to(device)
    network = network.to(memory_format=torch.channels_last)
    num_val_images = int(trial.row["num_val_images"])
    own = min(trial.scoring.batch_size, num_val_images)
    sizes = {2**power for power in range(SMALLEST.bit_length() - 1, LARGEST.bit_length())} | {own}
    batches: dict[int, torch.Tensor] = {}
    for size in sorted({min(size, num_val_images) for size in sizes}):
        batch_BCHW = torch.from_numpy(images((size, *trial.input_shape))).to(device)
        batches[size] = batch_BCHW.contiguous(memory_format=torch.channels_last)
        if _seconds(network, batches[size]) > LONGEST_S:
            break
    seconds: dict[int, list[float]] = {size: [] for size in batches}
    for _ in range(ROUNDS):
        for size in seconds:
            seconds[size].append(_seconds(network, batches[size]))
    rates = {size: size / statistics.median(times) for size, times in seconds.items()}
    return Proposal(rates, trial.scoring, own, device)


@torch.inference_mode()
def _seconds(network: nn.Module, batch_BCHW: torch.Tensor) -> float:
    """Of one forward pass: the mean over as many as the round allows, at least one, after one that does not count."""
    _run(network, batch_BCHW)
    start, runs = time.perf_counter(), 0
    while runs == 0 or time.perf_counter() - start < ROUND_S:
        _run(network, batch_BCHW)
        runs += 1
    return (time.perf_counter() - start) / runs


def _run(network: nn.Module, batch_BCHW: torch.Tensor) -> None:
    network(batch_BCHW)
    if batch_BCHW.device.type == "cuda":
        torch.cuda.synchronize()
