"""The best product of two thin matrices, component by component, in double precision.

Source: Eckart and Young, *The approximation of one matrix by another of lower rank*, Psychometrika 1936: the first r
singular vectors give the least squared error, which is the energy (squared singular values) of the others. Departures:
singular vectors come from the Gram matrix of the shorter side, which for a layer of 4096 x 25088 is many times cheaper;
each component's length is shared out equally between its two factors, so that both train alike.

Shapes: P x Q the matrix, R components, largest first.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Components:
    """``left_PR[:, :r] @ right_RQ[:r]`` is the matrix of rank r that was asked for."""

    energies_R: Tensor
    """What each component holds; their sum is all."""
    left_PR: Tensor
    right_RQ: Tensor


def exact(tensor: Tensor) -> Tensor:
    """A copy in double precision; on the processor where its device has none."""
    tensor = tensor.detach()
    return (tensor.cpu() if tensor.device.type == "mps" else tensor).double()


def least_squares(matrix_PQ: Tensor) -> Components:
    """Components of least squared error of the matrix itself; ``matrix_PQ`` in double precision."""
    if matrix_PQ.shape[0] > matrix_PQ.shape[1]:
        found = least_squares(matrix_PQ.T)
        return Components(found.energies_R, found.right_RQ.T, found.left_PR.T)
    energies_R, left_PR = principal(matrix_PQ @ matrix_PQ.T)
    return balanced(energies_R, left_PR, left_PR.T @ matrix_PQ)


def principal(gram_PP: Tensor) -> tuple[Tensor, Tensor]:
    """Eigenvalues, largest first and never negative, and their orthonormal vectors as columns."""
    values, vectors = torch.linalg.eigh((gram_PP + gram_PP.T) / 2)
    return values.flip(0).clamp(min=0), vectors.flip(1)


def balanced(energies_R: Tensor, left_PR: Tensor, right_RQ: Tensor) -> Components:
    """The same products with both factors of each component equally long."""
    longer_R = left_PR.norm(dim=0) / right_RQ.norm(dim=1)
    share_R = longer_R.sqrt().where((longer_R > 0) & longer_R.isfinite(), 1.0)
    return Components(energies_R, left_PR / share_R, right_RQ * share_R[:, None])
