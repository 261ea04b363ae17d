"""What is known of good pictures before a network sees them, found in one pass over them.

Each file is opened and read once: its bytes are hashed, then decoded, and the picture is forgotten.
Whoever comes later takes sizes and hashes from here.

H W   height and width in pixels; sizes are always (H, W)
"""

from __future__ import annotations

import hashlib
import os
import time
from collections import Counter, deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from nfbmr.data.decoding import as_path, blamed_on
from nfbmr.data.images import ImageInput, bits_of, stored_values
from nfbmr.data.pages import said_of
from nfbmr.data.samples import Sample, Split
from nfbmr.errors import ImageError
from nfbmr.system.files import plain_file
from nfbmr.system.progress import Progress, silent
from nfbmr.system.words import counted

_THREADS = min(4, os.cpu_count() or 1)  # each holds a whole picture
_AHEAD = 16 * _THREADS  # pictures that wait for a thread
_NAMED = 5  # pictures that a message names
_FULL = 65535
_WHITES = (255, 1023, 4095, 16383)  # of 8, 10, 12 and 14 bits
_USUAL = 0.999  # share of a picture's values that say which range is used
_LOOKED_AT = 512  # rows and columns of them, at least where a picture has as many
_STEP = 16  # pixels between those that mostly tell already whether a picture is gray
MOST_STRETCH = 1.1
"""Times that one side of a picture is stretched against the other, at most, without a word."""
_BROKEN_NAMED = 3  # with what is wrong with each


@dataclass(frozen=True, kw_only=True, slots=True)
class Surveyed:
    """One readable picture."""

    picture: ImageInput = field(repr=False, compare=False)
    """What `read_image` takes: the path, or the picture itself where it came without a file."""
    name: str
    """How messages call it: the file's name, or which of the given ones it is."""
    path: Path | None
    """None where it came without a file."""
    defect: str = "good"
    """The label, as `Sample` has it."""
    split: Split = "train"
    mask: Path | None = None
    size: tuple[int, int]
    """(H, W) in pixels, upright."""
    fingerprint: str
    """SHA-256 of the file's bytes, 64 hexadecimal digits; `pixel_hash` where there is no file."""
    pixel_hash: str
    """SHA-256 of what `read_image` gives: equal for all that look the same to a network."""
    depth: int
    """Bits of a channel, as they are stored."""
    highest: float
    """Largest value of a channel as stored, alpha apart: up to 255, 65535, or 1 of floats."""
    usual: float
    """The value that 99.9 % of them are at most: a hot pixel says nothing of the range."""
    is_gray: bool = False
    """Whether all its colours are gray."""
    has_more: bool = False
    """Whether its file holds other pages or frames than the one that is looked at."""


@dataclass(frozen=True, kw_only=True)
class Survey:
    """The good pictures of a product."""

    name: str
    """Of the product."""
    pictures: tuple[Surveyed, ...]
    """In the order they were given, of copies the first."""
    copies: tuple[Surveyed, ...]
    """The others. On both sides of the held-out split they would make the calibration believe in
    itself."""
    seconds: float
    """Wall-clock time that this took."""
    white: int | None = None
    """The value that was white; see `read_image`."""
    is_labelled: bool = False
    """Whether names, masks or a table said of all of them that they are good."""

    @property
    def paths(self) -> tuple[Path, ...]:
        """Of the pictures that have one."""
        return tuple(one.path for one in self.pictures if one.path is not None)

    @property
    def warnings(self) -> tuple[str, ...]:
        """What was left out, and why; and what of their range the pictures do not use."""
        said = _unused_range(self.pictures, self.white)
        said += said_of([one.name for one in (*self.pictures, *self.copies) if one.has_more])
        if self.copies:
            names = ", ".join(picture.name for picture in self.copies[:_NAMED])
            said = [
                f"{counted(len(self.copies), 'picture is a copy', 'pictures are copies')} of "
                f"others and left out: {names}",
                *said,
            ]
        return tuple(said)

    def describe(self) -> list[str]:
        """Returns sentences for the screen: sizes, depths, the highest value of deep pictures."""
        return [_sizes(self.pictures), _depths(self.pictures)] if self.pictures else []


