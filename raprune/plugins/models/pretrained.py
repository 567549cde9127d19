"""Networks and weights of others: loads pretrained networks, and renames published layers to ours."""

from __future__ import annotations

from collections.abc import Mapping
from http.client import HTTPException
from pathlib import Path

import torch
from pydantic import field_validator
from torch import Tensor, nn

from raprune.errors import InputError, first_line
from raprune.network.checkpoints import is_counter, read_checkpoint, unwrapped
from raprune.network.weights import load_whole
from raprune.registry import Settings
from raprune.study.wording import counted
from raprune.system.paths import expanded


def source_problem(source: str) -> str | None:
    """Why ``source`` is neither ``none`` nor ``download`` nor an existing file (``$VARIABLES``, ``~`` are expanded)."""
    file = expanded(source)
    if source in ("none", "download") or file.is_file():
        return None
    return f"must be none, download or the path of a state dict; no such file: {str(file)!r}"


class PublishedSettings(Settings):
    """Settings of a network that another library builds and has weights for."""

    pretrained: bool | str = "none"
    """Initial weights: ``none`` (or false), ``download`` (or true; the library's own), or the path of a checkpoint of
    the network. A last layer that was trained for another number of classes starts at random."""

    @field_validator("pretrained")
    @classmethod
    def _in_words(cls, given: bool | str) -> str:
        return {True: "download", False: "none"}[given] if isinstance(given, bool) else given

    @property
    def source(self) -> str:
        """``none``, ``download`` or a path."""
        return str(self.pretrained)

    def problems(self) -> list[tuple[str, str]]:
        problem = source_problem(self.source)
        return [] if problem is None else [("pretrained", problem)]


def check_takes(network: nn.Module, name: str, input_shape: tuple[int, int, int]) -> None:
    """Raise ValueError, naming the image size, if a network in training mode cannot take such images."""
    try:
        with torch.no_grad():
            network.eval()(torch.zeros(1, *input_shape))
    except Exception as error:  # whatever a network raises for images that it cannot take
        channels, height, width = input_shape
        images = f"images of {height}x{width} with {counted(channels, 'channel')}"
        raise ValueError(f"{name} does not take {images}: {first_line(error)}") from None
    network.train()


def load_pretrained(network: nn.Module, source: str, published: str, layers: Mapping[str, str]) -> None:
    """Load ``layers`` of a torchvision network into ``network``, in place; the other layers stay as they are.

    ``source`` is ``none``, ``download`` or a path, ``published`` is torchvision's name of the network (``vgg16_bn``),
    and ``layers`` maps torchvision's name of a layer to the name of its counterpart here. Raises :class:`InputError` if
    the weights cannot be obtained or do not fit.
    """
    if source == "none":
        return
    if (problem := source_problem(source)) is not None:
        raise InputError(f"pretrained: {problem}")
    expected = network.state_dict()
    ours = set(layers.values())
    theirs = {
        f"{layer}.{name.rpartition('.')[2]}": tensor
        for layer, our in layers.items()
        for name, tensor in expected.items()
        if _layer(name) == our
    }
    given = _download(published) if source == "download" else _read(expanded(source), theirs)
    loaded = {name: t for name, t in adapt(given, expected, layers).items() if _layer(name) in ours}
    others = {name: t for name, t in expected.items() if _layer(name) not in ours}
    load_whole(network, {**others, **loaded}, f"the pretrained {published} {source!r}")


def load_all_but_head(network: nn.Module, source: str, published: str, head: tuple[str, ...]) -> None:
    """Load a network's own pretrained weights, in place, but those of ``head`` only where they have its shapes.

    ``source`` and ``published`` are as for :func:`load_pretrained`; ``head`` are the names of the layers whose size
    follows the number of classes. Raises :class:`InputError` if the weights cannot be obtained or do not fit.
    """
    expected = network.state_dict()
    found = _download(published) if source == "download" else _read(expanded(source), expected)
    other = {n for n in found.keys() & expected.keys() if found[n].shape != expected[n].shape and _layer(n) in head}
    load_whole(network, {**found, **{name: expected[name] for name in other}}, f"the pretrained {published} {source!r}")


def _read(file: Path, published: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors of that dictionary in a file that has most of the ``published`` names, without wrapper prefixes."""
    candidates = [unwrapped(dictionary.tensors, published) for dictionary in read_checkpoint(file)]
    tensors: dict[str, Tensor] = max(candidates, key=lambda names: len(published.keys() & names.keys()))
    return {name: tensor for name, tensor in tensors.items() if not is_counter(name, tensor)}


def adapt(
    tensors: Mapping[str, Tensor], expected: Mapping[str, Tensor], layers: Mapping[str, str]
) -> dict[str, Tensor]:
    """A published state dict with the names and shapes of ``expected``, as far as they are known.

    A prefix that all names share (``model.``) is dropped, layers are renamed by ``layers`` (theirs -> ours), and the
    matrix of a linear layer becomes the convolution that computes the same. Unknown tensors stay as they are.
    """
    known = {*layers, *layers.values(), *map(_layer, expected)}
    while _shares_prefix(tensors) and not any(_layer(name) in known for name in tensors):
        tensors = {name.partition(".")[2]: tensor for name, tensor in tensors.items()}
    adapted = {}
    for name, tensor in tensors.items():
        layer, _, last = name.rpartition(".")
        new_name = f"{layers[layer]}.{last}" if layer in layers else name
        adapted[new_name] = _as_convolution(tensor, expected.get(new_name))
    return adapted


def _layer(name: str) -> str:
    """``features.0`` of ``features.0.weight``."""
    return name.rpartition(".")[0]


def _shares_prefix(tensors: Mapping[str, Tensor]) -> bool:
    """Whether all names are in one module."""
    return len({name.partition(".")[0] for name in tensors}) == 1 and all("." in name for name in tensors)


def _as_convolution(tensor: Tensor, expected: Tensor | None) -> Tensor:
    """(N, C*K*K) as (N, C, K, K) if a convolution of that size is expected."""
    if expected is None or (tensor.dim(), expected.dim()) != (2, 4) or tensor.numel() != expected.numel():
        return tensor
    return tensor.view(expected.shape)


def _download(published: str) -> dict[str, Tensor]:
    """torchvision's default weights, from its cache if it has them."""
    from torchvision.models import get_model_weights

    try:
        tensors: dict[str, Tensor] = get_model_weights(published).DEFAULT.get_state_dict(
            progress=False, check_hash=True, weights_only=True
        )
    except (OSError, HTTPException, RuntimeError) as error:  # no network, half a file, a file of another hash
        raise InputError(
            f"pretrained: {published} cannot be downloaded: {error}; give a path: --set model.pretrained=PATH"
        ) from None
    return tensors
