"""Segmentation without a download: scenes of real handwritten digits (``scenes.py``), one class per pixel."""

from __future__ import annotations

from raprune.plugins.datasets.base import Split, Splits, shift_and_flip
from raprune.plugins.datasets.image_files import refuse
from raprune.plugins.datasets.scenes import CLASS_NAMES, MEAN, STD, SceneSettings, draw_scenes
from raprune.registry import DATASETS


@DATASETS.register("digit_scenes", SceneSettings)
def load(settings: SceneSettings) -> Splits:
    """Scenes of real handwritten digits on textures, one class per pixel (11 with the background); no download."""
    refuse(settings.problems())
    splits = {name: Split(scenes.images_BCHW, scenes.labels_BHW) for name, scenes in draw_scenes(settings).items()}
    return Splits(
        splits["train"],
        splits["val"],
        splits["test"],
        num_classes=len(CLASS_NAMES),
        mean=MEAN,
        std=STD,
        augment=shift_and_flip(settings.shift, flip=False) if settings.shift else None,
        class_names=CLASS_NAMES,
    )