def survey(
    name: str,
    good: Iterable[Sample | ImageInput],
    progress: Progress = silent,
    *,
    white: int | None = None,
) -> Survey:
    """Looks at good pictures, all of which must be readable, on a few threads.

    Args:
        name: of the product.
        good: samples; or paths, files' bytes, Pillow images and arrays, as for `read_image`.
        progress: hears how far the work is.
        white: as for `read_image`.

    Raises:
        ImageError: some cannot be read; the first three are named.
    """
    started = time.monotonic()
    given = list(good)
    found: list[Surveyed] = []
    broken: list[str] = []
    for done, one in enumerate(looked_at(given, white), start=1):
        if isinstance(one, Surveyed):
            found.append(one)
        else:
            broken.append(str(one))
        progress("survey", done, len(given))
    if broken:
        more = len(broken) - _BROKEN_NAMED
        rest = f"; and {more} more" if more > 0 else ""
        raise ImageError(
            f"{len(broken)} of {counted(len(given), 'picture')} cannot be read: "
            f"{'; '.join(broken[:_BROKEN_NAMED])}{rest}"
        )
    firsts = {_content(one): one for one in reversed(found)}
    return Survey(
        name=name,
        pictures=tuple(one for one in found if firsts[_content(one)] is one),
        copies=tuple(one for one in found if firsts[_content(one)] is not one),
        seconds=time.monotonic() - started,
        white=white,
        is_labelled=all(isinstance(one, Sample) and one.is_labelled for one in given),
    )


def _content(picture: Surveyed) -> str:
    """Returns what two pictures have in common where one of them is a copy.

    The pixels: a picture saved anew, with another time or in another format, is no other part.
    """
    return picture.pixel_hash


def looked_at(
    given: Sequence[Sample | ImageInput], white: int | None = None
) -> Iterator[Surveyed | ImageError]:
    """Looks at pictures on a few threads; yields what is known of each, in order, or its error."""
    pool = ThreadPoolExecutor(_THREADS, thread_name_prefix="nfbmr-survey")
    waiting: deque[Future[Surveyed | ImageError]] = deque()
    try:
        for number, one in enumerate(given, start=1):
            waiting.append(pool.submit(_try_look, white, one, number))
            if len(waiting) > _AHEAD:  # a million at once would take gigabytes
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)


def _try_look(white: int | None, one: Sample | ImageInput, number: int) -> Surveyed | ImageError:
    try:
        if not isinstance(one, Sample):
            return look(one, f"picture {number}", white)
        seen = look(one.path, "", white)
        return replace(seen, defect=one.defect, split=one.split, mask=one.mask)
    except ImageError as error:
        return error


def look(picture: ImageInput, name: str, white: int | None = None) -> Surveyed:
    """Looks at one picture; `name` is what errors call it where it has no path.

    Raises:
        ImageError: it cannot be read.
    """
    path, file = None, picture
    if not isinstance(picture, bytes | Image.Image | np.ndarray):
        picture = path = as_path(picture)
        name = str(path)
        with blamed_on(name), plain_file(path) as handle:
            file = handle.read()
    stored, levels, has_more = stored_values(file, name, white)
    pixel_hash, is_gray = _pixel_hash(levels)
    return Surveyed(
        picture=picture,
        name=name if path is None else path.name,
        path=path,
        size=(stored.shape[0], stored.shape[1]),
        fingerprint=hashlib.sha256(file).hexdigest() if isinstance(file, bytes) else pixel_hash,
        pixel_hash=pixel_hash,
        depth=bits_of(stored),
        highest=float(_without_alpha(stored).max()),
        usual=_usual(_without_alpha(stored)),
        is_gray=is_gray,
        has_more=has_more,
    )


