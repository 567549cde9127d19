"""Bad studies and what is said of them: the place, the YAML path, the rule, the value, the nearest valid choice."""

# ruff: noqa: E501  (tables: one case a line)

from __future__ import annotations

from pathlib import Path

import pytest

from raprune.study.schema import TRIAL_KEYS

from .texts import GOOD, HEAD, load, problems, told

METHODS = f"{HEAD}drop_bound: 2\nsweep:\n  method:\n"
"""Five lines; the first method stands in line 7."""
BOUNDS = f"{HEAD}method: magnitude\nsweep:\n"
"""Five lines; the first axis stands in line 6."""

KEYS = [
    ("drop_bond: 2\n", ["s.yaml:6: drop_bond: is not a key here; did you mean 'drop_bound'? (known: drop_bound,"]),
    ("finetune: {after_lyer: {steps: 1}}\n", ["s.yaml:6: finetune.after_lyer: is not a key here; did you mean 'after_layer'?"]),
    ("finetune:\n  after_layer: {step: 1}\n", ["s.yaml:7: finetune.after_layer.step: is not a key here; did you mean 'steps'?"]),
    ("baseline: {epoch: 1}\n", ["s.yaml:6: baseline.epoch: is not a key here; did you mean 'epochs'?"]),
    ("evaluators: {cuont: 1}\n", ["s.yaml:6: evaluators.cuont: is not a key here; did you mean 'count'?"]),
    ("score: {name: top1_accuracy, k: 5}\n", ["s.yaml:6: score.k: is not a key here; nothing can be set here"]),
    ("finetune.momentum: 0.5\n", ["s.yaml:6: finetune.momentum: is not a key here: dots are for sweep", "inside finetune"]),
    ("matched_trial_id: abc\n", ["s.yaml:6: matched_trial_id: is not a key here"]),
    ("'': 1\n", ["s.yaml:6: '': is not a key here"]),
    ('"\\e[31m": 1\n', [r"s.yaml:6: '\x1b[31m': is not a key here"]),
]  # fmt: skip
VALUES = [
    ("seed: true\n", ["s.yaml:6: seed: must be an integer; got true"]),
    ("seed: '3'\n", ["seed: must be an integer; got '3'; did you mean 3, without quotes or unit?"]),
    ("seed: 1.0\n", ["seed: must be an integer; got 1.0; did you mean 1?"]),
    ("seed: {a: 1}\n", ["seed: must be an integer; got {'a': 1}"]),
    ("seed: -1\n", ["seed: must be at least 0; got -1"]),
    ("description: 3\n", ["description: must be text; got 3; did you mean '3', in quotes?"]),
    ("scoring: {threads: yes}\n", ["scoring.threads: must be an integer; got yes"]),
    ("scoring: {threads: 5000}\n", ["scoring.threads: must be at most 1024; got 5000"]),
    ("scoring: fast\n", ["scoring: must be a mapping of batch_size, threads; got 'fast'"]),
    ("finetune: [1]\n", ["finetune: must be a mapping of before_reward, after_layer,", "got [1]"]),
    ("postprocess: 5\n", ["postprocess: must be a mapping of joint, low_rank; got 5"]),
    ("postprocess: {joint: none}\n", ["postprocess.joint: must be a mapping of candidates,", "got 'none'"]),
    ("finetune: {after_layer: 1}\n", ["finetune.after_layer: must be a mapping of epochs, steps; got 1"]),
    ("finetune: {after_layer: {epochs: 1, steps: 2}}\n", ["finetune.after_layer: must have exactly one of epochs and steps; got"]),
    ("finetune: {after_layer: {}}\n", ["finetune.after_layer: must have exactly one of epochs and steps; got {}"]),
    ("finetune: {learning_rate: fast}\n", ["finetune.learning_rate: must be a number; got 'fast'"]),
    ("finetune: {learning_rate: 0, momentum: 1}\n", ["learning_rate: must be above 0", "momentum: must be below 1"]),
    ("residual: couple\n", ["residual: must be one of independent, coupled; got 'couple'; did you mean 'coupled'?"]),
    ("preset: papr\n", ["preset: must be one of default, fast, paper; got 'papr'; did you mean 'paper'?"]),
    ("preset: [paper]\n", ["preset: must be one of default, fast, paper", "got ['paper']"]),
    ("evaluators: {count: many}\n", ["evaluators.count: must be an integer or auto; got 'many'"]),
    ("evaluators: {count: true}\n", ["evaluators.count: must be an integer or auto; got true"]),
    ("evaluators: {count: -1}\n", ["evaluators.count: must be 0 or more, or auto; got -1"]),
    ("evaluators: {count: 2, max: 4}\n", ["evaluators: has either count, or min and max"]),
    ("evaluators: {min: 5, max: 4}\n", ["evaluators: min is 5, more than max, which is 4"]),
    ("evaluators: {min: 0}\n", ["evaluators.min: "]),
    ("evaluators: {gpu_share: 2, device: gpu}\n", ["gpu_share: must be at most 1", "device: must be one of auto, cpu, cuda, mps"]),
    ("layers: al\n", ["layers: must be all, each (one trial per layer) or a list of layer names; got 'al'; did you mean 'all'?"]),
    ("layers: []\n", ["layers: must be a list of at least one layer; got []"]),
    ("layers: [a, a]\n", ["layers: must name each layer once; 'a' is given twice"]),
    ("layers: [a, 2, [b]]\n", ["layers[1]: must be text; got 2; did you mean '2', in quotes?", "layers[2]: must be text; got ['b']"]),
    ("layers: [0.10]\n", ["layers[0]: must be text; got 0.10; did you mean '0.10', in quotes?"]),
    ("layers: [on, 1_0]\n", ["did you mean 'on', in quotes?", "got 1_0; did you mean '1_0', in quotes?"]),
    ("seed: 1.50\n", ["seed: must be an integer; got 1.50"]),
    ("score_floor: 90\n", ["s.yaml:6: score_floor: must not stand beside drop_bound; keep one of the two; got 90"]),
    ("reward: {name: bounded_log, floor: non}\n", ["reward.floor: must be a number or none; got 'non'; did you mean 'none'?"]),
    ("reward: {name: bounded_log, floor: 1}\n", ["reward.floor: must be below 0, or none; got 1"]),
    ("order: low_to_hihg\n", ["s.yaml:6: order: no order is called 'low_to_hihg'", "low_to_high"]),
    ("order: {name: by_sensitivity, pruning_ratios: [0.5, 2, x]}\n", ["order.pruning_ratios[1]: must be below 1", "[2]: must be a number"]),
    ("residual: " + "x" * 5000 + "\n", ["(5,002 characters)"]),
]  # fmt: skip
WHOLE = [
    (GOOD.replace("2.0", "0.02"), ["s.yaml:5: drop_bound: is in percentage points, not a fraction", "got 0.02; did you mean 2?"]),
    (GOOD.replace("2.0", "0"), ["drop_bound: is in percentage points", "must be at least 0.1; got 0"]),
    (GOOD.replace("2.0", "200"), ["drop_bound: is in percentage points and must be at most 100; got 200"]),
    (GOOD.replace("2.0", "2%"), ["drop_bound: must be a number; got '2%'; did you mean 2, without quotes or unit?"]),
    (GOOD.replace("2.0", "[1, 2]"), ["drop_bound: must be a number; got [1, 2]"]),
    (GOOD.replace("2.0", "nan"), ["drop_bound: must be a number; got 'nan'"]),
    (GOOD.replace("drop_bound: 2.0", ""), ["drop_bound: is required: points of validation score", "or score_floor"]),
    (GOOD.replace("drop_bound: 2.0", "score_floor: 0.9"), ["score_floor: is in percent, not a fraction", "got 0.9; did you mean 90?"]),
    (GOOD.replace("drop_bound: 2.0", "score_floor: 101"), ["score_floor: is in percent", "from 1 to 100; got 101"]),
    (GOOD.replace("name: x", "name: 3"), ["s.yaml:1: name: must be text; got 3; did you mean '3', in quotes?"]),
    (GOOD.replace("name: x", "name: ../../etc"), ["s.yaml:1: name: must be 1 to 100 letters", "got '../../etc'; did you mean 'etc'?"]),
    (GOOD.replace("name: x\n", ""), ["s.yaml:1: name: is required"]),
    (GOOD.replace("vgg16", "vgg61"), ["s.yaml:2: model.name: no model is called 'vgg61'; did you mean 'vgg16'?"]),
    (GOOD.replace("{name: vgg16, width: 0.03125}", "[vgg16]"), ["s.yaml:2: model: must be a name, or a mapping with a name (known: "]),
    (GOOD + "decision: {name: 1, proposals: 6}\n", ["decision: must be a name, or a mapping with a name", "got {'name': 1, 'proposals': 6}"]),
    (GOOD.replace("name: vgg16, ", ""), ["s.yaml:2: model: must be a name, or a mapping with a name", "got {'width': 0.03125}"]),
    (GOOD.replace("0.03125", "0"), ["s.yaml:2: model.width: must be above 0"]),
    (GOOD.replace("0.03125", "wide"), ["s.yaml:2: model.width: must be a number; got 'wide'"]),
    (GOOD.replace("dataset: digits\n", ""), ["dataset: is required (known: ", "digits"]),
    (GOOD.replace("digits", "{name: digits, num_val: 5000}"), ["s.yaml:3: dataset.num_val: must be at most 1000; got 5000"]),
    (GOOD.replace("digits", "image_parquet"), ["s.yaml:3: dataset.train: is required"]),
    (GOOD.replace("digits", "{name: image_parquet, train: no.parquet}"), ["s.yaml:3: dataset.train: no such file: 'no.parquet'"]),
    (GOOD.replace("digits", "{name: cifar10, root: /no, download: false}"), ["s.yaml:3: dataset.root:", "got '/no'"]),
    (GOOD.replace("magnitude", "{name: agent, mask_per_update: 9}"), ["method.mask_per_update: is not a key here; did you mean"]),
    (GOOD.replace("magnitude", "magnitude\ndecision: {name: reward, prefixes: maybe}"), ["s.yaml:5: decision.prefixes: must be true or false; got 'maybe'"]),
    (GOOD.replace("magnitude", "{name: random, match: magnitude}"), ["s.yaml:4: method.match: must name another method", "'magnitude'"]),
]  # fmt: skip
SWEEPS = [
    (f"{GOOD}sweep: 3\n", ["s.yaml:6: sweep: must be a mapping of keys to lists of values; got 3"]),
    (f"{GOOD}sweep: [a]\n", ["s.yaml:6: sweep: must be a mapping of keys to lists of values; got ['a']"]),
    (f"{GOOD}sweep: {{}}\n", ["s.yaml:6: sweep: has no axis"]),
    (f"{GOOD}sweep: {{seed: [{', '.join(map(str, range(101)))}], data_seed: [{', '.join(map(str, range(100)))}]}}\n",
     ["s.yaml:6: sweep: must expand to at most 10,000 trials; got 10,100"]),
    (f"{BOUNDS}  drop_bound: []\n", ["s.yaml:6: sweep.drop_bound: must be a list of at least one value; got []"]),
    (f"{BOUNDS}  drop_bound: 3\n", ["s.yaml:6: sweep.drop_bound: must be a list", "got 3; did you mean [3]?"]),
    (f"{BOUNDS}  drop_bound:\n    - 1\n    - two\n    - 0.01\n",
     ["s.yaml:8: sweep.drop_bound[1]: must be a number; got 'two'", "s.yaml:9: sweep.drop_bound[2]: is in percentage"]),
    (f"{BOUNDS}  drop_bound:\n    - 1\n    - 1.0\n", ["s.yaml:8: sweep.drop_bound[1]: expands to the same trials as sweep.drop_bound[0]"]),
    (f"{BOUNDS}  drop_bound: [1]\n  score_floor: [90]\n", ["s.yaml:6: sweep.drop_bound: sets what sweep.score_floor also sets"]),
    (f"{GOOD}sweep:\n  drop_bond: [1]\n", ["s.yaml:7: sweep.drop_bond: is not a key of a trial; did you mean 'drop_bound'?"]),
    (f"{GOOD}sweep:\n  name: [a]\n", ["s.yaml:7: sweep.name: is not a key of a trial"]),
    (f"{GOOD}sweep:\n  finetune.momentun: [1]\n", ["s.yaml:7: sweep.finetune.momentun: is not a key of a trial; did you mean 'momentum'?"]),
    (f"{GOOD}sweep:\n  drop_bound.x: [1]\n", ["s.yaml:7: sweep.drop_bound.x: is not a key of a trial: nothing can be set inside"]),
    (f"{GOOD}sweep:\n  a..b: [1]\n  '': [1]\n", ["s.yaml:7: sweep.a..b: is not a key", "s.yaml:8: sweep.'': is not a key"]),
    (f"{GOOD}sweep:\n  finetune: {{momentum: [1]}}\n", ["s.yaml:7: sweep.finetune: must be a list of at least one value"]),
    (f"{GOOD.replace('magnitude', 'agent')}sweep:\n  method.hiden: [8, 9]\n", ["s.yaml:7: sweep.method.hiden: is not a key here; did you mean 'hidden'?"]),
    (f"{GOOD}sweep:\n  drop_bound: [1, x]\n", ["s.yaml:7: sweep.drop_bound: is swept, but drop_bound also has a value (", "s.yaml:5)"]),
    (f"{METHODS}    - {{name: agent,\n       max_updates: 0}}\n", ["s.yaml:8: sweep.method[0].max_updates: must be at least 1; got 0"]),
    (f"{GOOD}baseline: 1\nsweep:\n  baseline.seed: [0]\n", ["s.yaml:6: baseline: must be a mapping, because the sweep sets baseline.seed; got 1"]),
    (f"{GOOD}sweep:\n  finetune: [3]\n  finetune.momentum: [0.5]\n", ["s.yaml:7: sweep.finetune[0]: must be a mapping, because the sweep sets"]),
    (f"{METHODS}    - agent\n    - {{name: agnet}}\n", ["s.yaml:8: sweep.method[1].name: no method is called 'agnet'; did you mean"]),
    (f"{METHODS}    - agent\n    - randm\n", ["s.yaml:8: sweep.method[1]: no method is called 'randm'; did you mean 'random'?"]),
    (f"{METHODS}    - random\n    - {{name: random, draw: 0}}\n", ["s.yaml:8: sweep.method[1]: expands to the same trials as"]),
    (f"{METHODS}    - agent\n    - {{name: random, match: agnet}}\n",
     ["s.yaml:8: sweep.method[1].match: no trial of this study uses the method 'agnet'; did you mean 'agent'?"]),
    (f"{METHODS}    - magnitude\n    - {{name: agent, match: magnitude}}\n",
     ["s.yaml:8: sweep.method[1].match: needs a method that ranks the filters (apoz, entropy, fpgm, ", "; agent does not"]),
    (f"{METHODS}    - agent\n    - {{name: random, match: [agent]}}\n", ["sweep.method[1].match: no trial", "['agent']"]),
    (f"{METHODS}    - agent\n    - {{name: magnitude, match: agnet, trimm: 1}}\n", ["[1].match: no trial", "[1].trimm: is not a key here"]),
]  # fmt: skip


