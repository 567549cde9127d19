"""A trial's state on disk, so that it goes on from its last committed layer."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path

from torch import Tensor

from raprune.errors import ResultsError
from raprune.lowrank.factor import Factor
from raprune.results import write_json
from raprune.state import State, to_arrays, to_tensors
from raprune.weights import load_safetensors, save_safetensors


class Snapshots:
    """The ``state/`` folder of a trial."""

    def __init__(self, folder: Path, baseline_key: str) -> None:
        self.folder = folder
        self.baseline_key = baseline_key

    def order(self) -> list[str] | None:
        """The order of deciding found earlier, if any."""
        file = self.folder / "order.json"
        return list(json.loads(file.read_text())) if file.is_file() else None

    def save_order(self, order: list[str]) -> None:
        write_json(self.folder / "order.json", order)

    def save(self, step: int, state: State, agent_state: Mapping[str, Tensor]) -> None:
        """Keep the state after the ``step``-th layer and the agent that decided it."""
        self.folder.mkdir(parents=True, exist_ok=True)
        if state.arrays:
            save_safetensors(to_tensors(state.arrays), self.folder / f"{step}.safetensors")
        if agent_state:
            save_safetensors(agent_state, self.folder / f"{step}.agent.safetensors")
        plan = {layer: list(mask) for layer, mask in state.plan.items()}
        factors = {layer: asdict(factor) for layer, factor in state.factors.items()}
        write_json(self.folder / f"{step}.json", {"version": state.version, "plan": plan, "factors": factors})

    def load(self, step: int) -> State:
        """The state after the ``step``-th layer; raises :class:`ResultsError` where it was changed on disk."""
        file = self.folder / f"{step}.json"
        if not file.is_file():
            raise ResultsError(f"{file} is missing; delete {self.folder.parent} to start its trial again")
        found = json.loads(file.read_text())
        weights = self.folder / f"{step}.safetensors"
        arrays = to_arrays(load_safetensors(weights)) if weights.is_file() else {}
        plan = {layer: bytes(mask) for layer, mask in found["plan"].items()}
        factors = {layer: Factor(**factor) for layer, factor in found.get("factors", {}).items()}
        state = State(self.baseline_key, plan, arrays, factors)
        if state.version != found["version"]:
            raise ResultsError(f"{weights} was changed; delete {self.folder.parent} to start its trial again")
        return state

    def forget_before(self, step: int) -> None:
        """Delete the weights of earlier layers, which a later one replaces; agents are kept."""
        for earlier in range(step):
            for name in (f"{earlier}.json", f"{earlier}.safetensors"):
                (self.folder / name).unlink(missing_ok=True)

    @staticmethod
    def shared_score(folder: str, name: str, compute: Callable[[], float]) -> float:
        """A score that all trials of a baseline share, computed by whoever needs it first."""
        file = Path(folder) / f"{name}.json"
        if not file.is_file():
            write_json(file, {"val_score": compute()})
        return float(json.loads(file.read_text())["val_score"])
