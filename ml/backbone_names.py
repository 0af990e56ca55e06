"""The names of the trunks, apart from `ml.encoder.backbones`, so that a command line can list them without
importing torch."""

from typing import Literal

EfficientNetLiteName = Literal["efficientnet-lite0", "efficientnet-lite1", "efficientnet-lite2"]
ResNetName = Literal["resnet18", "resnet34", "resnet50"]
BackboneName = Literal[EfficientNetLiteName, ResNetName]
