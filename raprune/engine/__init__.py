"""How a candidate is computed on one device: by the exact engine, or the naive one it agrees with."""

from raprune.engine.base import Engine, device_name
from raprune.engine.exact import ExactEngine
from raprune.engine.naive import NaiveEngine
from raprune.engine.opening import open_engine

__all__ = ["Engine", "ExactEngine", "NaiveEngine", "device_name", "open_engine"]
