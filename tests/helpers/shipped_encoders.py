"""The folders of the encoders committed with `ml`."""

from pathlib import Path

import ml

ENCODERS = Path(ml.__file__).parent / "encoders"
SHIPPED = ENCODERS / "efficientnet-lite0-metric100"
SHIPPED_CLASSIFIER = ENCODERS / "efficientnet-lite2-classifier17"
