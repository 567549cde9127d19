"""What the page says about itself: a rehearsal is not the study, and whiskers cover what was repeated."""

from __future__ import annotations

import json
from typing import Any

import pytest

from analysis.figures import orders
from analysis.labels import seeds_line
from tests.analysis.make_tables import make_tables, trial_row
from tests.analysis.pages import frame_of


@pytest.mark.parametrize("manifest", [{"study": "vgg-rehearsal"}, {"study": "other", "rehearses": "vgg"}])
def test_a_rehearsal_is_headed_as_one(manifest: dict[str, Any]) -> None:
    page = frame_of(make_tables([trial_row("t")], **manifest))
    assert "<h1>Rehearsal of vgg</h1>" in page
    assert "<title>Rehearsal of vgg: raprune report</title>" in page
    assert "(<b>vgg16</b> on <b>digits</b>). No number here is a result of vgg." in page
    study = frame_of(make_tables([trial_row("t")], study="vgg"))
    assert "<h1>vgg</h1>" in study
    assert "ehearsal" not in study


def rows(*columns: str) -> list[dict[str, Any]]:
    made = []
    for seed in (0, 1):
        row = trial_row(f"s{seed}", order="low_to_high", pruning_ratio=0.4 + seed / 10)
        row |= {column: seed for column in columns if column != "split_seed"}
        row |= {"data_seed": seed if "data_seed" in columns else 0}
        row["dataset_settings"] = json.dumps({"split_seed": seed if "split_seed" in columns else 0})
        made.append(row)
    return made


def test_the_page_says_what_whiskers_are_over() -> None:
    said = seeds_line(make_tables(rows("seed")).trials)
    assert said.startswith(
        "Means and whiskers are over seeds of the method's draws; the baseline's training, the split"
    )
    assert said.endswith("so the whiskers leave them out.")
    assert said.replace("'", "&#x27;") in frame_of(make_tables(rows("seed")))
    everything = seeds_line(make_tables(rows("seed", "baseline_seed", "split_seed", "data_seed")).trials)
    assert "the same" not in everything
    assert "the split into training and validation images" in everything
    assert seeds_line(make_tables([trial_row("t")]).trials) == ""


def test_trials_of_other_splits_are_repetitions() -> None:
    made = rows("seed", "baseline_seed", "split_seed", "data_seed")
    made += [row | {"trial_id": f"{row['trial_id']}h", "order": "high_to_low"} for row in made]
    frame = orders.select(make_tables(made))
    assert set(frame["num_trials"]) == {2}
    assert set(frame["context"]) == {""}


def test_masks_of_the_order_and_diverged_finetunes_are_on_the_page() -> None:
    page = frame_of(make_tables([trial_row("t", num_order_candidates=39, num_diverged=2), trial_row("u")]))
    assert "<b>2,507</b>candidates, 39 of them to find the order of the layers, 468 of the others known" in page
    assert "before, 113k images scored</div>" in page
    assert "<td>1,273</td><td>56.7k</td>" in page
    older = [trial_row("t", num_order_candidates=None, images_scored=None)]
    assert "<b>1,234</b>candidates, 234 of them known before</div>" in frame_of(make_tables(older))
    assert "<b>2</b>fine-tunes diverged" in page
    assert "diverged" not in frame_of(make_tables([trial_row("u")]))
