"""The 25 kinds of garment of the sample catalogue, as data."""

from demo.sample.wardrobe.accessories import ACCESSORIES
from demo.sample.wardrobe.kinds import Kind
from demo.sample.wardrobe.lower import BOTTOMS
from demo.sample.wardrobe.upper import TOPS

# Tops, bottoms and accessories alternate, so that a short catalogue has some of each.
_ORDER = (0, 13, 18, 2, 14, 12, 21, 10, 17, 5, 19, 15, 8, 23, 1, 16, 6, 22, 9, 24, 3, 20, 11, 4, 7)
KINDS: tuple[Kind, ...] = tuple((*TOPS, *BOTTOMS, *ACCESSORIES)[position] for position in _ORDER)
BY_NAME: dict[str, Kind] = {kind.name: kind for kind in KINDS}
