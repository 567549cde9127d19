"""The study file's JSON Schema takes what the loader takes, and refuses what can be seen to be wrong without data.

That it takes every text in these tests that loads is checked where they are loaded (texts.py).
"""

from __future__ import annotations

import copy
import random
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from raprune.errors import StudyError
from raprune.registry import KINDS
from raprune.study import load_study
from raprune.study.json_schema_words import Schema
from raprune.study.reader import Document, dump, read_document
from raprune.study.schema import PLUGIN_KEYS, STUDY_KEYS, TRIAL_KEYS
from raprune.study.sweep import axis_problem
from tests.test_shape import ROOT

from .test_messages import KEYS, SWEEPS, VALUES, WHOLE
from .test_rehearsal import TEXT as REHEARSED
from .texts import GOOD, HEAD, load, parse, refused_by_schema, validator

SPOILT = [80, pytest.param(400, marks=pytest.mark.slow)]
"""Studies with one change."""
STUDIES = sorted([*(ROOT / "studies").glob("*.yaml"), *(ROOT / "benchmarks").glob("*.yaml")])
MISTAKES = [*(GOOD + line for line, _ in [*KEYS, *VALUES]), *(text for text, _ in [*WHOLE, *SWEEPS])]
SEEN_BY_THE_LOADER_ALONE = [
    "seed: 1.0",  # an integer to JSON Schema
    "train: no.parquet",
    "root: /no,",
    "data_seed: [0, 1, 2",  # 10,100 trials
    "- random\n    - {name: random, draw: 0}",  # the same trial in other words
    "{count: 2, max: 4}",  # keys that exclude each other
    "{min: 5, max: 4}",
]


@pytest.mark.parametrize("file", STUDIES, ids=lambda file: file.stem)
def test_it_takes_every_study_that_we_ship(file: Path) -> None:
    assert refused_by_schema(read_document(file).data) == []


@pytest.mark.parametrize("text", MISTAKES)
def test_it_refuses_what_the_loader_refuses(text: str) -> None:
    document = parse(text)
    assert document.problems == []
    alone = any(part in text for part in SEEN_BY_THE_LOADER_ALONE)
    assert bool(refused_by_schema(document.data)) != alone


def test_the_example_of_the_guide_loads(tmp_path: Path) -> None:
    (example,) = re.findall(r"```yaml\n(.*?)```", (ROOT / "docs" / "editors.md").read_text(), flags=re.DOTALL)
    assert len(load(tmp_path, example).trials) == 4


IN_A_REHEARSAL = [
    ("{width: 0.125}", "{widht: 0.125}"),
    ("{width: 0.125}", "{width: wide}"),
    ("{width: 0.125}", "vgg61"),
    ("{epochs: 2}", "{epoch: 2}"),
    ("{steps: 3}", "{steps: -3}"),
    ("seed: [0]", "seed: 0"),
    ("seed: [0]", "sed: [0]"),
    ("num_val: 200, num_test: 200", "num_vla: 200"),
]


@pytest.mark.parametrize(("right", "wrong"), IN_A_REHEARSAL)
def test_it_looks_into_the_rehearsal(right: str, wrong: str) -> None:
    assert refused_by_schema(parse(REHEARSED).data) == []
    before, _, block = REHEARSED.partition("rehearsal:")
    spoilt = f"{before}rehearsal:{block.replace(right, wrong)}"
    assert all("$.rehearsal" in told for told in refused_by_schema(parse(spoilt).data))
    assert refused_by_schema(parse(spoilt).data)


OWN = HEAD.replace("{name: vgg16, width: 0.03125}", "{import: 'my.nets:build', depth: 3, whole: [head]}")
WRONG_PLUGINS = [
    f"{HEAD}drop_bound: 2\nmethod: {{trimm: true}}\n",
    f"{HEAD}drop_bound: 2\nmethod: {{match: magnitude}}\n",
    f"{HEAD}drop_bound: 2\nmethod: {{name: random, draw: 1, hidden: 8}}\n",
    f"{HEAD}drop_bound: 2\nmethod: random\nsweep: {{method.hidden: [8]}}\n",
    f"{HEAD}drop_bound: 2\nmethod: {{import: 'my.methods:build'}}\n",
    f"{HEAD}drop_bound: 2\nsweep: {{method: [{{hidden: 8}}]}}\n",
    f"{HEAD}drop_bound: 2\nsweep: {{model.width: [wide]}}\n",
    f"{OWN}drop_bound: 2\nsweep: {{model.name: [vgg16]}}\n",
    f"{OWN.replace('whole: [head]', 'whole: head')}drop_bound: 2\n",
    f"{OWN.replace('my.nets:build', 'my.nets')}drop_bound: 2\n",
    f"{HEAD.replace('digits', '{name: image_folder, size: 32}')}drop_bound: 2\n",
]
RIGHT_PLUGINS = [
    f"{OWN}drop_bound: 2\n",
    f"{OWN}drop_bound: 2\nsweep: {{model.head: [{{a: 1}}]}}\nrehearsal: {{model: {{depth: 1}}}}\n",
    f"{HEAD}drop_bound: 2\nmethod: {{of: weights}}\nsweep: {{method.num_images: [1, 2], order.name: [random]}}\n",
    f"{HEAD}drop_bound: 2\npreset: paper\nmethod: {{hidden: 8}}\nsweep: {{method.min_updates: [1, 2]}}\n",
    f"{HEAD.replace('digits', 'image_folder')}drop_bound: 2\nsweep: {{dataset.root: [a, b]}}\n",
    f"{HEAD}preset: paper\nfinetune: {{before_reward: {{}}}}\nsweep: {{score_floor: [90, 95]}}\n",
]


