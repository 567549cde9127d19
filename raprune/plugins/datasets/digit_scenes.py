"""Segmentation without a download: scenes of real handwritten digits (``scenes.py``), one class per pixel."""

from __future__ import annotations

from raprune.plugins.datasets.base import Split, Splits
from raprune.plugins.datasets.image_files import refuse
from raprune.plugins.datasets.scenes import SceneSettings, as_splits, draw_scenes
from raprune.registry import DATASETS


@DATASETS.register("digit_scenes", SceneSettings)
def load(settings: SceneSettings) -> Splits:
    """Scenes of real handwritten digits on textures, one class per pixel (11 with the background); no download."""
    refuse(settings.problems())
    splits = {name: Split(scenes.images_BCHW, scenes.labels_BHW) for name, scenes in draw_scenes(settings).items()}
    return as_splits(settings, splits)
