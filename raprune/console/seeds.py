"""What a study's seeds repeat, said before it runs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from raprune.registry import is_given
from raprune.study import TrialSpec


def seed_lines(trials: Sequence[TrialSpec]) -> Iterator[str]:
    """What trials of several seeds differ in, what is the same for all of them, and whether rows repeat."""
    if len({trial.seed for trial in trials}) < 2:
        return
    values: dict[str, set[Any]] = {
        "the method's draws": {trial.seed for trial in trials},
        "the baseline's training": {trial.baseline.seed for trial in trials},
        "the split of the data": {trial.dataset.settings.get("split_seed") for trial in trials},
        "the batches of fine-tunes": {trial.data_seed for trial in trials},
    }
    varied = [name for name, seeds in values.items() if len(seeds) > 1]
    same = [name for name in values if name not in varied]
    yield f"seeds vary {', '.join(varied)}" + (f"; {', '.join(same)} stay the same" if same else "")
    if repeated := _drawn_alone(trials):
        seeds = ", ".join(map(str, sorted({trial.seed for trial in repeated})))
        yield (
            f"seeds {seeds} repeat nothing but the method's draws: the rows of a method that draws nothing, such as "
            f"magnitude, are the same for each, and the report counts them once{_way_on(repeated[0])}"
        )


def _drawn_alone(trials: Sequence[TrialSpec]) -> list[TrialSpec]:
    """The trials that differ from another one in nothing but the method's draws."""
    groups: dict[str, list[TrialSpec]] = {}
    for trial in trials:
        idle = {"seed"} if _trains(trial) else {"seed", "data_seed"}
        groups.setdefault(trial.model_dump_json(exclude=idle), []).append(trial)
    return [trial for group in groups.values() if len({trial.seed for trial in group}) > 1 for trial in group]


def _trains(trial: TrialSpec) -> bool:
    """Whether ``data_seed`` can change a number: the trial fine-tunes, factorises, or scores approximately."""
    lengths = (trial.finetune.before_reward, trial.finetune.after_layer, trial.finetune.at_end)
    drawn = not trial.fidelity.is_full or trial.postprocess.low_rank is not None
    return drawn or any(length.num_steps(1) for length in lengths)


def _way_on(trial: TrialSpec) -> str:
    if trial.baseline.checkpoint is not None:
        return (
            "; for independent repetitions sweep several checkpoints (baseline.checkpoint) or, where the checkpoint "
            "was trained on none of these images, dataset.split_seed"
        )
    if is_given(trial.model.name):
        return ""
    keys = ["baseline.seed", *(["dataset.split_seed"] if "split_seed" in trial.dataset.settings else []), "data_seed"]
    return f"; without {', '.join(keys)} in the study, they would follow the seed"
