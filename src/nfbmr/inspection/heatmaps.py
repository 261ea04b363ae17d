"""Folders of heatmaps: each says by a file in it that nfbmr drew what it holds."""

from __future__ import annotations

import re
from pathlib import Path

from PIL import Image

from nfbmr.data.folders import OUTPUT_MARK
from nfbmr.data.images import ImageInput, read_image
from nfbmr.inspection.pictures import heatmap_overlay
from nfbmr.inspection.result import Inspection
from nfbmr.system.files import written_beside

_OF_A_RUN = re.compile(r"\d{6,}_.*\.png")


class Heatmaps:
    """A folder that heatmaps are written to; made with the first of them."""

    def __init__(self, folder: Path) -> None:
        """Names the folder."""
        self.folder = folder

    @classmethod
    def of_one_run(cls, folder: Path) -> Heatmaps:
        """Returns a folder that holds no heatmaps of runs before: its own are taken away first.

        Files in it that are none of ours stay; a folder that has files and was not made for
        heatmaps is left alone, and one beside it, `NAME-1`, serves.
        """
        place, number = folder, 1
        while place.exists() and not (place / OUTPUT_MARK).exists() and _holds_anything(place):
            place, number = folder.with_name(f"{folder.name}-{number}"), number + 1
        if place.is_dir():
            for path in place.iterdir():
                if _OF_A_RUN.fullmatch(path.name):
                    path.unlink()
        return cls(place)

    def keep(self, name: str, source: ImageInput, result: Inspection) -> Path:
        """Draws a picture's heatmap over it, whole or not at all; returns the file.

        Args:
            name: below the folder, without its ending; the same name is written over.
            source: what was inspected.
            result: what was found.

        Raises:
            OSError: it cannot be written.
            ImageError: the picture is not there any more.
        """
        file = self.folder / f"{name}.png"
        overlay = heatmap_overlay(read_image(source), result.heatmap)
        with written_beside(file) as beside:
            (self.folder / OUTPUT_MARK).touch()
            Image.fromarray(overlay).save(beside, "PNG")
        return file


def _holds_anything(place: Path) -> bool:
    return not place.is_dir() or any(place.iterdir())
