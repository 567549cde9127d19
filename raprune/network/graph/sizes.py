"""The attributes of a module that tell its size, after its tensors became smaller or larger."""

from __future__ import annotations

from torch import nn


def follow_tensors(module: nn.Module, depthwise: int | None = None) -> None:
    """Make ``module`` tell the size that its tensors have; ``depthwise``: filters a channel, of a convolution that is.

    What is depthwise cannot be told by the numbers: one channel, or one a group, looks like it or like a plain one.
    """
    if isinstance(module, nn.Conv2d):
        if depthwise is not None:
            module.groups = module.weight.shape[0] // depthwise
        module.out_channels = module.weight.shape[0]
        module.in_channels = module.weight.shape[1] * module.groups
    elif isinstance(module, nn.ConvTranspose2d):
        if depthwise is not None:
            module.groups = module.weight.shape[0]
        module.in_channels = module.weight.shape[0]
        module.out_channels = module.weight.shape[1] * module.groups
    elif isinstance(module, nn.Linear):
        module.out_features, module.in_features = module.weight.shape
    elif isinstance(module, nn.PReLU):
        module.num_parameters = module.weight.numel()
    elif isinstance(module, nn.modules.batchnorm._NormBase):
        size = module.weight if module.affine else module.running_mean
        if size is not None:
            module.num_features = size.shape[0]
