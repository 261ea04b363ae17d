"""What lies in a folder, in a fixed order: pictures, other files, sub-folders; no hidden ones."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path

from nfbmr.data.images import IMAGE_SUFFIXES
from nfbmr.system.files import plain_file

_HIDDEN = frozenset(
    {
        *("thumbs.db", "ehthumbs.db", "desktop.ini", "$recycle.bin", "system volume information"),
        *("__macosx", "@eadir", "#recycle", "@recycle", "#snapshot", "lost+found"),
    }
)
"""What Windows, macOS, network stores and disks keep among a user's files."""

_UNREAD = """
    gif apng mng heic heics heif heifs hif avif avifs jxl jxr wdp hdp jls
    jp2 j2k j2c jpc jpf jpx jpm jph jhc jif jfi pjp pjpeg mpo jps pns
    dib rle wbmp pbm pgm ppm pnm pam pfm tga ico cur icns pcx dcx dds sgi rgb rgba bw ras
    xbm xpm xcf kra psd psb exr hdr rgbe qoi bpg flif btf tf8
    raw dng cr2 cr3 crw nef nrw arw sr2 srf srw orf ori rw2 rwl raf pef x3f 3fr fff iiq erf
    mrw dcr dcs kdc k25 mef mos bay gpr
    dcm dicom fits fts czi nd2 lsm lif svs ndpi mrxs
"""
UNREAD_PICTURES = frozenset(f".{ending}" for ending in _UNREAD.split())
"""The lower-case suffixes of formats of pictures that nfbmr does not read."""

_OF_HEATMAPS = re.compile(r"heatmaps(-\d+)?$")

DRAWN = ("Software", "nfbmr heatmap")
"""Key and text that heatmaps carry, so that a folder of them is not taken for one of pictures."""


def list_pictures(folder: Path, *, deep: bool) -> tuple[list[Path], list[Path]]:
    """Lists the pictures by their suffixes, and the other files; each sorted by path.

    With `deep`, sub-folders too, but none of heatmaps that nfbmr drew. Links are followed, but no
    folder is entered twice, so a link that leads back up ends there.

    Raises:
        OSError: a folder cannot be read.
    """
    pictures: list[Path] = []
    others: list[Path] = []
    for here, names, rest in walk_pictures(folder, deep=deep):
        pictures.extend(Path(here, name) for name in names)
        others.extend(Path(here, name) for name in rest)
    return sorted(pictures), sorted(others)


def walk_pictures(folder: Path, *, deep: bool) -> Iterator[tuple[str, list[str], list[str]]]:
    """Walks as `list_pictures` does, and holds the names of one folder at a time.

    Yields:
        Each folder, the names of the pictures in it and of the other files, sorted; a folder comes
        before those in it. A pipe, a socket or a device is no picture, whatever its name.

    Raises:
        OSError: a folder cannot be read.
    """
    entered: set[Path] = set()
    waiting = [os.fspath(folder)]
    while waiting:
        here = waiting.pop()
        real = Path(here).resolve()
        if real in entered or (Path(here) != Path(folder) and holds_heatmaps(Path(here))):
            continue
        entered.add(real)
        folders: list[str] = []
        names: list[str] = []
        others: list[str] = []
        with os.scandir(here) as entries:
            shown = sorted((e for e in entries if not is_hidden(e.name)), key=lambda e: e.name)
        for entry in shown:
            if _is(entry.is_dir):
                folders.append(entry.path)
            else:
                is_one = is_picture(entry.name) and _may_be_read(entry)
                (names if is_one else others).append(entry.name)
        yield here, names, others
        waiting += reversed(folders) if deep else ()


def _may_be_read(entry: os.DirEntry[str]) -> bool:
    """Whether an entry is a file, or a link to nothing; no pipe, socket or device."""
    return _is(entry.is_file) or (entry.is_symlink() and not os.path.exists(entry.path))  # noqa: PTH110


def _is(what: Callable[[], bool]) -> bool:
    """Whether an entry is what is asked; a link that leads back to itself is nothing."""
    try:
        return what()
    except OSError:
        return False


def is_picture(name: str) -> bool:
    """Tells by its ending whether a file is taken for a picture."""
    return os.path.splitext(name)[1].lower() in IMAGE_SUFFIXES  # noqa: PTH122 - of many names


def list_folders(folder: Path | None) -> list[Path]:
    """Lists the sub-folders, sorted; none where `folder` is None.

    Raises:
        OSError: the folder cannot be read.
    """
    entries = folder.iterdir() if folder is not None else ()
    return sorted(path for path in entries if path.is_dir() and not is_hidden(path.name))


def find_entry(folder: Path | None, name: str) -> Path | None:
    """Finds a file or folder by its name, without regard to case; None where there is none.

    Raises:
        OSError: the folder cannot be read.
    """
    entries = sorted(folder.iterdir()) if folder is not None and folder.is_dir() else ()
    return next((path for path in entries if path.name.lower() == name.lower()), None)


def holds_heatmaps(folder: Path) -> bool:
    """Tells whether a folder is one of heatmaps, by its name and by what the first file says.

    Raises:
        OSError: it cannot be read.
    """
    if not _OF_HEATMAPS.search(folder.name):
        return False
    drawn = (path for path in (*folder.glob("*.png"), *folder.glob("*/*.png")) if path.is_file())
    first = min(drawn, default=None)
    return first is not None and is_drawn(first)


def is_drawn(path: Path) -> bool:
    """Tells whether a picture is a heatmap that nfbmr drew.

    Raises:
        OSError: it cannot be read.
    """
    with plain_file(path) as stream:
        return "\0".join(DRAWN).encode() in stream.read(256)


def is_hidden(name: str) -> bool:
    """Tells whether a name is one that systems keep for themselves, or hides itself by a dot."""
    return name.startswith(".") or name.lower() in _HIDDEN
