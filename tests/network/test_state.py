"""A state that travels: equal content, memory of its own."""

from __future__ import annotations

import pickle

import numpy as np

from raprune.network.masks import KeepMask
from raprune.network.state import State


def test_a_state_out_of_shared_memory_is_copied() -> None:
    """As Ray's object store hands it out: arrays over memory that cannot be written and belongs to others."""
    state = State("key", {"a": KeepMask(b"\1\0\1")}, {"w": np.arange(3, dtype=np.float32)})
    buffers: list[pickle.PickleBuffer] = []
    pickled = pickle.dumps(state, protocol=5, buffer_callback=buffers.append)
    assert len(buffers) == 1
    read = pickle.loads(pickled, buffers=[bytes(buffer) for buffer in buffers])
    assert read.version == state.version
    assert read.arrays["w"].flags.owndata
    assert read.arrays["w"].flags.writeable
