"""Detection without a download: scenes of real handwritten digits (``scenes.py``), a box around each."""

from __future__ import annotations

from pydantic import Field

from raprune.plugins.datasets.base import Split, Splits
from raprune.plugins.datasets.boxes import padded_boxes
from raprune.plugins.datasets.image_files import refuse
from raprune.plugins.datasets.scenes import SceneSettings, as_splits, draw_scenes
from raprune.registry import DATASETS


class DigitBoxesSettings(SceneSettings):
    fewest: int = Field(default=1, ge=1)
    """Fewest digits in a scene; ``digits`` is the most."""

    def problems(self) -> list[tuple[str, str]]:
        if self.fewest > self.digits:
            return [("fewest", f"must be at most digits, {self.digits}; got {self.fewest}")]
        return super().problems()


@DATASETS.register("digit_boxes", DigitBoxesSettings)
def load(settings: DigitBoxesSettings) -> Splits:
    """Scenes of real handwritten digits on textures, with a box around each of them; no download."""
    refuse(settings.problems())
    splits = {
        name: Split(scenes.images_BCHW, padded_boxes(scenes.boxes))
        for name, scenes in draw_scenes(settings, settings.fewest).items()
    }
    return as_splits(settings, splits)
