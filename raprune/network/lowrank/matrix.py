"""The best product of two thin matrices, component by component, in double precision.

Source: Eckart and Young, *The approximation of one matrix by another of lower rank*, Psychometrika 1936: the first r
singular vectors give the least squared error, which is the energy (squared singular values) of the others. Departures:
singular vectors come from the Gram matrix of the shorter side, which for a layer of 4096 x 25088 is many times cheaper;
each component's length is split equally between its two factors, so that both train alike.

Shapes: P x Q the matrix, R components, largest first.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Components:
    """``left_PR[:, :r] @ right_RQ[:r]`` is the best approximation of rank r."""

    energies_R: Tensor
    """Energy of each component; they sum to the total."""
    left_PR: Tensor
    right_RQ: Tensor


def exact(tensor: Tensor) -> Tensor:
    """A copy in double precision; on the CPU if its device does not support it."""
    tensor = tensor.detach()
    return (tensor.cpu() if tensor.device.type == "mps" else tensor).double()


def least_squares(matrix_PQ: Tensor) -> Components:
    """Components of least squared error of the matrix itself; ``matrix_PQ`` in double precision."""
    if matrix_PQ.shape[0] > matrix_PQ.shape[1]:
        transposed = least_squares(matrix_PQ.T)
        return Components(transposed.energies_R, transposed.right_RQ.T, transposed.left_PR.T)
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