@pytest.mark.parametrize("text", WRONG_PLUGINS)
def test_a_plugin_has_its_own_settings_alone(text: str) -> None:
    assert refused_by_schema(parse(text).data)


@pytest.mark.parametrize("text", RIGHT_PLUGINS)
def test_forms_that_are_right(text: str) -> None:
    assert refused_by_schema(parse(text).data) == []


def described(schema: Any, defs: Schema, path: str = "$") -> Iterator[tuple[str, str]]:
    """Every key that can be written and is no user's own, with its description."""
    if "$ref" in schema:
        schema = {**defs[schema["$ref"].rpartition("/")[2]], **schema}
    yield path, schema.get("description", "")
    inside = schema.get("properties", {})
    if inside.get("name") is not False:
        for key, value in inside.items():
            yield from described(value, defs, f"{path}.{key}")
    for form in schema.get("anyOf", []):
        yield from ((inner, meaning) for inner, meaning in described(form, defs, path) if inner != path)


def test_every_key_is_there_with_its_meaning_and_default() -> None:
    schema = validator().schema
    assert isinstance(schema, dict)
    assert set(schema["properties"]) == {*STUDY_KEYS, *TRIAL_KEYS, "rehearsal"}
    found = list(described(schema, schema["$defs"]))
    assert {"$.finetune.after_layer.steps", "$.method.hidden", "$.rehearsal.sweep.model"} <= dict(found).keys()
    assert {path for path, meaning in found if not meaning} <= {"$"}
    for kind in PLUGIN_KEYS:
        forms = [form for form in schema["$defs"][kind]["anyOf"] if "name" in form.get("required", ())]
        named = {form["properties"]["name"]["const"]: form["properties"] for form in forms}
        assert sorted(named) == KINDS[kind].names()
        for plugin in KINDS[kind]:
            for key, field in plugin.settings.model_fields.items():
                assert named[plugin.name][key].get("default") == (None if field.is_required() else field.get_default())
    assert schema["properties"]["method"]["default"] == "taylor"


def test_it_is_a_schema() -> None:
    of_schemas = Draft202012Validator(Draft202012Validator.META_SCHEMA)
    assert [error.message for error in of_schemas.iter_errors(validator().schema)] == []


def test_its_axes_are_those_of_the_loader() -> None:
    schema = validator().schema
    assert isinstance(schema, dict)
    axes = schema["$defs"]["sweep"]["properties"]
    assert {"drop_bound", "finetune.after_layer.steps", "method.hidden", "model.import", "layers"} <= set(axes)
    assert [axis for axis in axes if axis_problem(axis)] == []


MAYBE_RIGHT: list[tuple[str, Any]] = [
    ("seed", 3), ("learning_rate", 0.5), ("epochs", 2), ("steps", 2), ("batch_size", 8), ("order", "random"),
    ("layers", ["a"]), ("residual", "coupled"), ("finetune.momentum", [0.5]), ("decision.prefixes", [True]),
    ("hidden", 8),
]  # fmt: skip
"""Keys that are right in some places."""


def spoil(data: Any, draw: random.Random) -> None:
    """Change one thing somewhere in a study."""
    places = [data]
    for place in places:
        inside = place.values() if isinstance(place, dict) else place
        places += [value for value in inside if isinstance(value, dict | list)]
    if draw.random() < 0.5:
        key, value = draw.choice(MAYBE_RIGHT)
        draw.choice([data, *(place for place in places if isinstance(place, dict))])[key] = value
        return
    place = draw.choice(places)
    value = draw.choice([1, 0.5, -1, True, "agent", "all", [], {}, {"steps": 1}, ["magnitude"], {"name": "random"}])
    if isinstance(place, list):
        place.append(copy.deepcopy(value))
    elif place:
        place[draw.choice(list(place))] = copy.deepcopy(value)


@pytest.mark.parametrize("number", SPOILT)
def test_spoilt_studies_that_load_are_never_refused(tmp_path: Path, number: int) -> None:
    sources = [data for file in STUDIES if "rehearsal" not in (data := read_document(file).data)]
    draw, file, loaded = random.Random(1), tmp_path / "s.yaml", 0
    for _ in range(number):
        data = copy.deepcopy(draw.choice(sources))
        spoil(data, draw)
        file.write_text(dump(Document("s", data)))
        try:
            load_study(file, layer_names=lambda _: ["features.0"])
        except StudyError:
            continue
        loaded += 1
        assert refused_by_schema(data) == [], data
    assert loaded > number // 36
