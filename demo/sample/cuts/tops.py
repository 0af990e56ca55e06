"""Builders of tops, coats and dresses: bodies and sleeves. Their details are in `details`."""

from __future__ import annotations

from demo.sample.cuts import collars, details
from demo.sample.drawing.geometry import Points, edges, join, mirror, smooth, towards
from demo.sample.drawing.parts import Cut, Line, Mark, Part, both_sides

SLEEVE_ANGLE = {"short": 38.0, "three-quarter": 19.0, "long": 11.0}  # degrees away from hanging straight down
CUFFED = ("rib", "shirt", "elastic")


def top(cut: Cut) -> list[Mark]:
    """Build a T-shirt, coat, dress or anything between, as the options say."""
    return [
        *collars.behind(cut),
        *sleeves(cut),
        Part(mirror(body_half(cut)), lift=0.7, folds=cut.measures.get("folds", 1.0)),
        *details.hem(cut),
        *details.waist(cut),
        *details.pockets(cut),
        *details.closure(cut),
        *details.motif(cut),
        *collars.front(cut),
        *forearms(cut),
    ]


def body_half(cut: Cut) -> Points:
    """Return the right half of the body's outline, from the middle of the neckline to the middle of the hem."""
    shoulder, chest, arm, hem = cut["shoulder"], cut["chest"], cut["arm"], cut["hem"]
    length = cut["length"] - (0.02 if cut.option("hem") == "rib" else 0.0)  # the band hides the body's end
    side = smooth(
        [
            (chest, arm),
            (cut["waist"], cut["waist_at"]),
            ((cut["waist"] + 2 * hem) / 3 + cut.measures.get("hip", 0.0), (cut["waist_at"] + length) / 2),
            (hem, length - cut.measures.get("tail", 0.0)),
        ]
    )
    armhole = edges([(shoulder, cut["slope"], -cut.measures.get("scye", 0.08)), (chest, arm)])
    bottom = edges([(*side[-1], 0.04 if hem < 0.3 else 0.06), (0.0, length + cut.measures.get("sag", 0.004))])
    return join(collars.neckline(cut), armhole, side, bottom)


def sleeves(cut: Cut) -> list[Mark]:
    """Build both sleeves with their cuffs; the body will be laid over their roots."""
    if cut.option("sleeves") not in SLEEVE_ANGLE:
        return []
    outline, cuff, angle = _sleeve(cut)
    arm = Part(outline, grain=-angle, lift=0.3, folds=0.7 * cut.measures.get("folds", 1.0))
    return both_sides(arm, *_cuff(cut, cuff, angle))


def _sleeve(cut: Cut) -> tuple[Points, Points, float]:
    """Return the right sleeve's outline, the line across its opening (outer end first), and its angle."""
    stance = cut.stance
    angle = SLEEVE_ANGLE[cut.option("sleeves")] + stance.sleeve
    root = ((cut["shoulder"] + cut["chest"]) / 2, (cut["slope"] + cut["arm"]) / 2)
    reach = cut["sleeve"] * (0.55 if stance.folded else 1.0)
    elbow = towards(root, angle, reach * 0.5)
    turned = angle - (0.0 if cut.option("sleeves") == "short" or stance.folded else stance.bend)
    wrist = towards(elbow, turned, reach * 0.5)
    cuff = cut["cuff"] * (1.35 if stance.folded else 1.0)
    wide = (0.45 * cuff + 0.55 * (cut["arm"] - cut["slope"]) / 2) * cut.measures.get("puff", 1.0)
    outer = smooth(
        [
            (cut["shoulder"] - 0.004, cut["slope"] + 0.001),
            towards((cut["shoulder"], cut["slope"]), (angle + 70) / 2, 0.035),  # rounds the shoulder
            towards(elbow, angle + 90, wide),
            towards(wrist, turned + 90, cuff),
        ]
    )
    inner = smooth(
        [
            towards(wrist, turned - 90, cuff),
            towards(elbow, angle - 90, wide),
            (cut["chest"] - 0.004, cut["arm"] + 0.004),
        ]
    )
    inside = [(cut["chest"] - 0.05, cut["arm"]), (cut["shoulder"] - 0.05, cut["slope"] + 0.04)]
    return join(outer, inner, inside), join(outer[-1:], inner[:1]), turned


def _cuff(cut: Cut, opening: Points, angle: float) -> list[Mark]:
    """Build the end of the right sleeve: a band, or the stitched line of a hem."""
    if cut.stance.folded:
        return []
    depth = 0.034 if cut.option("cuffs") in CUFFED else 0.014
    up = [towards((float(x), float(y)), angle, -depth) for x, y in opening]
    if cut.option("cuffs") not in CUFFED:
        return [Line(join(up), shade=0.75)]
    middle = opening.mean(axis=0)
    pinch = 0.9 if cut.option("cuffs") != "shirt" else 1.04
    edge = middle + (opening - middle) * pinch
    low = [towards((float(x), float(y)), angle, 0.004) for x, y in edge]
    return [Part(join(up, low[::-1]), cloth=cut.option("band") or "main", grain=-angle, folds=0.2, lift=0.4)]


def forearms(cut: Cut) -> list[Mark]:
    """Build folded sleeves: forearms diagonally across the front, the left one on top."""
    if not cut.stance.folded or cut.option("sleeves") != "long":
        return []
    _, opening, angle = _sleeve(cut)
    start = opening.mean(axis=0)
    elbow = towards((float(start[0]), float(start[1])), angle, -0.02)
    wrist = towards(elbow, -64.0, cut["sleeve"] * 0.5)
    wide, cuff = cut["cuff"] * 1.3, cut["cuff"]
    outer = smooth([towards(elbow, 26, wide), towards(wrist, 26, cuff)])
    inner = smooth([towards(wrist, -154, cuff), towards(elbow, -154, wide)])
    round_elbow = edges([(*inner[-1], 0.0), (*opening[0],), (*outer[0],)])
    arm = Part(join(outer, inner, round_elbow), grain=64.0, folds=0.6, lift=1.2)
    band = _cuff(Cut(cut.measures, cut.options), join(outer[-1:], inner[:1]), -64.0)
    lower = [*both_sides(arm, *band)]
    return [*lower[1::2], *lower[0::2]]
