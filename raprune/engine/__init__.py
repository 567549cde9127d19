"""Scoring candidates and fine-tuning states on one device: the exact engine, and the naive one that it agrees with."""

from raprune.engine.base import Engine, device_name
from raprune.engine.engines.naive import NaiveEngine
from raprune.engine.exact import ExactEngine
from raprune.engine.opening import engine_kind, open_engine

__all__ = ["Engine", "ExactEngine", "NaiveEngine", "device_name", "engine_kind", "open_engine"]
