"""The page's scripts that run a network and read a pen, in Node: the same numbers as torch gives."""

from __future__ import annotations

import json
import math
import shutil
import subprocess
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

WEB = Path(__file__).resolve().parents[2] / "analysis" / "web"
TOLERANCE = 1e-3


def in_node(code: str, given: Any) -> Any:
    """What ``code`` returns for ``given``, with the scripts of the page loaded."""
    node = shutil.which("node")
    if node is None:
        pytest.skip("needs Node.js: no program called node is in PATH")
    scripts = "\n".join((WEB / name).read_text(encoding="utf-8") for name in ("network.js", "pen.js"))
    read = 'JSON.parse(require("fs").readFileSync(0, "utf8"))'
    text = f"{scripts}\nprocess.stdout.write(JSON.stringify((({{ {', '.join(given)} }}) => {{ {code} }})({read})));"
    run = subprocess.run([node, "-e", text], input=json.dumps(given), capture_output=True, text=True, check=False)
    assert not run.stderr
    return json.loads(run.stdout)


RUN = """
const prepared = Network.prepare(copy.steps);
return images.map((pixels) => {
  const { logits, filters } = Network.run(prepared, Network.inputOf(pixels, copy));
  return { logits: [...logits], filters: filters.map(({ layer, means }) => [layer, [...means]]) };
});
"""


def test_a_network_says_the_same_as_in_torch() -> None:
    """On real digits, after pruning: logits, and the mean response of every filter."""
    torch = pytest.importorskip("torch")
    from raprune.network.chain import chain_of, network_of, steps_of
    from raprune.network.graph import trace
    from raprune.network.surgery import shrink
    from raprune.plugins.datasets.base import normalise
    from raprune.registry import DATASETS
    from tests.tiny import lively_vgg

    splits = DATASETS.build("digits", {})
    network = lively_vgg()
    network.features[0] = torch.nn.Conv2d(1, network.features[0].out_channels, 3, padding=1)
    traced = trace(network.eval(), splits.input_shape)
    kept = torch.arange(traced.graph.group("features.10").num_filters) % 3 > 0
    chain = chain_of(shrink(traced, {"features.10": kept}).eval())
    assert chain is not None
    steps, images = steps_of(chain, 15), splits.test.images_BCHW[:6]
    copy = {"steps": steps, "input_shape": splits.input_shape, "mean": splits.mean, "std": splits.std}
    found = in_node(RUN, {"copy": copy, "images": images.flatten(1).tolist()})
    rounded, inputs = network_of(steps), normalise(images, splits)
    with torch.no_grad():
        logits = rounded(inputs)
        first = rounded[:2](inputs).mean((2, 3))
    assert logits.std() > 0.1
    torch.testing.assert_close(torch.tensor([one["logits"] for one in found]), logits, rtol=0, atol=TOLERANCE)
    means = torch.tensor([one["filters"][0][1] for one in found])
    torch.testing.assert_close(means, first, rtol=0, atol=TOLERANCE)
    names = [step["layer"] for step in steps if step["op"] == "conv"]
    assert [name for name, _ in found[0]["filters"]] == names


def test_every_kind_of_step_says_the_same_as_in_torch() -> None:
    """Strides, unequal windows, padding, all poolings, three channels."""
    torch = pytest.importorskip("torch")
    from raprune.network.chain import chain_of, network_of, steps_of
    from raprune.network.graph import trace
    from tests.network.test_chain import SHAPE, Functional, settled

    chain = chain_of(trace(settled(Functional()), SHAPE).network)
    assert chain is not None
    steps = steps_of(chain, 31)
    images = torch.randint(0, 256, (3, *SHAPE), generator=torch.Generator().manual_seed(0))
    copy = {"steps": steps, "input_shape": SHAPE, "mean": [0.4, 0.5, 0.6], "std": [0.2, 0.25, 0.3]}
    found = in_node(RUN, {"copy": copy, "images": images.flatten(1).tolist()})
    mean, std = (torch.tensor(copy[name]).view(1, 3, 1, 1) for name in ("mean", "std"))
    with torch.no_grad():
        logits = network_of(steps)((images / 255 - mean) / std)
    torch.testing.assert_close(torch.tensor([one["logits"] for one in found]), logits, rtol=0, atol=TOLERANCE)


def test_cells_become_an_image_as_in_the_data_set() -> None:
    """Bilinear, as the 8x8 digits are enlarged to 32x32."""
    torch = pytest.importorskip("torch")
    cells = torch.arange(64, dtype=torch.float32).view(1, 1, 8, 8).remainder(17) / 16
    large = torch.nn.functional.interpolate(cells, size=(32, 32), mode="bilinear", align_corners=False)
    given = {"cells": cells.flatten().tolist()}
    found = in_node("return [...Pen.enlarged(Float32Array.from(cells), 8, 32, 32)];", given)
    assert max(abs(a - b) for a, b in zip(found, (large * 255).flatten().tolist(), strict=True)) <= 0.51


DRAWN = {"bitmap": 32, "width": 24, "cells": 8, "pen": 4.0}


def inked(strokes: list[list[tuple[float, float]]]) -> list[list[int]]:
    """Rows of the bitmap."""
    given = {"strokes": strokes, "drawn": DRAWN}
    flat = in_node("return [...Pen.bitmap(Pen.fitted(strokes, drawn), drawn)];", given)
    return [flat[32 * row : 32 * row + 32] for row in range(32)]


@pytest.mark.parametrize("size", [0.1, 1.0, 300.0])
def test_a_drawing_fills_the_bitmap_whatever_its_size_and_place(size: float) -> None:
    ring = [(7 + size * math.cos(math.pi * t / 24), 3 + size * math.sin(math.pi * t / 24)) for t in range(49)]
    rows = inked([ring])
    columns = list(zip(*rows, strict=True))
    assert all(map(sum, rows))
    assert [bool(sum(column)) for column in columns] == [False] * 4 + [True] * 24 + [False] * 4
    assert sum(rows[16]) == 8  # twice the pen, through the middle
    assert sum(a != b for row in rows for a, b in zip(row, row[::-1], strict=True)) <= 4  # rounding at its rim


def test_an_upright_line_stays_narrow_and_a_dot_is_a_dot() -> None:
    rows = inked([[(0.5, 0.1), (0.5, 0.9)]])
    assert [sum(row) for row in rows[2:30]] == [4] * 28
    dot = inked([[(0.3, 0.3)]])
    assert sum(map(sum, dot)) == pytest.approx(math.pi * 2**2, abs=2)
    flat = inked([[(0.1, 0.5), (0.9, 0.5)]])
    assert [sum(row) for row in flat if any(row)][1] == 24


def test_the_page_draws_as_the_data_set_says() -> None:
    pytest.importorskip("torch")
    from raprune.plugins.datasets.digits import DRAWN as OURS

    assert set(asdict(OURS)) == set(DRAWN)
    image = in_node("return [...Pen.imageOf(strokes, drawn, [1, 32, 32])];",
                    {"strokes": [[(0, 0), (0, 1)]], "drawn": asdict(OURS)})  # fmt: skip
    assert len(image) == 1024
    assert max(image) == 191  # five pixels of ink in the middle: three of four in each of two cells
    assert image[16 * 32] == image[16 * 32 + 31] == 0
