"""Scoring candidates and fine-tuning states on one device: the exact engine, and the naive one that it agrees with."""

from raprune.engine.base import Engine, device_name
from raprune.engine.exact import ExactEngine
from raprune.engine.naive import NaiveEngine
from raprune.engine.opening import open_engine

__all__ = ["Engine", "ExactEngine", "NaiveEngine", "device_name", "open_engine"]
