"""A picture of the report: what is known of it, and how the template shows it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from nfbmr.evaluation.report import words
from nfbmr.inspection import pictures
from nfbmr.inspection.regions import Region
from nfbmr.scoring.calibration import Verdict
from nfbmr.system.words import how_unusual

_PAIR = 200  # pixels of a cut-out's longer side at most
_PLACES = 5  # regions of a picture that are told one by one

GOOD_NAMES = frozenset(("", "good"))
"""Defect names that mean: this picture is good."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Picture:
    """One picture that the report shows.

    Attributes:
        path_name: shown as it is; untrusted.
        defect: its type; "" or "good" for a good picture.
        image: (H, W, 3), already small (a longest side of about 384 pixels is enough).
        heatmap: (H, W), 0 = typical good, 1 = alarm level; None when there is none.
        mask: (H, W), True on the defect; None when there is none.
        score: higher = more anomalous.
        p_value: in [0, 1].
        verdict: `good`, `look` (for a person) or `defect`.
        regions: what was found, in pixels of the picture.
        size: (H, W) of the picture that the regions are of; None where it is the image's.
        labelled: whether anything says that it is good, or defective.
        pairs: the highest regions cut out, each with the same place on a good part, (h, w, 3);
            none where the model keeps no examples.
    """

    path_name: str
    defect: str
    image: NDArray[np.uint8]
    heatmap: NDArray[np.float32] | None
    mask: NDArray[np.bool_] | None
    score: float
    p_value: float
    verdict: Verdict
    regions: tuple[Region, ...] = ()
    size: tuple[int, int] | None = None
    pairs: tuple[tuple[NDArray[np.uint8], NDArray[np.uint8]], ...] = ()
    labelled: bool = True

    @property
    def is_flagged(self) -> bool:
        """Whether it was called a defect."""
        return self.verdict == "defect"

    @property
    def is_defect(self) -> bool:
        """Whether the label says defective."""
        return self.defect not in GOOD_NAMES


@dataclass(frozen=True, kw_only=True)
class Place:
    """A region in words: its highest point, how large it is, where, how rare in good pictures."""

    peak: str
    area: str
    at: str
    rarity: str


@dataclass(frozen=True, kw_only=True)
class Card:
    """One picture as the template shows it: views are (name, alternative text, data address).

    Defect is empty for a good picture; tone is the colour of the verdict; places, and the pairs of
    views, are those of the first regions, the highest first, and more is how many more there are.
    """

    name: str
    defect: str
    verdict: str
    tone: str
    score: str
    p_value: str
    unusual: str
    views: list[tuple[str, str, str]]
    places: list[Place]
    more: int
    pairs: list[list[tuple[str, str, str]]]


def card_of(picture: Picture) -> Card:
    """Draws what the report shows of a picture."""
    if picture.verdict == "look":
        verdict, tone = "for a person", "warn"
    elif picture.is_defect:
        verdict, tone = ("found", "fine") if picture.is_flagged else ("missed", "bad")
    elif not picture.labelled:
        verdict, tone = ("called a defect", "warn") if picture.is_flagged else ("passed", "fine")
    else:
        verdict, tone = ("false alarm", "warn") if picture.is_flagged else ("passed", "fine")
    kind = f"picture with defect {picture.defect}" if picture.is_defect else "good picture"
    kind = kind if picture.labelled else "picture"
    views = [("Picture", f"{kind}: {picture.path_name}", pictures.to_data_uri(picture.image))]
    if picture.heatmap is not None:
        overlay = pictures.colour_regions(
            picture.image, picture.heatmap, picture.regions, picture.size
        )
        overlay = pictures.outline_regions(overlay, picture.regions, picture.size)
        places = f", {len(picture.regions)} outlined" if picture.regions else ""
        alt = f"heatmap over the {kind}; highest level {picture.heatmap.max():.1f}{places}"
        views.append(("Heatmap", alt, pictures.to_data_uri(overlay)))
    if picture.mask is not None and picture.mask.any():
        outline = pictures.outline_mask(picture.image, picture.mask)
        alt = f"true outline of the defect, {picture.mask.mean():.1%} of the picture"
        views.append(("True outline", alt, pictures.to_data_uri(outline)))
    return Card(
        name=picture.path_name,
        defect=picture.defect if picture.is_defect else "",
        verdict=verdict,
        tone=tone,
        score=words.number(picture.score),
        p_value=words.p_value(picture.p_value),
        unusual=how_unusual(picture.p_value),
        views=views,
        places=[_place(region) for region in picture.regions[:_PLACES]],
        more=max(0, len(picture.regions) - _PLACES),
        pairs=_pairs(picture),
    )


def _place(region: Region) -> Place:
    return Place(
        peak=words.fixed(region.peak, 2),
        area=words.area(region.area, region.area_mm2),
        at=f"x {region.at[0]}, y {region.at[1]}",
        rarity=words.rarity(region.p_value),
    )


def _pairs(picture: Picture) -> list[list[tuple[str, str, str]]]:
    several = len(picture.pairs) > 1
    found = []
    for number, crops in enumerate(picture.pairs, start=1):
        which = f"place {number}" if several else "the place"
        said = (
            (f"{number} here" if several else "Here", f"{which} of {picture.path_name}, cut out"),
            ("Good part there", f"{which} on the nearest good training picture"),
        )
        addresses = [pictures.to_data_uri(crop, _PAIR) for crop in crops]
        found.append([(*text, address) for text, address in zip(said, addresses, strict=True)])
    return found
