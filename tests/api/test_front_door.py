"""``from raprune import prune``: the same objects as in ``raprune.api``, imported only when they are asked for."""

from __future__ import annotations

import subprocess
import sys

import pytest

import raprune
import raprune.api


def test_the_front_door_has_all_that_the_api_has_and_nothing_else() -> None:
    assert set(raprune.api.__all__) == set(raprune._PUBLIC) <= set(dir(raprune))
    assert all(getattr(raprune, name) is getattr(raprune.api, name) for name in raprune.api.__all__)
    with pytest.raises(AttributeError, match="module 'raprune' has no attribute 'prunes'"):
        raprune.prunes  # noqa: B018


def test_importing_raprune_loads_neither_torch_nor_ray() -> None:
    code = (
        "import sys, raprune; assert not {'torch', 'ray', 'pandas'} & set(sys.modules); "
        "from raprune import prune; assert 'torch' in sys.modules and prune.__module__.startswith('raprune.api')"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
