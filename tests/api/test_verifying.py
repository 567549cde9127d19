"""The result of ``prune`` is verified by the program that has its network and data."""

from __future__ import annotations

from pathlib import Path

import pyarrow.parquet as pq
import pytest
import torch

from raprune.api import prune
from raprune.engine.float32 import digits, put_back
from raprune.errors import InputError
from tests.api.networks import FAST, User


def test_a_result_verifies_itself_and_tells_what_is_not_as_recorded(user: User, tmp_path: Path) -> None:
    fast = {**FAST, "finetune": {"after_layer": {"steps": 0}, "at_end": {"steps": 0}}, "candidates_per_layer": 3}
    settings = {"candidates_per_layer": fast.pop("candidates_per_layer")}
    found = prune(user.model, user.train, user.val, 4.0, test=user.test, out=tmp_path, settings=settings, **fast)
    before = digits(), torch.get_num_threads()
    torch.set_float32_matmul_precision("high")
    torch.set_num_threads(2)
    own = digits(), 2
    checked = found.verify(share=1.0)
    try:
        assert (digits(), torch.get_num_threads()) == own
    finally:
        put_back(before[0])
        torch.set_num_threads(before[1])
    assert checked.confirmed
    assert str(checked).splitlines()[-1].startswith("confirmed")
    file = next(found.trial_dir.glob("layers-0.parquet"))
    table = pq.read_table(file)
    place = table.column_names.index("finetuned_val_score")
    forged = table.set_column(place, table.schema.field(place), [[table["finetuned_val_score"][0].as_py() + 5.0]])
    pq.write_table(forged, file)
    refuted = found.verify(share=0.0)
    assert not refuted.confirmed
    assert "finetuned_val_score" in repr(refuted)
    with pytest.raises(InputError, match="share: must be from 0 to 1; got 2"):
        found.verify(share=2)