def _usual(values: NDArray[Any]) -> float:
    rows, columns = (max(1, side // _LOOKED_AT) for side in values.shape[:2])
    some = values[::rows, ::columns].ravel()
    most = int(_USUAL * (some.size - 1))
    return float(np.partition(some, most)[most])


def _without_alpha(values: NDArray[Any]) -> NDArray[Any]:
    return values[..., : 1 if values.shape[2] <= 2 else 3]


def _pixel_hash(values: NDArray[np.uint8]) -> tuple[str, bool]:
    """Hashes (H, W, 1 | 2 | 3 | 4); colours that are gray are gray, since gray becomes RGB.

    Returns the hash, and whether they are.
    """
    colours = _without_alpha(values)
    is_gray = _is_gray(colours[::_STEP, ::_STEP]) and _is_gray(colours)
    if is_gray:
        colours = colours[..., 0]
    digest = hashlib.sha256(f"{colours.shape} ".encode())
    digest.update(np.ascontiguousarray(colours).data)
    return digest.hexdigest(), is_gray


def _is_gray(colours: NDArray[np.uint8]) -> bool:
    red, last = colours[..., 0], colours[..., -1]
    return np.array_equal(red, last) and np.array_equal(red, colours[..., colours.shape[2] // 2])


def _unused_range(pictures: Sequence[Surveyed], white: int | None) -> list[str]:
    """Says where 10 or 12 bits lie in 16, of which the full range leaves a few levels."""
    deep = [picture for picture in pictures if picture.depth > 8 and picture.highest > 1]
    if not deep:
        unused = white is not None and pictures
        return (
            [f"data.white {white} does nothing: no picture has more than 8 bits"] if unused else []
        )
    highest = max(picture.highest for picture in deep)
    usual = sorted(picture.usual for picture in deep)[-1 - len(deep) // 10]
    if white is None and usual < _FULL / 4:
        few = highest < _FULL / 4
        likely = next(w for w in _WHITES if w >= (highest if few else usual))
        number = counted(len(deep), "picture")
        found = f"the highest value of {number} with 16 bits is {highest:g} of {_FULL}"
        if not few:
            found = (
                f"nearly all values of {number} with 16 bits are at most {usual:g} of {_FULL}, "
                f"though the highest is {highest:g}"
            )
        return [
            f"{found}, so few of the 256 levels are left that the network sees; if white is "
            f"{likely}, give data.white={likely}"
        ]
    if white is not None and highest > white:
        return [f"the highest value is {highest:g}; above data.white {white} all is white"]
    return []


def _sizes(pictures: Sequence[Surveyed]) -> str:
    sizes = Counter(picture.size for picture in pictures)
    (size, count), *others = sizes.most_common()
    if not others:
        return f"All pictures have {_by(size)} (H x W)"
    smallest, largest = (_by(pick(sizes, key=lambda s: (s[0] * s[1], s))) for pick in (min, max))
    return (
        f"{count} of {len(pictures)} pictures {'has' if count == 1 else 'have'} {_by(size)} "
        f"(H x W); the smallest {smallest}, the largest {largest}{_stretched(pictures)}"
    )


def _stretched(pictures: Sequence[Surveyed]) -> str:
    """Says how many will be stretched, as all are brought to the middle one's proportions."""
    ratios = [height / width for height, width in (picture.size for picture in pictures)]
    middle = float(np.median(ratios))
    count = sum(max(one / middle, middle / one) > MOST_STRETCH for one in ratios)
    return f"; {count} of other proportions {'is' if count == 1 else 'are'} stretched" * bool(count)


def _by(size: tuple[int, int]) -> str:
    return f"{size[0]} x {size[1]}"


def _depths(pictures: Sequence[Surveyed]) -> str:
    depths = Counter(picture.depth for picture in pictures)
    (depth, _), *others = depths.most_common()
    line = f"{depth} bits a channel"
    if others:
        line += "; " + ", ".join(
            f"{counted(count, 'picture has', 'pictures have')} {bits}" for bits, count in others
        )
    if max(depths) > 8:
        highest = max(picture.highest for picture in pictures if picture.depth > 8)
        line += f"; the highest value is {highest:g}" + (" of 65535" if highest > 1 else "")
    if 0 < (gray := sum(picture.is_gray for picture in pictures)) < len(pictures):
        line += f"; {gray} of {len(pictures)} pictures {'is' if gray == 1 else 'are'} gray, "
        line += "the others in colour: both then look good"
    return line
