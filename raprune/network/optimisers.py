"""Torch's optimisers without torch's compiler.

Torch's own import the compiler at their first use, to tell it to leave them alone. That takes as long as the import of
torch, in every process that trains. Nothing here is compiled, so these call the same methods without what is around
them.
"""

from __future__ import annotations

import inspect

import torch


class SGD(torch.optim.SGD):
    """As torch's, to the last bit."""

    add_param_group = inspect.unwrap(torch.optim.SGD.add_param_group)
    zero_grad = inspect.unwrap(torch.optim.SGD.zero_grad)
    state_dict = inspect.unwrap(torch.optim.SGD.state_dict)
    step = torch.no_grad()(inspect.unwrap(torch.optim.SGD.step))


class Adam(torch.optim.Adam):
    """As torch's, to the last bit."""

    add_param_group = inspect.unwrap(torch.optim.Adam.add_param_group)
    zero_grad = inspect.unwrap(torch.optim.Adam.zero_grad)
    state_dict = inspect.unwrap(torch.optim.Adam.state_dict)
    step = torch.no_grad()(inspect.unwrap(torch.optim.Adam.step))
