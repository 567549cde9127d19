"""How a candidate is computed on one device: by the exact engine, or the naive one it agrees with."""

from raprune.engine.base import Engine, device_name
from raprune.engine.engines.naive import NaiveEngine
from raprune.engine.exact import ExactEngine
from raprune.engine.opening import engine_kind, open_engine

__all__ = ["Engine", "ExactEngine", "NaiveEngine", "device_name", "engine_kind", "open_engine"]
