"""Parts that lie turned: the pose of good pictures, and each picture turned to it.

Good pictures say whether their parts lie turned: then most of what differs between them is an angle
(`study_pose`). `nfbmr.data.rings` finds that angle; a round part without a mark has none.

    N = pictures, H W = the picture in pixels, h w = a map of it,
    R = rings, A = angles of a ring, K = waves along it

An angle grows from the picture's right (x) to its bottom (y). No torch here: inspecting turns, too.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from nfbmr.data.rings import (
    Seen,
    Waves,
    best_angles,
    edge_of,
    rings_of,
    round_about,
    see,
    spectrum_of,
    turned_by,
    unit,
    waves_of,
)

FEWEST = 16
"""Pictures to learn a pose from: two halves, each with eight that its noise averages over."""
MOST = 200
"""Pictures to learn a pose from: more move the mean of them no further."""
FIRST = 24
"""Pictures that show whether parts stand before a plain background at all."""

PLAIN_PICTURES = 0.9
"""Share of the pictures that have to show one part before a plain background; some are cut off or
dirty."""
ONE_POSE = 20.0
"""Degrees: parts that lie within such an arc lie in one pose, and features bear the rest."""

LEAST_AGREEMENT = 0.75
"""Median correlation of turned pictures with a mean that they are no part of. Drawn round parts
without a mark reach 0.4 to 0.6 by the grain of pixels, turned pills and parts with a mark 0.95."""
LEAST_ROUND_ABOUT = 3.5e-4
"""Share of what a part differs from its background that is in the waves which tell an angle. The
grain of pixels makes up to 1.4e-4 on drawn discs and rings of 320 pixels a side (3e-4 of 64), a
mark of a 25th of the part's width 4e-4, one of twice that 2e-3, an oval outline 0.2."""
MOST_LEFT = 0.5
"""Of what turning within `ONE_POSE` leaves unexplained (1 - correlation), turning by any angle may
leave this share at most. For parts in one pose it leaves all of it, whatever angle noise or a
symmetry prefers."""

SEEN = 0.99
"""Share of the good pictures that show a place, once they are turned, for it to count. What comes
in from outside is no part of the product, and would be unusual wherever few pictures have it."""
LEAST_SEEN = 0.25
"""Share of the picture that has to count: with less, parts lie too far from the middle."""

LONG = 1.15
"""Longest by shortest extent, above which the outline alone shows how a part lies."""

_MOST_PARTS = 0.9  # that are spoken of as "nine tenths"
_ROUNDS = 8
_CANDIDATES = 24  # pictures of which the best one begins


@dataclass(frozen=True)
class Turn:
    """How one picture was turned: about the part's centre, which came to the picture's middle."""

    angle: float
    """Degrees in [0, 360) by which the part lay further round than the pose."""
    centre: tuple[float, float]
    """(y, x) of the part in pixels of the picture at `size`; a pixel's middle is at 0.5."""
    size: tuple[int, int]
    """(H, W) of the picture."""
    stretch: float = 1.0
    """Height of a pixel by its width, as the camera saw it."""
    seen: NDArray[np.bool_] | None = field(default=None, repr=False, compare=False)
    """`Pose.seen`."""

    def counts(self) -> NDArray[np.float32] | None:
        """Returns float32 (H, W) of the turned picture: 0 where nothing counts, else 1."""
        return None if self.seen is None else self.seen.astype(np.float32)

    def back(self, turned: NDArray[np.float32]) -> NDArray[np.float32]:
        """Brings a map of the turned picture, float32 (h, w), back to the picture as it lay.

        Returns:
            float32 (h, w) over the picture's frame, bilinear; 0 where the turned picture did not
            reach, so that nothing was judged.
        """
        assert turned.dtype == np.float32, turned.dtype
        return np.array(self._laid_back(Image.fromarray(turned), 0.0))

    def picture_back(
        self, turned: NDArray[np.uint8], fill: tuple[int, int, int]
    ) -> NDArray[np.uint8]:
        """Brings a picture (h, w, 3) in the pose to where this one lay, over its frame.

        Such as that of another part, which then lies as this one does; `fill` is what comes in.
        """
        return np.array(self._laid_back(Image.fromarray(turned), fill))

    def _laid_back(self, turned: Image.Image, fill: float | tuple[int, ...]) -> Image.Image:
        shape = np.array((turned.height, turned.width))
        scale = shape / self.size  # (2,)
        whole = np.linalg.inv(self._onto()) * scale[:, None] / scale[None, :]
        centre = np.array(self.centre) * scale
        return _affine(turned, whole, shape / 2 - whole @ centre, fill)

    def of(self, pixels: NDArray[np.uint8], fill: tuple[int, int, int]) -> NDArray[np.uint8]:
        """Turns a picture (H, W, 3) to the pose; `fill` is what comes in from outside."""
        return np.array(self.moved(Image.fromarray(pixels), fill))

    def moved(self, picture: Image.Image, fill: int | tuple[int, int, int]) -> Image.Image:
        """Turns a picture to the pose, as `of` does."""
        onto, middle = self._onto(), np.array(self.size) / 2
        shift = np.array(self.centre) - onto @ middle
        return _affine(picture, onto, shift, fill)

    def _onto(self) -> NDArray[np.float64]:
        """Returns (2, 2): (y, x) about the turned picture's middle -> about the part's centre."""
        t = np.deg2rad(self.angle)
        turn = np.array([[np.cos(t), np.sin(t)], [-np.sin(t), np.cos(t)]])
        real = np.array([self.stretch, 1.0])
        onto: NDArray[np.float64] = turn * real[None, :] / real[:, None]
        return onto


