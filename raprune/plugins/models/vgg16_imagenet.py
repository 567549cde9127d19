"""torchvision's VGG-16 for large images: 13 convolutions, then Linear 25088-4096, 4096-4096 and 4096-classes.

Source: Simonyan and Zisserman, arXiv 1409.1556, configuration D. At 224x224 with 1,000 classes it has 138,357,544
parameters (138,365,992 with batch norm) and 15,470,264,320 multiply-adds. Layer names are torchvision's, so its state
dicts are checkpoints of this network. Departure: convolutions and hidden linear layers start from He's normal
distribution over their inputs, so that slim networks without norms learn from scratch.
"""

from __future__ import annotations

from torch import Tensor, nn

from raprune.plugins.models.base import scaled
from raprune.plugins.models.pretrained import adapt, load_pretrained
from raprune.plugins.models.vgg16 import VggSettings, published_names, vgg16_features
from raprune.registry import MODELS


class Vgg16ImagenetSettings(VggSettings):
    batch_norm: bool = False
    """Add a batch norm after each convolution (torchvision's ``vgg16_bn``)."""


class Vgg16Imagenet(nn.Module):
    """``features`` (13 convolutions), a pool to 7x7, then ``classifier`` (three linear layers with dropout)."""

    def __init__(self, width: float, num_classes: int, in_channels: int, batch_norm: bool) -> None:
        super().__init__()
        channels, hidden = scaled(512, width), scaled(4096, width)
        self.features = vgg16_features(width, in_channels, batch_norm)
        self.avgpool = nn.AdaptiveAvgPool2d((7, 7))
        self.flatten = nn.Flatten()
        self.classifier = nn.Sequential(
            nn.Linear(channels * 7 * 7, hidden),
            nn.ReLU(True),
            nn.Dropout(),
            nn.Linear(hidden, hidden),
            nn.ReLU(True),
            nn.Dropout(),
            nn.Linear(hidden, num_classes),
        )
        names = [*published_names(batch_norm), "classifier.0", "classifier.3"]
        self.pretrained_layers = {name: name for name in names}
        """torchvision's name of each layer except the last, which depends on the classes -> its name here."""

    def forward(self, images: Tensor) -> Tensor:
        """(B, C, H, W) to logits (B, num_classes)."""
        logits: Tensor = self.classifier(self.flatten(self.avgpool(self.features(images))))
        return logits

    def adapt_state_dict(self, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
        """A state dict saved as part of a larger module, renamed to this network's names."""
        return adapt(tensors, self.state_dict(), self.pretrained_layers)


@MODELS.register("vgg16_imagenet", Vgg16ImagenetSettings)
def build(settings: Vgg16ImagenetSettings, *, num_classes: int, input_shape: tuple[int, int, int]) -> nn.Module:
    """torchvision's VGG-16 for images such as 224x224: 13 prunable convolutions, 138 M parameters for 1,000 classes."""
    channels, height, width = input_shape
    if min(height, width) < 32:
        raise ValueError(f"vgg16_imagenet takes images of at least 32x32; this data set has {height}x{width}")
    network = Vgg16Imagenet(settings.width, num_classes, channels, settings.batch_norm)
    for module in network.modules():
        if isinstance(module, (nn.Conv2d, nn.Linear)) and module is not network.classifier[-1]:
            nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
            if module.bias is not None:
                nn.init.zeros_(module.bias)
    weights = "vgg16_bn" if settings.batch_norm else "vgg16"
    load_pretrained(network, settings.pretrained, weights, network.pretrained_layers)
    return network
