"""A picture of the report: what is known of it, and how the template shows it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from nfbmr.evaluation.report import words
from nfbmr.inspection import pictures
from nfbmr.inspection.regions import Region, in_words
from nfbmr.scoring.calibration import Verdict

_PAIR = 200  # pixels of a cut-out's longer side at most

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
        pair: the highest region cut out, and the same place on a good part, (h, w, 3) each; None
            where there is none.
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
    pair: tuple[NDArray[np.uint8], NDArray[np.uint8]] | None = None
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
class Card:
    """One picture as the template shows it: views are (name, alternative text, data address).

    Defect is empty for a good picture; tone is the colour of the verdict; places are empty where
    nothing was found, and so is the pair of views where there is none.
    """

    name: str
    defect: str
    verdict: str
    tone: str
    score: str
    p_value: str
    views: list[tuple[str, str, str]]
    places: str
    pair: list[tuple[str, str, str]]


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
        views=views,
        places=in_words([region.box for region in picture.regions]),
        pair=_pair(picture),
    )


def _pair(picture: Picture) -> list[tuple[str, str, str]]:
    if picture.pair is None:
        return []
    said = (
        ("Here", f"the highest place of {picture.path_name}, cut out"),
        ("A good part there", "the same place on the nearest good training picture"),
    )
    addresses = [pictures.to_data_uri(crop, _PAIR) for crop in picture.pair]
    return [(*text, address) for text, address in zip(said, addresses, strict=True)]
