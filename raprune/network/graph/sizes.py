"""Updates the attributes that state a module's size after its tensors became smaller or larger."""

from __future__ import annotations

from torch import nn


def follow_tensors(module: nn.Module, depthwise: int | None = None) -> None:
    """Set the size attributes of ``module`` from its tensors; ``depthwise``: filters per channel if it is depthwise.

    Shapes do not show whether a convolution is depthwise: with one channel, or one per group, it could also be plain.
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
