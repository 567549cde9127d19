"""What a criterion sees of a layer, computed on the network of one state.

Values below the nodes that read the layer are computed by the engine's program, all above node by node. Nothing is
kept, and the engine's own networks stay as they are.

Legend: N filters, M_l weights per filter, I images, B images per batch, K outputs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import cached_property
from typing import Any

import torch
from torch import Tensor, fx
from torch.func import functional_call
from torch.nn import functional as F

from raprune.engine.base import Engine
from raprune.engine.contributions import sampled
from raprune.engine.places import Gated, Places, by_filter, scales_of, values_of
from raprune.errors import InputError
from raprune.network.state import State
from raprune.plugins.methods.probe import Contributions, Probe
from raprune.plugins.scores.base import CLASS_LABELS
from raprune.study.seeds import seed_for

PURPOSE = "criterion"
"""Seeds the draw of training images."""


class NetworkProbe(Probe):
    """A layer of the network of a state; N are the filters that are left of it."""

    def __init__(self, engine: Engine, state: State, layer: str) -> None:
        self._engine = engine
        self._group = engine.graph.group(layer)
        self._tensors = state.tensors(engine.graph, engine.weights)
        self._kept = engine.graph.kept(state.keep_masks())
        self._state = state
        cut = state.keep_masks().get(layer)
        left_N = torch.ones(self._group.num_filters, dtype=torch.bool) if cut is None else cut
        self._left = left_N
        super().__init__(layer, self._group.weights_NM(self._tensors, left_N))

    @cached_property
    def _network(self) -> fx.GraphModule:
        with torch.inference_mode(False):
            network = self._engine.build(self._state)
        assert isinstance(network, fx.GraphModule)
        return network

    @cached_property
    def _places(self) -> Places:
        places = Places(self._network, self._engine.graph, self._group, self._kept)
        if not places.read:
            raise InputError(f"no layer reads the filters of {self.layer} alone; leave it out of the study's layers")
        return places

    def norm_scales(self) -> Tensor:
        """As in the base class, from the norms through which the filters' channels pass."""
        scales_N = torch.zeros(self.num_filters, dtype=torch.float64)
        found = scales_of(self._engine.traced, self._group, self._kept)
        for name, owners in found.items():
            at, scale_C = torch.from_numpy(owners), self._tensors[name].double().abs()
            scales_N.index_add_(0, at[at >= 0], scale_C[at >= 0])
        if not found:
            raise InputError(
                f"no norm scales the filters of {self.layer}, which this criterion needs: name another one, such as "
                "l2, or leave the layer out"
            )
        return scales_N

    @torch.no_grad()
    def responses(self, summary: Callable[[Tensor], Tensor], num_images: int) -> list[Tensor]:
        """As in the base class; runs nothing above the activations."""
        activations = self._places.activations()
        program = values_of(self._network, [node for node, _ in activations])
        batches_P: list[list[Tensor]] = [[] for _ in activations]
        for images, _ in self._sample(num_images):
            for values, (_, owners), batches in zip(program(images), activations, batches_P, strict=True):
                values_BnHW, filters = by_filter(values, owners)
                summary_BN = torch.full((len(images), self.num_filters), torch.nan, dtype=torch.float64)
                summary_BN[:, filters] = summary(values_BnHW).double().cpu()
                batches.append(summary_BN)
        return [torch.cat(batches) for batches in batches_P]

    def gate_gradients(self, num_images: int) -> Tensor:
        """As in the base class; only what lies above the layer is differentiated."""
        gradients = []
        for values, labels in self._below(num_images):
            gates_BN = self._gates(len(labels)).requires_grad_()
            loss = self._engine.score.loss(self._gated.gated(values, gates_BN), labels)
            (gradient_BN,) = torch.autograd.grad(loss, gates_BN)
            gradients.append(gradient_BN.double().cpu() * len(labels))
        return torch.cat(gradients)

    def weight_gradients(self, num_images: int) -> Tensor:
        """As in the base class."""
        total_NM, number = torch.zeros(self.weights_NM.shape, dtype=torch.float64), 0
        for images, labels in self._sample(num_images):
            total_NM += self._weight_gradient(images, labels) * len(images)
            number += len(images)
        return total_NM / number

    def squared_weight_gradients(self, num_images: int) -> Tensor:
        """As in the base class; one image at a time."""
        total_NM, number = torch.zeros(self.weights_NM.shape, dtype=torch.float64), 0
        for image, label in self._sample(num_images, batch_size=1):
            total_NM += self._weight_gradient(image, label).square()
            number += 1
        return total_NM / number

    @torch.no_grad()
    def ablations(self, num_images: int) -> Tensor:
        """As in the base class; costs a pass through all above the layer for each filter."""
        totals_N, number = torch.zeros(self.num_filters, dtype=torch.float64), 0
        for values, labels in self._below(num_images):
            whole = self._distribution(self._gated.gated(values, self._gates(1)))
            for one in range(self.num_filters):
                gates_1N = self._gates(1)
                gates_1N[:, one] = 0
                without = self._distribution(self._gated.gated(values, gates_1N))
                totals_N[one] += float(self._divergence(whole, without)) * len(labels)
            number += len(labels)
        return totals_N / number

    @torch.no_grad()
    def contributions(self, num_images: int, samples_per_image: int) -> Contributions:
        """As in the base class; every layer that reads the filters gives equally many samples."""
        places, network = self._places.read, self._network
        program = values_of(network, [source for _, source, _ in places])
        rng = torch.Generator().manual_seed(seed_for(self._engine.workload.data_seed, PURPOSE, "samples"))
        samples, squares_N = [], torch.zeros(self.num_filters, dtype=torch.float64)
        for images, _ in self._sample(num_images):
            squares_N.zero_()
            for value, (node, _, owners) in zip(program(images), places, strict=True):
                reader = network.get_submodule(str(node.target)) if node.op == "call_module" else None
                values_SC, norms_C = sampled(reader, value, samples_per_image, rng)
                at = torch.from_numpy(owners)
                values_SN = torch.zeros(len(values_SC), self.num_filters, dtype=torch.float64)
                samples.append(values_SN.index_add_(1, at[at >= 0], values_SC[:, at >= 0]))
                squares_N.index_add_(0, at[at >= 0], norms_C[at >= 0].square())
        return Contributions(torch.cat(samples), squares_N.sqrt())

    def _sample(self, num_images: int, batch_size: int | None = None) -> Iterator[tuple[Tensor, Tensor]]:
        return self._engine.train_sample(num_images, PURPOSE, batch_size)

    def _below(self, num_images: int) -> Iterator[tuple[dict[fx.Node, Any], Tensor]]:
        """For each batch the values that the nodes above the layer read, and the labels."""
        crossing = self._places.crossing
        program = values_of(self._network, crossing)
        for images, labels in self._sample(num_images):
            with torch.no_grad():
                values = program(images)
            yield dict(zip(crossing, values, strict=True)), labels

    @cached_property
    def _gated(self) -> Gated:
        return Gated(self._places, self._engine.device)

    def _gates(self, number: int) -> Tensor:
        dtype = next(self._network.parameters()).dtype
        return torch.ones(number, self.num_filters, dtype=dtype, device=self._engine.device)

    def _weight_gradient(self, images: Tensor, labels: Tensor) -> Tensor:
        """(N, M_l): the gradient of the loss of one batch with respect to the members' weights."""
        names = [f"{member.layer}.weight" for member in self._group.members]
        own = {name: self._network.get_parameter(name).detach().requires_grad_() for name in names}
        logits = functional_call(self._network, own, (images,))
        gradients = torch.autograd.grad(self._engine.score.loss(logits, labels), list(own.values()))
        of_names = {name: gradient.double().cpu() for name, gradient in zip(own, gradients, strict=True)}
        return self._group.weights_NM(of_names, self._left)

    def _distribution(self, logits_BK: Tensor) -> Tensor:
        """Log-probabilities of the classes, or the output itself where it is an image or has rows for boxes."""
        if self._engine.score.labels not in CLASS_LABELS:
            return logits_BK.double()
        return F.log_softmax(logits_BK.double(), dim=1)

    def _divergence(self, whole_BK: Tensor, without_BK: Tensor) -> Tensor:
        """Mean over images, and over pixels if there are any."""
        if self._engine.score.labels not in CLASS_LABELS:
            return (whole_BK - without_BK).square().sum(1).mean() / 2
        return (whole_BK.exp() * (whole_BK - without_BK)).sum(1).mean()
