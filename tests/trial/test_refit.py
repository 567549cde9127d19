"""A method's refit comes before the committed fine-tune, and only where it was asked for."""

from __future__ import annotations

from typing import Any

import torch

from raprune.engine.tasks import Refit
from raprune.network.masks import KeepMask
from raprune.network.state import State
from raprune.plugins.methods.lasso import Lasso, LassoSettings
from raprune.trial.within_bound import Contract, commit_as_given
from tests.tiny import EngineEvaluator, candidates_of, engine_of, lively_vgg, own_labels

LAYER = "features.10"


class Recording(EngineEvaluator):
    """Remembers the tasks that it ran."""

    def run(self, task: Any, state: State) -> Any:
        self.ran = [*getattr(self, "ran", []), task.name]
        return super().run(task, state)


def test_the_refit_state_is_fine_tuned() -> None:
    network = lively_vgg()
    engine = engine_of(network, own_labels(network, 40), naive=True)
    mask = KeepMask.of(torch.arange(8) < 6)
    scale = candidates_of(engine, LAYER, 50.0).scale
    committed, ran = {}, {}
    for refit in (False, True):
        evaluator = Recording(engine)
        method = Lasso(LassoSettings(num_images=20, refit=refit))
        contract = Contract(evaluator, engine.graph, scale, refit=method.refit)
        committed[refit] = commit_as_given(contract, State.baseline("baseline"), LAYER, mask).state
        ran[refit] = evaluator.ran
    assert ran[True][:3] == ["refit", "finetune commit", "measure val"]
    assert "refit" not in ran[False]
    assert committed[True].cuts == committed[False].cuts
    assert committed[True].version != committed[False].version
    refitted = Refit(LAYER, mask, method.refit).run(engine, State.baseline("baseline"))
    cut = State.baseline("baseline").cut(engine.graph, LAYER, mask)
    assert committed[True].version == engine.finetune(refitted, "commit", cut.version).version
