"""Figures that others have published, with where they come from. None of them is measured here.

The paper's tables are pictures; these are the figures that its text states. `derived` marks those
that follow from a stated figure and a stated difference.
"""

from __future__ import annotations

from dataclasses import dataclass

from nfbmr.data.collections import DAGM_2007, MVTEC_AD, TEXTURES

PAPER = (
    "Zhang et al., A Normalizing Flow-Based Bidirectional Mapping Residual Network for "
    "Unsupervised Defect Detection, CMC 78(2), 2024, 1631-1648"
)
PAPER_ADDRESS = "https://doi.org/10.32604/cmc.2024.046924"

OBJECTS = tuple(name for name in MVTEC_AD.counts if name not in TEXTURES)
"""Those categories of MVTec AD that are no textures."""

CATEGORIES = {"mvtec": TEXTURES + OBJECTS, "dagm": tuple(DAGM_2007.counts)}
"""Data set -> the categories that the paper's means are taken over."""

MVTEC_CATEGORIES_AT_100 = 5
"""So many of the 15 categories have an image AUROC of 100 % in the paper; it names none."""


@dataclass(frozen=True, kw_only=True)
class Published:
    """One published figure.

    Attributes:
        method: whose figure it is, as a title.
        system: the key of our system that does the same; "" where there is none.
        dataset: `mvtec`, `dagm` or `magnetic_tile`.
        group: `all`, `textures`, `objects`, or a category.
        figure: its name in our rows, such as `image_auroc`.
        percent: its value.
        percent_to: the highest value where several are published, else None.
        source: where it is printed.
        derived: computed from a stated figure and a stated difference.
    """

    method: str
    system: str = ""
    dataset: str
    group: str = "all"
    figure: str = "image_auroc"
    percent: float
    percent_to: float | None = None
    source: str
    derived: bool = False

    def text(self) -> str:
        """Returns the value in percent as text, and whether it is derived."""
        upper = "" if self.percent_to is None else f" to {self.percent_to:.1f}"
        return f"{self.percent:.1f}{upper}{' (derived)' if self.derived else ''}"


_NF_BMR = "NF-BMR"
_METHODS = {"mb-pfm": "MB-PFM", "nf": "NF alone", "nf-b-pfm": "NF + B-PFM"}


def _paper(
    system: str,
    dataset: str,
    percent: float,
    place: str,
    *,
    group: str = "all",
    figure: str = "image_auroc",
    derived: bool = False,
) -> Published:
    return Published(
        method=_METHODS.get(system, _NF_BMR),
        system=system,
        dataset=dataset,
        group=group,
        figure=figure,
        percent=percent,
        source=f"the paper, {place}",
        derived=derived,
    )


SUPERVISED = Published(
    method="Supervised methods",
    dataset="dagm",
    percent=100.0,
    source="the paper, section 4.3: perfect AUROC scores",
)
"""They learn from defects too; the text names none of them."""

PAPER_FIGURES = (
    _paper("nf-bmr-2", "mvtec", 98.7, "abstract and section 4.3"),
    _paper("nf-bmr-2", "mvtec", 99.4, "section 4.3", group="textures"),
    _paper("nf-bmr-2", "mvtec", 98.3, "section 4.3", group="objects"),
    _paper("nf-bmr-2", "mvtec", 97.5, "section 4.3", figure="precision"),
    _paper("nf-bmr-2", "mvtec", 97.0, "section 4.3", figure="recall"),
    _paper("nf-bmr-2", "mvtec", 97.2, "section 4.3", figure="f1"),
    _paper("mb-pfm", "mvtec", 97.5, "section 4.3: 98.7 - 1.2", derived=True),
    _paper("mb-pfm", "mvtec", 96.5, "section 4.3: 98.3 - 1.8", group="objects", derived=True),
    _paper("nf-bmr-2", "dagm", 98.5, "section 4.3"),
    _paper("nf-bmr-2", "dagm", 91.5, "section 4.3", figure="precision"),
    _paper("nf-bmr-2", "dagm", 92.0, "section 4.3", figure="recall"),
    _paper("nf-bmr-2", "dagm", 91.4, "section 4.3", figure="f1"),
    _paper("mb-pfm", "dagm", 97.3, "section 4.3: 98.5 - 1.2", derived=True),
    _paper("nf-bmr-1", "mvtec", 97.4, "section 4.4: the lowest of n = 1 to 3", derived=True),
    _paper("nf-bmr-3", "mvtec", 98.5, "section 4.4: 98.7 - 0.2", derived=True),
    _paper("nf-b-pfm", "mvtec", 96.2, "section 4.4"),
    _paper("nf", "mvtec", 94.2, "section 4.4"),
    SUPERVISED,
)
"""What the paper's text states. Of two means on DAGM this holds the one of section 4.3."""

DAGM_IN_ABSTRACT = Published(
    method=_NF_BMR,
    system="nf-bmr-2",
    dataset="dagm",
    percent=98.7,
    source="the paper, abstract (section 4.3 says 98.5)",
)


def _others(
    method: str,
    image: float,
    pixel: float | None = None,
    aupro: float | None = None,
    *,
    source: str,
    system: str = "",
    image_to: float | None = None,
    screw: float | None = None,
) -> list[Published]:
    values = (
        ("all", "image_auroc", image, image_to),
        ("all", "pixel_auroc", pixel, None),
        ("all", "aupro", aupro, None),
        ("screw", "image_auroc", screw, None),
    )
    return [
        Published(
            method=method,
            system=system,
            dataset="mvtec",
            group=group,
            figure=figure,
            percent=value,
            percent_to=value_to,
            source=source,
        )
        for group, figure, value, value_to in values
        if value is not None
    ]


_WAN = "Wan et al., IEEE TII 2022"
_LOGS = "its paper or published logs"

OTHER_METHODS = (
    *_others("B-PFM, one level", 95.1, 95.9, 86.8, source=_WAN, system="b-pfm"),
    *_others("MB-PFM", 97.5, 97.3, 93.0, source=_WAN, system="mb-pfm", screw=92.5),
    *_others("CS-Flow", 98.7, 92.1, source=f"{_LOGS}; anomalib, 768 x 768", screw=97.6),
    *_others("PatchCore", 99.1, 98.1, 94.4, source=_LOGS, image_to=99.2, screw=98.1),
    *_others("EfficientAD-S", 98.8, source=_LOGS),
    *_others("EfficientAD-M", 99.1, aupro=93.5, source=_LOGS),
    *_others("SimpleNet", 99.6, source=_LOGS),
    *_others("Dinomaly", 99.6, 98.4, source=_LOGS),
    *_others("MSFlow", 99.7, 98.8, 97.1, source=_LOGS),
)
"""MVTec AD, as the authors of other methods publish it: means of 15 categories, and screw."""

MAGNETIC_TILES = tuple(
    Published(
        method=method,
        dataset="magnetic_tile",
        percent=percent,
        source=f"{_LOGS}; 80 % of the good pictures for training",
    )
    for method, percent in (("DifferNet", 97.7), ("CS-Flow", 99.3))
)


def paper_figure(system: str, dataset: str, group: str, figure: str) -> Published | None:
    """Returns what the paper's text states, or None where it states nothing.

    Args:
        system: key of ours; "" for the supervised methods, of which we have none.
        dataset: `mvtec` or `dagm`.
        group: `all`, `textures` or `objects`.
        figure: such as `image_auroc`.
    """
    wanted = (system, dataset, group, figure)
    for one in PAPER_FIGURES:
        if (one.system, one.dataset, one.group, one.figure) == wanted:
            return one
    return None
