"""A trial's state on disk, so that it goes on from its last committed layer."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path

from torch import Tensor

from raprune.errors import DamagedError, FileError, ResultsError, naming
from raprune.lowrank.factor import Factor
from raprune.results import read_json, read_json_list, write_json
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
        if not os.path.lexists(file):
            return None
        return read_json_list(file, str, f"delete {self.folder.parent} to start its trial again")

    def save_order(self, order: list[str]) -> None:
        self._make_folder()
        write_json(self.folder / "order.json", order)

    def save(self, step: int, state: State, agent_state: Mapping[str, Tensor]) -> None:
        """Keep the state after the ``step``-th layer and the agent that decided it."""
        self._make_folder()
        if state.arrays:
            save_safetensors(to_tensors(state.arrays), self.folder / f"{step}.safetensors")
        if agent_state:
            save_safetensors(agent_state, self.folder / f"{step}.agent.safetensors")
        plan = {layer: list(mask) for layer, mask in state.plan.items()}
        factors = {layer: asdict(factor) for layer, factor in state.factors.items()}
        write_json(self.folder / f"{step}.json", {"version": state.version, "plan": plan, "factors": factors})

    def _make_folder(self) -> None:
        study = self.folder.parents[2]
        if not study.is_dir():
            raise FileError(f"{study}: the study's folder was removed while it ran; nothing is written")
        with naming(self.folder):
            self.folder.mkdir(parents=True, exist_ok=True)

    def load(self, step: int) -> State:
        """The state after the ``step``-th layer; raises :class:`ResultsError` where it was changed on disk."""
        file = self.folder / f"{step}.json"
        if not file.is_file():
            raise ResultsError(f"{file} is missing; delete {self.folder.parent} to start its trial again")
        way_on = f"delete {self.folder.parent} to start its trial again"
        found = read_json(file, {"plan": dict, "version": str}, way_on)
        weights = self.folder / f"{step}.safetensors"
        with naming(weights, way_on):
            arrays = to_arrays(load_safetensors(weights)) if os.path.lexists(weights) else {}
        try:
            plan = {layer: bytes(mask) for layer, mask in found["plan"].items()}
            factors = {layer: Factor(**factor) for layer, factor in found.get("factors", {}).items()}
        except (TypeError, ValueError, AttributeError) as error:
            raise DamagedError(f"{file} is damaged: {error}; {way_on}") from None
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
        if not os.path.lexists(file):
            write_json(file, {"val_score": compute()})
        way_on = "delete it to have it measured again"
        return float(read_json(file, {"val_score": (int, float)}, way_on)["val_score"])
