"""The setting of the benchmark of training steps. Imports no torch."""

from dataclasses import dataclass

from ml.formats.encoder_folder import BackboneName


@dataclass(frozen=True)
class Setting:
    """Network, batch size, timed steps per loop, threads, and pixels per side of a picture."""

    backbone: BackboneName
    batch_size: int
    steps: int
    threads: int
    side: int
