"""Settings to start a training run from, by what they are for. What is not named has its default value."""

from typing import Any, Final

QUICK: Final = "quick"  # a useful encoder on a CPU while one has lunch
FULL: Final = "full"  # the recipe of the encoders that ship: for a GPU, or a night

_SHARED_QUICK: Final = {"epochs": 8, "freeze_stages": 10, "views": 4, "side": 160, "weight_decay": 0.05, "workers": 2}
_SHARED_FULL: Final = {"freeze_stages": 6, "views": 12, "weight_decay": 0.05, "workers": 2}

PRESETS: Final[dict[str, dict[str, dict[str, Any]]]] = {
    "metric": {
        QUICK: {**_SHARED_QUICK, "drop": 0.2, "scale": 12.0},
        FULL: {**_SHARED_FULL, "epochs": 16, "drop": 0.2, "scale": 12.0},
    },
    "classifier": {
        QUICK: {**_SHARED_QUICK, "drop": 0.2},
        FULL: {
            **_SHARED_FULL,
            "backbone": "efficientnet-lite2",
            "side": 256,
            "epochs": 18,
            "drop": 0.3,
            "mixup": 0.4,
        },
    },
}
