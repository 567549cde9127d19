"""Decoded data in Ray's object store: evaluators map them, nobody copies them."""

from __future__ import annotations

from pathlib import Path

import torch

from raprune.engine.inputs import Inputs
from raprune.evaluators.sharing import data_bytes, share_data, use_shared
from raprune.study import load_study
from raprune.study.parts import DataSpec
from tests.data.drawn import pixels, png
from tests.data.files import class_folders, write_parquet
from tests.tiny import STUDY, write_study

FOLDER = "{name: image_folder, root: ROOT, size: 32, num_val: 10}"


def test_data_come_back_whole_and_uncopied(tmp_path: Path, ray_cluster: None) -> None:
    import ray

    trials = load_study(write_study(tmp_path)).trials
    driver, evaluator = Inputs(), Inputs()
    before = driver.data(trials[0].data)
    whole = [s for s in (before.train, before.val, before.test, before.guard) if s is not None]
    assert data_bytes(trials, driver) == sum(s.images_BCHW.nbytes + s.labels_B.nbytes for s in whole)
    refs = share_data(trials, driver)
    assert len(refs) == 1
    use_shared(refs, evaluator)
    after = evaluator.data(trials[0].data)
    assert after is not before
    there = [s for s in (after.train, after.val, after.test, after.guard) if s is not None]
    for one, other in zip(there, whole, strict=True):
        assert torch.equal(one.images_BCHW, other.images_BCHW)
        assert torch.equal(one.labels_B, other.labels_B)
    assert (after.num_classes, after.mean, after.class_names) == (10, before.mean, before.class_names)
    assert after.augment is not None
    arrays, _ = ray.get(next(iter(refs.values()))[0])
    again = arrays["train"][0]
    assert not again.flags.writeable  # the store's own memory
    assert again.ctypes.data == after.train.images_BCHW.data_ptr()


def test_rows_that_stay_encoded_need_room(tmp_path: Path) -> None:
    """In memory, but not as pixels: Ray's object store gets room for them, once for each source."""
    images = [png(image) for image in pixels(48, 0)]
    write_parquet(tmp_path / "train.parquet", images, [i % 10 for i in range(48)])
    rows = f"{{name: image_parquet, train: {tmp_path}/train.parquet, num_val: 10, size: 32, random_resized_crop: true}}"
    text = STUDY[: STUDY.index("sweep:")].replace("{name: digits, num_val: 200, num_test: 200}", rows)
    (tmp_path / "tiny.yaml").write_text(text + "drop_bound: 2.0\nmethod: magnitude\n")
    trials = load_study(tmp_path / "tiny.yaml").trials
    with Inputs() as driver:
        driver.read_as(DataSpec(workers=0, cache=str(tmp_path / "cache")))
        found = data_bytes(trials, driver) - 8 * 48 - 10 * 3 * 32 * 32
    assert sum(map(len, images)) <= found < sum(map(len, images)) + 2000  # and where each row ends


def test_images_that_do_not_fit_stay_encoded(tmp_path: Path, ray_cluster: None) -> None:
    """Evaluators get the list of files, and map the same pixels as the driver; a file is read where it is needed."""
    import ray

    class_folders(tmp_path / "images", 24)
    text = STUDY[: STUDY.index("sweep:")].replace("{name: digits, num_val: 200, num_test: 200}", FOLDER)
    (tmp_path / "tiny.yaml").write_text(
        text.replace("ROOT", str(tmp_path / "images")) + "drop_bound: 2.0\nmethod: magnitude\n"
    )
    trials = load_study(tmp_path / "tiny.yaml").trials
    driver, evaluator = Inputs(), Inputs()
    for inputs in (driver, evaluator):
        inputs.read_as(DataSpec(memory_gib=0, workers=0, cache=str(tmp_path / "cache")))
    before = driver.data(trials[0].data)
    assert data_bytes(trials, driver) == 8 * 48  # labels
    refs = share_data(trials, driver)
    use_shared(refs, evaluator)
    after = evaluator.data(trials[0].data)
    index = torch.tensor([3, 1])
    assert after.train.stream is not None
    assert torch.equal(after.train.at(index), before.train.at(index))
    assert torch.equal(after.val.images_BCHW, before.val.images_BCHW)
    arrays, _ = ray.get(next(iter(refs.values()))[0])
    assert [len(images) for images, _, _ in arrays.values()] == [0, 0]
