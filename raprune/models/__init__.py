"""Networks. Contract: ``build(settings, num_classes=..., input_shape=(C, H, W)) -> nn.Module``, one file a network.

The network takes (B, C, H, W) float images and can be traced with ``torch.fx``; its prunable layers are found by
tracing, so a network says nothing about pruning. Its initial weights come from torch's global generator, which the
caller seeds.
"""
