"""A trial's state on disk, so that it goes on from its last committed layer, and its finished network."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path

from torch import Tensor, nn

from raprune.errors import ResultsError
from raprune.graph import Graph
from raprune.results import write_json
from raprune.state import State, to_arrays, to_tensors
from raprune.study.schema import TrialSpec
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
        write_json(self.folder / f"{step}.json", {"version": state.version, "plan": plan})

    def load(self, step: int) -> State:
        """The state after the ``step``-th layer; raises :class:`ResultsError` where it was changed on disk."""
        file = self.folder / f"{step}.json"
        if not file.is_file():
            raise ResultsError(f"{file} is missing; delete {self.folder.parent} to start its trial again")
        found = json.loads(file.read_text())
        weights = self.folder / f"{step}.safetensors"
        arrays = to_arrays(load_safetensors(weights)) if weights.is_file() else {}
        state = State(self.baseline_key, {layer: bytes(mask) for layer, mask in found["plan"].items()}, arrays)
        if state.version != found["version"]:
            raise ResultsError(f"{weights} was changed; delete {self.folder.parent} to start its trial again")
        return state

    def forget_before(self, step: int) -> None:
        """Delete the weights of earlier layers, which a later one replaces; agents are kept."""
        for earlier in range(step):
            for name in (f"{earlier}.json", f"{earlier}.safetensors"):
                (self.folder / name).unlink(missing_ok=True)

    def export(self, trial: TrialSpec, network: nn.Module, folder: Path, graph: Graph) -> None:
        """The finished network: its weights, and the plan that rebuilds it."""
        folder.mkdir(parents=True, exist_ok=True)
        save_safetensors(network.state_dict(), folder / "model.safetensors")
        state = max((int(f.stem), f) for f in self.folder.glob("[0-9]*.json"))[1]
        write_json(
            folder / "plan.json",
            {
                "model": trial.model.model_dump(mode="json"),
                "residual": trial.residual,
                "dataset": trial.dataset.model_dump(mode="json"),
                "num_filters": {layer: group.num_filters for layer, group in graph.groups.items()},
                "keep_masks": {
                    layer: [bool(m) for m in mask] for layer, mask in json.loads(state.read_text())["plan"].items()
                },
            },
        )

    @staticmethod
    def shared_score(folder: str, name: str, compute: Callable[[], float]) -> float:
        """A score that all trials of a baseline share, computed by whoever needs it first."""
        file = Path(folder) / f"{name}.json"
        if not file.is_file():
            write_json(file, {"val_score": compute()})
        return float(json.loads(file.read_text())["val_score"])