@dataclass(frozen=True, eq=False)
class Pose:
    """How good parts lie once they are turned."""

    template: NDArray[np.float32]
    """(R, A): their mean along rings, without what is the same all around; norm 1."""
    stretch: float
    """Height of a pixel by its width, as the camera saw it."""
    arc: float
    """Degrees: the smallest arc that nine tenths of the good parts lay in."""
    seen: NDArray[np.bool_] | None = None
    """(H, W) of the turned picture: what good pictures show (`SEEN`), so that it counts; None:
    all of it, as in models from before there was this."""
    ground: tuple[int, int, int] = (0, 0, 0)
    """Red, green, blue of what does not count: the good pictures' median background."""

    def align(self, pixels: NDArray[np.uint8]) -> tuple[NDArray[np.uint8], Turn]:
        """Turns a picture so that its part lies in this pose in the picture's middle.

        A picture in which nothing stands out from the background stays as it is.

        Args:
            pixels: uint8 (H, W, 3) at the model's size.

        Returns:
            uint8 (H, W, 3), filled with the picture's own background where that comes from outside,
            painted over where nothing counts, and how it was turned.
        """
        seen = see(pixels, self.stretch)
        if seen.centre is None:
            height, width = seen.size
            turn = Turn(0.0, (height / 2, width / 2), seen.size, self.stretch, self.seen)
            return self._painted(pixels), turn
        (angle,), _ = best_angles(spectrum_of(seen)[None], self._spectrum)
        turn = Turn(float(angle), seen.centre_in_pixels(), seen.size, self.stretch, self.seen)
        return self._painted(turn.of(pixels, background_of(pixels))), turn

    def _painted(self, pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Returns a turned picture (H, W, 3) in which what does not count is `ground`."""
        if self.seen is None:
            return pixels
        return np.where(self.seen[..., None], pixels, np.array(self.ground, np.uint8))

    @property
    def key(self) -> str:
        """Names all that an aligned picture depends on: 64 hexadecimal digits."""
        told = [self.template.tobytes(), np.float64(self.stretch).tobytes(), _FORMAT]
        if self.seen is not None:
            told += [np.packbits(self.seen).tobytes(), bytes(self.ground)]
        return hashlib.sha256(b"".join(told)).hexdigest()

    def describe(self) -> str:
        """Returns a sentence for the screen and the card."""
        said = (
            "Parts lie turned: each picture is turned to one pose first (nine tenths of the good "
            f"parts lay within {self.arc:.0f} degrees)"
        )
        if self.seen is None:
            return said
        return f"{said}; {100 * self.seen.mean():.0f} % of it counts, what good pictures all show"

    @cached_property
    def _spectrum(self) -> Waves:
        return waves_of(self.template)


_FORMAT = b"1"  # of how a picture is aligned: features of another way are not these


def background_of(pixels: NDArray[np.uint8]) -> tuple[int, int, int]:
    """Returns red, green and blue of a picture (H, W, 3) along its edge: their medians."""
    red, green, blue = np.median(edge_of(pixels), axis=0)
    return round(float(red)), round(float(green)), round(float(blue))


def _affine(
    image: Image.Image,
    onto: NDArray[np.float64],
    shift: NDArray[np.float64],
    fill: float | tuple[int, ...],
) -> Image.Image:
    """Returns a picture of this size whose place (y, x) shows `onto @ (y, x) + shift`."""
    (yy, yx), (xy, xx) = onto
    dy, dx = shift
    return image.transform(
        image.size,
        Image.Transform.AFFINE,
        (xx, xy, dx, yx, yy, dy),
        Image.Resampling.BILINEAR,
        fillcolor=fill,
    )


@dataclass(frozen=True)
class Studied:
    """What good pictures say of the pose."""

    pose: Pose | None
    warning: str | None = None
    """A line where parts are turned and no pose was found."""


def study_pose(pictures: Iterable[NDArray[np.uint8]], stretch: float = 1.0) -> Studied:
    """Finds out whether parts lie turned, and the pose that they are then turned to.

    A pose is found where all of this holds: at least `FEWEST` pictures; in `PLAIN_PICTURES` of
    them one part before a plain background, which the first `FIRST` already have to show; those
    parts are no plain discs (`LEAST_ROUND_ABOUT`); and the pictures of one half, turned, agree with
    the mean of the other half: their median correlation is at least `LEAST_AGREEMENT`, and leaves
    at most `MOST_LEFT` of what is left where no part may be turned out of `ONE_POSE`.

    Args:
        pictures: good ones, uint8 (H, W, 3) each, all of one size; read one at a time.
        stretch: height of a pixel by its width, where the resize has changed the aspect ratio.
    """
    parts: list[Seen] = []
    grounds: list[tuple[int, int, int]] = []
    number = 0
    for number, pixels in enumerate(pictures, start=1):
        seen = see(pixels, stretch)
        grounds.append(background_of(pixels))
        if seen.is_part:
            parts.append(seen)
        if number == FIRST and len(parts) < PLAIN_PICTURES * number:
            return Studied(None)
    if len(parts) < max(FEWEST, PLAIN_PICTURES * number):
        return Studied(None)
    spectra = np.stack([spectrum_of(seen) for seen in parts])
    turned, near = _agreement(spectra, parts)
    has_angle = np.median([round_about(seen) for seen in parts]) >= LEAST_ROUND_ABOUT
    if not has_angle or turned < LEAST_AGREEMENT or 1 - turned > MOST_LEFT * (1 - near):
        in_one_pose = near >= LEAST_AGREEMENT
        return Studied(None, None if in_one_pose else _said_of_outlines(parts))
    template, angles = _settled(spectra, _beginning(spectra, parts))
    red, green, blue = np.median(grounds, axis=0).round().astype(int).tolist()
    shown = _shown(parts, angles, stretch)
    return Studied(
        Pose(rings_of(template), stretch, _arc(angles), shown, ground=(red, green, blue))
    )


def _shown(
    parts: list[Seen], angles: NDArray[np.float64], stretch: float
) -> NDArray[np.bool_] | None:
    """Returns what pictures show once they are turned by angles (N,), (H, W); None: too little."""
    size = parts[0].size
    whole = Image.new("L", (size[1], size[0]), 255)
    times = np.zeros(size, np.int64)
    for part, angle in zip(parts, angles, strict=True):
        turn = Turn(float(angle), part.centre_in_pixels(), size, stretch)
        times += np.asarray(turn.moved(whole, 0)) == 255
    shown = np.asarray(times >= SEEN * len(parts))
    return shown if shown.mean() >= LEAST_SEEN else None


def _said_of_outlines(parts: list[Seen]) -> str | None:
    """Warns where the outlines are long and point in all directions; round ones cannot tell."""
    axes = [seen.axis() for seen in parts]
    long = [angle for angle, length in axes if length >= LONG]
    if len(long) < PLAIN_PICTURES * len(parts):
        return None
    arc = _arc(2 * np.array(long)) / 2  # an axis is the same after half a turn
    if arc <= ONE_POSE:
        return None
    return (
        f"Parts look turned (within {arc:.0f} degrees), but too little is alike on them to tell "
        "the angle: pictures stay as they lie, and small defects may be missed; place parts alike"
    )


# ---- learning


def _beginning(spectra: Waves, parts: list[Seen]) -> Waves:
    """Returns the part (R, K) that most others agree with, laid along the picture's longer side."""
    step = max(1, len(spectra) // _CANDIDATES)
    first = max(
        range(0, len(spectra), step), key=lambda n: float(best_angles(spectra, spectra[n])[1].sum())
    )
    height, width = parts[first].part.shape
    along = parts[first].axis()[0] - (90 if height > width else 0)
    (laid,) = turned_by(spectra[first][None], np.array([along]))
    return np.asarray(laid)


def _settled(
    spectra: Waves, template: Waves, within: float = 180.0
) -> tuple[Waves, NDArray[np.float64]]:
    """Returns the mean (R, K) of parts that are turned to agree with it, and their angles (N,).

    Args:
        spectra: (N, R, K).
        template: (R, K) to begin with.
        within: degrees by which a part may be turned at most.
    """
    angles, _ = best_angles(spectra, template, within)
    for _ in range(_ROUNDS):
        template = unit(turned_by(spectra, angles).mean(axis=0))
        before, (angles, _) = angles, best_angles(spectra, template, within)
        if np.allclose(angles, before, atol=0.1):
            break
    return template, angles


def _agreement(spectra: Waves, parts: list[Seen]) -> tuple[float, float]:
    """Returns the median correlation of pictures with the mean of the half that they are not in.

    Turned by any angle, and turned within `ONE_POSE`.
    """
    turned, near, arc = [], [], ONE_POSE / 2
    for half in (0, 1):
        known, new = spectra[half::2], spectra[1 - half :: 2]
        template, _ = _settled(known, _beginning(known, parts[half::2]))
        turned.append(best_angles(new, template)[1])
        template, _ = _settled(known, unit(known.mean(axis=0)), arc)
        near.append(best_angles(new, template, arc)[1])
    return float(np.median(np.concatenate(turned))), float(np.median(np.concatenate(near)))


def _arc(angles: NDArray[np.float64]) -> float:
    """Returns the smallest arc, in degrees, that holds nine tenths of angles (N,)."""
    ordered = np.sort(angles % 360)
    held = int(np.ceil(_MOST_PARTS * len(ordered)))
    around = np.concatenate([ordered, ordered + 360])
    return float((around[held - 1 : held - 1 + len(ordered)] - ordered).min())
