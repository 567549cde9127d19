"""``prune`` on Ray: the program's own network and data reach every process, also one that is started again."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import psutil
import pytest
from torch import nn

from raprune.api import prune
from raprune.console.progress import StudyProgress
from raprune.errors import InputError
from tests.api.networks import User
from tests.launch.runs import assert_same_rows

OPTIONS: dict[str, Any] = {
    "drop_bound": 8.0,
    "layers": ["body.3"],
    "method": {"name": "agent", "min_updates": 4, "max_updates": 4},
    "finetune": {"after_layer": {"steps": 4}},
    "progress": False,
}


def kill_evaluator(when: threading.Event) -> None:
    """End the process of this program's evaluator, once."""
    mine = psutil.Process().children(recursive=True)
    (process,) = (p for p in mine if "EvaluatorProcess" in " ".join(p.cmdline()))
    process.kill()
    when.set()


@pytest.mark.slow  # launch/test_on_ray.py compares the rows of a study whose evaluator dies
@pytest.mark.parametrize("dies", [False, True])
def test_the_same_rows_even_if_an_evaluator_dies(
    user: User, ray_cluster: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, dies: bool
) -> None:
    here = prune(user.model, user.train, user.val, test=user.test, out=tmp_path / "here", **OPTIONS)
    killed = threading.Event()

    def told(self: StudyProgress, trial_id: str, progress: dict[str, Any]) -> None:
        if dies and not killed.is_set():
            kill_evaluator(killed)

    monkeypatch.setattr(StudyProgress, "told", told)
    there = prune(user.model, user.train, user.val, test=user.test, out=tmp_path / "there", evaluators=1, **OPTIONS)
    assert killed.is_set() == dies
    assert_same_rows(tmp_path / "here", tmp_path / "there")
    assert (here.report.row["evaluators"], there.report.row["evaluators"]) == (0, 1)
    assert not [f for f in (tmp_path / "there").rglob("*") if f.suffix in (".pkl", ".pickle", ".pt")]


def test_a_network_that_cannot_travel_is_a_sentence(user: User, ray_cluster: None) -> None:
    class Held(nn.Module):
        """Holds what nothing can pickle, and copies without it."""

        def __init__(self) -> None:
            super().__init__()
            self.body, self.head = user.model.body, user.model.head
            self.lock = Lock()

        def forward(self, images: Any) -> Any:
            return self.head(self.body(images).mean((2, 3)))

    class Lock:
        def __deepcopy__(self, memo: dict[int, Any]) -> Lock:
            return self

        def __reduce__(self) -> Any:
            raise TypeError("a lock stays where it is")

    with pytest.raises(InputError, match=r"cannot be sent to other processes \(TypeError: .*evaluators=0"):
        prune(Held(), user.train, user.val, evaluators=1, **OPTIONS)
