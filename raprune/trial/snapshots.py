"""A trial's state on disk, so that it can resume from its last committed layer."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Mapping, Sequence
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
from raprune.system.store import removed


class Snapshots:
    """The ``state/`` folder of a trial."""

    def __init__(self, folder: Path, baseline_key: str) -> None:
        self.folder = folder
        self.baseline_key = baseline_key

    def order(self) -> list[str] | None:
        """The saved order of deciding, if any."""
        saved = self._order()
        return None if saved is None or saved["order"] is None else list(saved["order"])

    def num_order_candidates(self) -> int | None:
        """Masks scored so far to find the order; ``None`` if none were, or an earlier version found it."""
        saved = self._order()
        return None if saved is None else saved["num_candidates"]

    def order_images(self) -> int | None:
        """Images seen so far by the masks scored for the order; ``None`` if an earlier version scored them."""
        saved = self._order()
        return 0 if saved is None else saved["images_scored"]

    def allowed(self) -> list[float] | None:
        """The parts of the bound saved beside the order; ``None`` where an earlier version saved it."""
        saved = self._order()
        parts: list[float] | None = None if saved is None else saved.get("allowed")
        return parts

    def save_order(
        self,
        order: list[str] | None,
        num_candidates: int,
        images_scored: int | None,
        allowed: Sequence[float] | None = None,
    ) -> None:
        """Save the order, and the part of the bound that the layers up to each may use.

        If a budget ended the search for them, save what the search has requested so far.
        """
        self._make_folder()
        counts = {"num_candidates": num_candidates, "images_scored": images_scored}
        write_json(self.folder / "order.json", {"order": order, **counts, "allowed": allowed})

    def _order(self) -> dict[str, Any] | None:
        file = self.folder / "order.json"
        if not os.path.lexists(file):
            return None
        with contextlib.suppress(DamagedError):  # the format of earlier versions
            return {"order": read_json_list(file, str), "num_candidates": None, "images_scored": None}
        kinds = {"order": (list, type(None)), "num_candidates": (int, type(None))}
        saved = read_json(file, kinds, self._again())
        if not _rises_to_one(saved.get("allowed")):
            raise DamagedError(f"{file} is damaged: allowed must rise from 0 to 1; {self._again()}")
        if "images_scored" not in saved:  # an earlier version counted masks only; no mask saw no image
            return saved | {"images_scored": 0 if saved["num_candidates"] == 0 else None}
        return read_json(file, {**kinds, "images_scored": (int, type(None))}, self._again())

    def save(self, step: int, state: State, agent_state: Mapping[str, Tensor]) -> None:
        """Save the state after the ``step``-th layer, and the agent that decided the layer."""
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
        """Load the state after the ``step``-th layer; raises :class:`ResultsError` if it was changed on disk."""
        file = self.folder / f"{step}.json"
        if not file.is_file():
            raise ResultsError(f"{file} is missing; delete {self.folder.parent} to start its trial again")
        saved = read_json(file, {"plan": dict, "version": str}, self._again())
        weights = self.folder / f"{step}.safetensors"
        with naming(weights, self._again()):
            arrays = to_arrays(load_safetensors(weights)) if os.path.lexists(weights) else {}
        try:
            cuts = {layer: KeepMask(bytes(mask)) for layer, mask in saved["plan"].items()}
            factors = {layer: Factor(**factor) for layer, factor in saved.get("factors", {}).items()}
        except (TypeError, ValueError, AttributeError) as error:
            raise DamagedError(f"{file} is damaged: {error}; {self._again()}") from None
        state = State(self.baseline_key, cuts, arrays, factors)
        if state.version != saved["version"]:
            raise ResultsError(
                f"{weights if weights.is_file() else file} has changed since it was written; {self._again()}"
            )
        return state

    def _again(self) -> str:
        return f"delete {self.folder.parent} to start its trial again"

    def forget_before(self, step: int) -> None:
        """Delete the states of earlier layers, which a later one replaces; keeps the agents."""
        for earlier in range(step):
            for name in (f"{earlier}.json", f"{earlier}.safetensors"):
                (self.folder / name).unlink(missing_ok=True)
                removed(self.folder / name)

    @staticmethod
    def shared_score(folder: str, name: str, compute: Callable[[], float | None]) -> float | None:
        """A score that all trials of a baseline share; computed where the file is missing or damaged.

        ``None`` where ``compute`` returned ``None``.
        """
        file = Path(folder) / f"{name}.json"
        kinds = {"val_score": (int, float, type(None))}
        with contextlib.suppress(DamagedError):
            if os.path.lexists(file):
                known: float | None = read_json(file, kinds)["val_score"]
                return known
        score = compute()
        write_json(file, {"val_score": score})
        return score


def _rises_to_one(parts: Any) -> bool:
    """Whether saved parts of the bound are what they must be; none were saved by earlier versions."""
    if parts is None:
        return True
    if not isinstance(parts, list) or not parts or not all(isinstance(part, int | float) for part in parts):
        return False
    return parts == sorted(parts) and parts[0] >= 0 and parts[-1] == 1


def num_asked(store: TrialStore) -> int:
    """Masks that a trial has requested, according to its files: candidates of its decided layers and of its order."""
    return store.candidate_counts()[0] + (Snapshots(store.folder / "state", "").num_order_candidates() or 0)
