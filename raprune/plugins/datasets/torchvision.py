"""torchvision's data sets of images with one class each, by the name of their class there."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

from raprune.errors import InputError, first_line
from raprune.plugins.datasets.base import Splits
from raprune.plugins.datasets.image_files import expand, fetching, refuse
from raprune.plugins.datasets.labelled import LabelledSettings, Part, splits_from
from raprune.registry import DATASETS, nearest
from raprune.study.library_names import ExportedBy

DATASET = ExportedBy("torchvision.datasets has no class", "torchvision.datasets")
SPLITS = {"train": ("train", "trainval", "train-standard"), "val": ("val", "valid"), "test": ("test",)}
"""Our split -> what torchvision's classes call it, the usual name first."""


class TorchvisionSettings(LabelledSettings):
    dataset: Annotated[str, DATASET]
    """Name of a class of ``torchvision.datasets``, such as ``FashionMNIST``, ``CIFAR100``, ``SVHN`` or
    ``OxfordIIITPet``."""
    root: str = "data"
    """Folder that holds, or will hold, the files in torchvision's layout; ``$VARIABLES`` are expanded."""
    download: bool = False
    """Download the data set if it is missing, where torchvision can."""
    arguments: dict[str, bool | int | float | str] | None = None
    """Further arguments of the class, such as ``split: letters`` of ``EMNIST``."""

    def problems(self) -> list[tuple[str, str]]:
        from torchvision import datasets

        problems = []
        if self.dataset not in _known():
            problems.append(("dataset", DATASET.said(self.dataset, _known())))
        elif unknown := set(self.arguments or {}) - _parameters(getattr(datasets, self.dataset)):
            takes = sorted(_parameters(getattr(datasets, self.dataset)) - {"root", "download", "transform"})
            what = f"{self.dataset} has no argument {min(unknown)!r}{nearest(min(unknown), takes)}"
            problems.append(("arguments", what))
        if not self.download and not expand(self.root).is_dir():
            problems.append(("root", f"no such folder, and download is off: {str(expand(self.root))!r}"))
        return problems

    def remedies(self) -> list[str]:
        path = f"--set dataset.root=/path/to/folder  # with {self.dataset} as torchvision stores it"
        return [path] if self.download else [f"--set dataset.download=true  # downloads {self.dataset}", path]


@DATASETS.register("torchvision", TorchvisionSettings)
def load(settings: TorchvisionSettings) -> Splits:
    """Any data set of torchvision with one class per image, downloaded if allowed."""
    from torchvision import datasets

    refuse(settings.problems())
    root, kind = expand(settings.root), getattr(datasets, settings.dataset)
    try:
        with fetching(settings.dataset, root, settings.download):
            opened = _opened(kind, root, settings)
    except ValueError as error:  # a value that the class does not take
        raise InputError(f"arguments: {settings.dataset} does not take them: {first_line(error)}") from None
    parts = {name: _part(f"the {name} split of {settings.dataset}", found) for name, found in opened.items()}
    return splits_from(parts, settings, [str(name) for name in getattr(opened["train"], "classes", ())])


def _part(name: str, opened: Any) -> Part:
    def item(index: int) -> Any:
        found = opened[index]
        if not isinstance(found, tuple) or len(found) != 2:
            raise InputError(f"item {index} of {name} is not a pair of image and class")
        return found

    return Part(name, len(opened), item)


def _opened(kind: Any, root: Path, settings: TorchvisionSettings) -> dict[str, Any]:
    """Split -> torchvision's data set; ``train`` alone where the class has no splits."""
    takes = _parameters(kind)
    arguments: dict[str, Any] = dict(settings.arguments or {})
    if "download" in takes:
        arguments["download"] = settings.download
    elif settings.download and not root.is_dir():
        raise InputError(f"torchvision cannot download {settings.dataset}: put its files into {str(root)!r}")
    if "train" in takes and "train" not in arguments and ("split" not in takes or "split" in arguments):
        return {name: _made(kind, root, {**arguments, "train": name == "train"}) for name in ("train", "test")}
    key = next((key for key in ("split", "image_set") if key in takes and key not in arguments), None)
    if key is None:
        return {"train": _made(kind, root, arguments)}
    found = {}
    for split, names in SPLITS.items():
        for name in names:
            try:
                found[split] = _made(kind, root, {**arguments, key: name})
                break
            except ValueError:  # the class has no split of that name
                continue
    if "train" not in found:
        raise InputError(f"dataset: {settings.dataset} has no split called {', '.join(SPLITS['train'])}")
    return found


def _made(kind: Any, root: Path, arguments: Mapping[str, Any]) -> Any:
    try:
        return kind(root=root, **arguments)
    except (ImportError, TypeError) as error:  # a package that this class needs, an argument that it needs
        raise InputError(f"dataset: {kind.__name__} cannot be opened: {error}") from None


def _known() -> list[str]:
    from torchvision import datasets

    kinds = {name: getattr(datasets, name) for name in datasets.__all__}
    return [name for name, kind in kinds.items() if inspect.isclass(kind) and "root" in _parameters(kind)]


def _parameters(kind: Any) -> set[str]:
    """The arguments of a class, those that it passes on to the classes it extends included."""
    found: set[str] = set()
    for one in kind.__mro__:
        parameters = inspect.signature(one.__init__).parameters.values() if "__init__" in vars(one) else ()
        found |= {p.name for p in parameters if p.kind is inspect.Parameter.POSITIONAL_OR_KEYWORD}
        if parameters and not any(p.kind is inspect.Parameter.VAR_KEYWORD for p in parameters):
            break
    return found - {"self"}
