"""Torch's optimisers without its compiler: the same numbers, and no import of the compiler."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from raprune.network import optimisers

ROOT = Path(__file__).resolve().parents[2]
KINDS: list[tuple[str, dict[str, Any]]] = [
    ("SGD", {"lr": 0.1, "momentum": 0.9, "nesterov": True, "weight_decay": 0.01}),
    ("SGD", {"lr": 0.1}),
    ("Adam", {"lr": 0.1}),
]
TRAINS = """
import sys
import torch
from raprune.engine.train import Course, Recipe
from raprune.plugins.methods.agent import Adam
from tests.launch.chain import Chain
network = Chain(3)
images, labels = torch.rand(4, 1, 8, 8), torch.zeros(4, dtype=torch.long)
course = Course(network, torch.nn.functional.cross_entropy, Recipe(0.1, 0.9, 0.0, 4, "one_cycle"), 2)
course.learn((images,), labels)
agent = Adam(torch.nn.Linear(2, 2).parameters())
agent.zero_grad(), agent.step(), agent.state_dict()
print([name for name in ("torch._dynamo", "torch._inductor") if name in sys.modules])
"""


@pytest.mark.parametrize(("kind", "settings"), KINDS)
def test_they_compute_the_same(kind: str, settings: dict[str, Any]) -> None:
    found = []
    for module in (torch.optim, optimisers):
        torch.manual_seed(0)
        network = torch.nn.Linear(5, 3)
        optimiser = getattr(module, kind)(network.parameters(), **settings)
        for _ in range(4):
            optimiser.zero_grad()
            network(torch.rand(7, 5)).square().mean().backward()
            optimiser.step()
        assert network.weight.requires_grad
        found.append([*network.parameters(), *(part for state in optimiser.state.values() for part in state.values())])
        assert len(optimiser.state_dict()["param_groups"]) == 1
    assert len(found[0]) == len(found[1])
    assert all(
        torch.equal(torch.as_tensor(a), torch.as_tensor(b)) for a, b in zip(*found, strict=True) if a is not None
    )


def test_training_does_not_import_the_compiler() -> None:
    """Its import takes as long as that of torch, in every process that trains."""
    done = subprocess.run([sys.executable, "-c", TRAINS], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.stdout == "[]\n", done.stdout + done.stderr