@pytest.mark.parametrize(("text", "fragments"), [*((GOOD + line, f) for line, f in [*KEYS, *VALUES]), *WHOLE, *SWEEPS])
def test_what_is_said_of_a_bad_study(tmp_path: Path, text: str, fragments: list[str]) -> None:
    said = told(tmp_path, text)
    for fragment in fragments:
        assert fragment in said


@pytest.mark.parametrize("line", [line for line, _ in [*KEYS, *VALUES]])
def test_one_mistake_is_told_in_its_own_line_and_not_as_many(tmp_path: Path, line: str) -> None:
    found = problems(tmp_path, GOOD + line)
    assert {problem.where for problem in found} <= {"s.yaml:6", "s.yaml:7"}
    assert len(found) <= 2
    assert "input should be" not in "\n".join(problem.message.lower() for problem in found)


def test_independent_mistakes_are_told_at_once_and_by_line(tmp_path: Path) -> None:
    text = """nme: x
model: vgg61
dataset: digit
drop_bound: .nan
seed: true
seed: 4
finetune: {learning_rat: 1, momentum: 3}
baseline: !x 3
layers: [1]
sweep:
  ordr: [a]
  method: []
  scoring.batch_size: [0]
"""
    found = [(problem.where, problem.path) for problem in problems(tmp_path, text, ["bad", "reward.floor=1"])]
    assert sorted(found) == sorted([
        ("--set", ""), ("--set", "reward.floor"), ("s.yaml:1", "name"), ("s.yaml:1", "nme"), ("s.yaml:2", "model"),
        ("s.yaml:3", "dataset"), ("s.yaml:4", "drop_bound"), ("s.yaml:5", "seed"), ("s.yaml:6", "seed"),
        ("s.yaml:7", "finetune.learning_rat"), ("s.yaml:7", "finetune.momentum"), ("s.yaml:8", "baseline"),
        ("s.yaml:9", "layers[0]"), ("s.yaml:11", "sweep.ordr"), ("s.yaml:12", "sweep.method"),
        ("s.yaml:13", "sweep.scoring.batch_size[0]"),
    ])  # fmt: skip
    lines = [int(where.partition(":")[2] or 0) for where, _ in found]
    assert lines == sorted(lines)


