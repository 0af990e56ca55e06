"""Words for booleans in command-line and form values. `clothes_matcher.env` has the same list: it may not import ml."""

from typing import Final

BOOLEAN_WORDS: Final = {
    "on": True,
    "true": True,
    "yes": True,
    "1": True,
    "off": False,
    "false": False,
    "no": False,
    "0": False,
}
