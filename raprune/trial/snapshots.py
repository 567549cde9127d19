"""A trial's state on disk, so that it goes on from its last committed layer."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from torch import Tensor

from raprune.errors import DamagedError, FileError, ResultsError, naming
from raprune.network.lowrank.factor import Factor
from raprune.network.masks import KeepMask
from raprune.network.state import State, to_arrays, to_tensors
from raprune.network.weights import load_safetensors, save_safetensors
from raprune.results import TrialStore, read_json, read_json_list, write_json


class Snapshots:
    """The ``state/`` folder of a trial."""

    def __init__(self, folder: Path, baseline_key: str) -> None:
        self.folder = folder
        self.baseline_key = baseline_key

    def order(self) -> list[str] | None:
        """The order of deciding found earlier, if any."""
        found = self._order()
        return None if found is None or found["order"] is None else list(found["order"])

    def num_order_candidates(self) -> int | None:
        """Masks that were scored to find it so far; ``None`` where none were, or an earlier version found it."""
        found = self._order()
        return None if found is None else found["num_candidates"]

    def save_order(self, order: list[str] | None, num_candidates: int) -> None:
        """Keep the order, or, where a budget ended the search for it, how many masks that has asked for."""
        self._make_folder()
        write_json(self.folder / "order.json", {"order": order, "num_candidates": num_candidates})

    def _order(self) -> dict[str, Any] | None:
        file = self.folder / "order.json"
        if not os.path.lexists(file):
            return None
        with contextlib.suppress(DamagedError):  # as earlier versions wrote it
            return {"order": read_json_list(file, str), "num_candidates": None}
        return read_json(file, {"order": (list, type(None)), "num_candidates": (int, type(None))}, self._again())

    def save(self, step: int, state: State, agent_state: Mapping[str, Tensor]) -> None:
        """Keep the state after the ``step``-th layer and the agent that decided it."""
        self._make_folder()
        if state.arrays:
            save_safetensors(to_tensors(state.arrays), self.folder / f"{step}.safetensors")
        if agent_state:
            save_safetensors(agent_state, self.folder / f"{step}.agent.safetensors")
        cuts = {layer: list(mask.key) for layer, mask in state.cuts.items()}
        factors = {layer: asdict(factor) for layer, factor in state.factors.items()}
        write_json(self.folder / f"{step}.json", {"version": state.version, "plan": cuts, "factors": factors})

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
        found = read_json(file, {"plan": dict, "version": str}, self._again())
        weights = self.folder / f"{step}.safetensors"
        with naming(weights, self._again()):
            arrays = to_arrays(load_safetensors(weights)) if os.path.lexists(weights) else {}
        try:
            cuts = {layer: KeepMask(bytes(mask)) for layer, mask in found["plan"].items()}
            factors = {layer: Factor(**factor) for layer, factor in found.get("factors", {}).items()}
        except (TypeError, ValueError, AttributeError) as error:
            raise DamagedError(f"{file} is damaged: {error}; {self._again()}") from None
        state = State(self.baseline_key, cuts, arrays, factors)
        if state.version != found["version"]:
            raise ResultsError(
                f"{weights if weights.is_file() else file} has changed since it was written; {self._again()}"
            )
        return state

    def _again(self) -> str:
        return f"delete {self.folder.parent} to start its trial again"

    def forget_before(self, step: int) -> None:
        """Delete the weights of earlier layers, which a later one replaces; agents are kept."""
        for earlier in range(step):
            for name in (f"{earlier}.json", f"{earlier}.safetensors"):
                (self.folder / name).unlink(missing_ok=True)

    @staticmethod
    def shared_score(folder: str, name: str, compute: Callable[[], float | None]) -> float | None:
        """A score that all trials of a baseline share, computed by whoever needs it first, or finds it damaged.

        ``None`` for none.
        """
        file = Path(folder) / f"{name}.json"
        kinds = {"val_score": (int, float, type(None))}
        with contextlib.suppress(DamagedError):
            if os.path.lexists(file):
                found: float | None = read_json(file, kinds)["val_score"]
                return found
        score = compute()
        write_json(file, {"val_score": score})
        return score


def num_asked(store: TrialStore) -> int:
    """Masks that a trial has asked to have scored, as on disk: its decided layers' candidates and its order's."""
    return store.candidate_counts()[0] + (Snapshots(store.folder / "state", "").num_order_candidates() or 0)