def test_what_was_refused_is_not_complained_about_again(tmp_path: Path) -> None:
    found = problems(
        tmp_path, "name: x\nmodel: ~\ndataset: {name: ~}\ndrop_bound: ~\nfinetune: {at_end: {steps: ~}}\nlayers: [~]\n"
    )
    assert [problem.path for problem in found] == [
        "model",
        "dataset.name",
        "drop_bound",
        "finetune.at_end.steps",
        "layers[0]",
    ]
    assert all("has no value (null)" in problem.message for problem in found)


@pytest.mark.parametrize("key", [*TRIAL_KEYS, "postprocess.joint"])
def test_a_key_without_a_value_is_one_mistake(key: str, tmp_path: Path) -> None:
    outer, _, inner = key.partition(".")
    lines = [line for line in GOOD.splitlines(keepends=True) if not line.startswith(f"{outer}:")]
    spoilt = f"{outer}: {{{inner}:}}\n" if inner else f"{outer}:\n"
    (found,) = problems(tmp_path, "".join(lines) + spoilt)
    assert (found.path, found.message) == (key, "has no value (null); omit the key to get its default")


@pytest.mark.parametrize(
    ("method", "decision"),
    [
        ("{name: agent, trim: false}", "prefix"),
        ("{name: magnitude, trim: true}", "trim"),
        ("{name: agent, decision: bound}", "trim"),
        ("{name: agent, decision: reward}", "reward"),
        ("{name: agent, decision: ranked_reward}", "{name: reward, prefixes: true}"),
    ],
)
def test_settings_that_became_a_decision_stage_say_what_to_write(tmp_path: Path, method: str, decision: str) -> None:
    (problem,) = problems(tmp_path, GOOD.replace("magnitude", method))
    assert problem.path in ("method.trim", "method.decision")
    assert problem.message == f"is not a key here; write decision: {decision} beside method"
    load(tmp_path, GOOD.replace("magnitude", f"agent\ndecision: {decision}"))
    (problem,) = problems(tmp_path, GOOD.replace("magnitude", "{name: agent, decision: [1]}"))
    assert "a decision stage (lazy_greedy, prefix, reward, search, trim) is named beside method" in problem.message
