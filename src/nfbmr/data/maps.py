"""What is measured beside pictures of colours: depth, normals, heights; in folders and in files.

`normal` beside these is the direction of a surface, and says nothing of good parts.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path

from nfbmr.data.samples import Notes
from nfbmr.data.words import meaning
from nfbmr.errors import LayoutError

_LEFT_OUT = "pictures of depth and the like beside rgb, left out"

_NORMALS = frozenset({"normal", "normals"})
_ALBEDO = frozenset({"albedo", "diffuse"})  # colours without light
_MAPS = _ALBEDO | frozenset(
    {
        *("xyz", "depth", "depths", "pc", "pcd", "pointcloud", "pointclouds", "ir", "nir", "tof"),
        *("infrared", "thermal", "curvature", "curvatures", "height", "heights", "specular"),
        *("roughness", "reflectance", "disparity", "range", "intensity", "displacement"),
    }
)
_RGB = frozenset({"rgb", "rgbs"})
_MAP = re.compile(r"(?<=[a-z])(maps?|images?)$")
_ANY = "|".join(sorted(_MAPS | _NORMALS))
_FILE = re.compile(rf"^(?P<of>.*\d.*?)[\W_]*(?<![a-z])(?P<word>{_ANY})[\W_]*(maps?)?$")
_COLOURS = re.compile(r"^(?P<of>.*?)([\W_]*(?<![a-z])(rgb|colou?r|image|img)([\W_]*\d)?)?$")


def without_maps(pictures: list[Path], root: Path, notes: Notes) -> list[Path]:
    """Leaves out, and notes, the pictures of depth, normals and the like beside those of colours.

    They lie in folders beside one called `rgb`, as in MVTec 3D-AD, or end in such a word where
    another picture of that number does not.

    Raises:
        LayoutError: `normal` lies beside `height` and the like, and nothing is called `rgb`.
    """
    inside: dict[Path, set[Path]] = defaultdict(set)
    for path in pictures:
        for folder in path.relative_to(root).parents:
            if folder.name:
                inside[(root / folder).parent].add(root / folder)
    maps = {folder for beside in inside.values() for folder in _maps_in(beside, root)}
    by_folder: dict[Path, list[Path]] = defaultdict(list)
    for path in pictures:
        by_folder[path.parent].append(path)
    files = {path for here in by_folder.values() for path in _maps_of_files(here)}
    left_out = {path for path in pictures if path in files or not maps.isdisjoint(path.parents)}
    notes[_LEFT_OUT] += [path for path in pictures if path in left_out]
    return [path for path in pictures if path not in left_out]


def _word(name: str) -> str:
    """Returns a folder's name without what counts: `depth` for `Depth_Map 2`."""
    return _MAP.sub("", re.sub(r"[\W_\d]+", "", name.lower()).removeprefix("surface"))


def _maps_in(beside: set[Path], root: Path) -> set[Path]:
    """Returns the folders of maps among those of one folder."""
    words = {folder: _word(folder.name) for folder in beside}
    # Where defects lie, too, normal means good.
    is_sorted = any("defect" in meaning(folder.name).says for folder in beside)
    normals = {f for f, word in words.items() if word in _NORMALS and not is_sorted}
    maps = {folder for folder, word in words.items() if word in _MAPS}
    if _RGB & {*words.values()}:
        return maps | normals
    if normals and maps and not is_sorted:
        named = ", ".join(sorted(folder.name for folder in beside))
        raise LayoutError(
            f"{root}: found normals beside depth and the like ({named}), so that 'normal' says "
            "nothing of good parts; expected pictures of colours in a folder 'rgb' beside them, or "
            "alone; call it so, or give the folder alone; if 'normal' holds good parts, call it "
            "'good'"
        )
    return set()


def _maps_of_files(here: Iterable[Path]) -> set[Path]:
    """Returns the maps among the pictures of a folder: `7_depth` beside `7_rgb` or `7_image`."""
    stems = {path: path.stem.lower() for path in here}
    named = {path: found for path, stem in stems.items() if (found := _FILE.match(stem))}
    if not named:
        return set()
    colours = {
        found["of"]
        for path, stem in stems.items()
        if path not in named and (found := _COLOURS.match(stem))
    }
    albedo = {found["of"] for found in named.values() if found["word"] in _ALBEDO}
    return {
        path
        for path, found in named.items()
        if found["of"] in colours or (found["of"] in albedo and found["word"] not in _ALBEDO)
    }
