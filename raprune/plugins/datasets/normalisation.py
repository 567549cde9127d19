"""Settings for how a data set of image files normalises its pixels before a network reads them."""

from __future__ import annotations

from typing import Annotated, Any, Literal, get_args

from pydantic import Field, SerializerFunctionWrapHandler, field_validator, model_serializer, model_validator

from raprune.plugins.datasets.base import IMAGENET_MEAN, IMAGENET_STD
from raprune.plugins.datasets.fits import Fit, RandomCrop
from raprune.registry import Settings

Name = Literal["imagenet", "cifar10", "half", "unit", "none"]
Statistics = tuple[tuple[float, ...], tuple[float, ...]]
STATISTICS: dict[str, Statistics] = {
    "imagenet": (IMAGENET_MEAN, IMAGENET_STD),
    "cifar10": ((0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616)),
    "half": ((0.5,) * 3, (0.5,) * 3),
    "unit": ((0.0,) * 3, (1.0,) * 3),
    "none": ((0.0,) * 3, (1 / 255,) * 3),
}
"""Name -> mean and standard deviation of each channel, for pixels scaled to [0, 1]."""
assert set(STATISTICS) == set(get_args(Name))

Share = Annotated[float, Field(gt=0, le=1)]
Channels = Annotated[list[float], Field(min_length=3, max_length=3)]


class NormalisedSettings(Settings):
    """Settings of a data set of colour images. The dump omits ``mean`` and ``std`` if unset, so that old ids stay."""

    normalisation: Name = "imagenet"
    """How pixels are normalised: by the mean and standard deviation of ``imagenet`` or ``cifar10``, to -1 to 1
    (``half``), to 0 to 1 (``unit``), or not at all, 0 to 255 (``none``)."""
    mean: Channels | None = None
    """Means of red, green and blue for pixels scaled to [0, 1]; with ``std``, they replace ``normalisation``."""
    std: Channels | None = None
    """Standard deviations of red, green and blue for pixels scaled to [0, 1]; requires ``mean``."""

    @field_validator("mean", "std")
    @classmethod
    def _of_unit_pixels(cls, values: list[float] | None) -> list[float] | None:
        if values is not None and max(values) > 1:
            hint = f"; did you mean [{', '.join(f'{value / 255:.4g}' for value in values)}]?"
            raise ValueError(f"must be for pixels scaled to [0, 1], not 0 to 255{hint}")
        return values

    @field_validator("std")
    @classmethod
    def _positive(cls, values: list[float] | None) -> list[float] | None:
        if values is not None and min(values) <= 0:
            raise ValueError("must be above 0")
        return values

    @model_validator(mode="after")
    def _both(self) -> NormalisedSettings:
        if (self.mean is None) != (self.std is None):
            absent, given = ("mean", "std") if self.mean is None else ("std", "mean")
            raise ValueError(f"{absent} is required where {given} is given")
        return self

    @model_serializer(mode="wrap")
    def _without_what_is_not_set(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        dump: dict[str, Any] = handler(self)
        return {key: value for key, value in dump.items() if key not in ("mean", "std") or value is not None}

    @property
    def statistics(self) -> Statistics:
        """Mean and standard deviation of each channel."""
        if self.mean is None or self.std is None:
            return STATISTICS[self.normalisation]
        return tuple(self.mean), tuple(self.std)


class CroppedSettings(NormalisedSettings):
    """Settings of a data set whose training images may be random parts. The dump omits them if unset, for old ids."""

    random_resized_crop: bool = False
    """Train on a random part of each image, resized to the images' size, as is usual for ImageNet, instead of shifting
    it. Training images are then decoded again for each batch."""
    crop_scale: list[Share] = Field(default=[0.08, 1.0], min_length=2, max_length=2)
    """Share of an image's area that a random part has, from the least to the most."""

    @field_validator("crop_scale")
    @classmethod
    def _from_the_least(cls, scale: list[float]) -> list[float]:
        if scale[0] > scale[1]:
            raise ValueError("must begin with the least")
        return scale

    @model_serializer(mode="wrap")
    def _without_what_came_later(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        dump: dict[str, Any] = handler(self)
        unset = self._unset()
        return {key: value for key, value in dump.items() if key not in unset or value != unset[key]}

    def _unset(self) -> dict[str, Any]:
        """Settings that were added later, as earlier studies have them."""
        return {"mean": None, "std": None, "random_resized_crop": False, "crop_scale": [0.08, 1.0]}

    def crop(self, fit: Fit) -> RandomCrop | None:
        """What of an image is trained on, if not ``fit``."""
        scale = self.crop_scale[0], self.crop_scale[1]
        return RandomCrop(fit.width, fit.height, scale) if self.random_resized_crop else None
