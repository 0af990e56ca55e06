"""The kinds of garment in the sample catalogue, as data."""

from demo.sample.wardrobe.accessories import ACCESSORIES
from demo.sample.wardrobe.kinds import Kind
from demo.sample.wardrobe.lower import BOTTOMS
from demo.sample.wardrobe.upper import TOPS

# A start of every catalogue, however short, should already be mixed: tops, bottoms and accessories take turns.
_TURNS = (0, 13, 18, 2, 14, 12, 21, 10, 17, 5, 19, 15, 8, 23, 1, 16, 6, 22, 9, 24, 3, 20, 11, 4, 7)
KINDS: tuple[Kind, ...] = tuple((*TOPS, *BOTTOMS, *ACCESSORIES)[turn] for turn in _TURNS)
BY_NAME: dict[str, Kind] = {kind.name: kind for kind in KINDS}
