"""Asking `ml` whether an encoder folder is sound: it runs the network once, in a process of its own."""

import json
from pathlib import Path
from typing import Any

from catalog.errors import Refused
from catalog.ml_cli import BAD_INPUT, MlTimeout, run_ml

SECONDS = 120
MOST_MEMORY = 8 << 30  # bytes of addresses: a network may ask for any amount, and the machine has other work


def card_of(folder: Path) -> dict[str, Any]:
    """The card of a folder whose every file was checked. Refused, with what is wrong, where it is not sound."""
    try:
        answer = run_ml("check-encoder", str(folder), "--threads", "1", seconds=SECONDS, memory=MOST_MEMORY)
    except MlTimeout:
        raise Refused("encoder_unusable", f"The check of this encoder took over {SECONDS} seconds.") from None
    if answer.code == 0:
        card: dict[str, Any] = json.loads(answer.output)
        return card
    if answer.code == BAD_INPUT:
        place = f" {str(folder)!r}"  # where it lay for the check is nobody's business
        raise Refused("encoder_unusable", answer.complaint.replace(f" in{place}", "").replace(place, ""))
    raise Refused("encoder_unusable", "The check of this encoder broke off: its network asks for too much, or crashes.")
