"""A part before a plain background, seen small and in rings about its centre.

Turning the part shifts the rings, so that the angle between two pictures is where their rings agree
best: one correlation over all angles at once, by Fourier's theorem along the rings. What is the
same all around says nothing of an angle and is left out, and so is the first wave: it is what the
rings of a round part have where its centre is found a fraction of a pixel aside.

    N = pictures, H W = the picture in pixels, h w = the same small, S = its longer side,
    R = rings, A = angles of a ring, K = waves along it

An angle grows from the picture's right (x) to its bottom (y), in degrees.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray
from PIL import Image

Waves = NDArray[np.complex64]
"""(R, K) of one part, or (N, R, K)."""
_Value = TypeVar("_Value", bound=np.generic)

S = 96
"""Pixels of the longer side at which a part is looked at: enough for an angle to a degree."""
RINGS = S // 2
ANGLES = 360
WAVES = 90
"""Along a ring, at most: finer than four degrees there is more noise than part."""
_FIRST_WAVE = 2
_BLUR = 1.0  # pixels of the small picture: below that, edges show the grain of the pixels

_BORDER = 0.03  # of a side: the ring that is taken for background
_BORDER_PART = 0.1  # of that ring may be part, such as a shadow or a corner that touches it
_PART = (0.02, 0.8)  # of the picture: less tells no angle, more has no background around it
_ONE = 0.8  # of what stands out is in one piece: grain and texture fall into many


@dataclass(frozen=True)
class Seen:
    """One picture, small: h w, the longer of them S, with square pixels."""

    differs: NDArray[np.float32]
    """(h, w): gray minus the background's, a little blurred."""
    part: NDArray[np.float32]
    """(h, w): 0 = background, 1 = part."""
    size: tuple[int, int]
    """(H, W) of the picture."""

    @cached_property
    def centre(self) -> tuple[float, float] | None:
        """(y, x) of the part, a pixel's middle at its number; None where there is none."""
        total = float(self.part.sum(dtype=np.float64))
        if total <= 0:
            return None
        rows, columns = (self.part.sum(axis=axis, dtype=np.float64) for axis in (1, 0))
        y = float(rows @ np.arange(len(rows))) / total
        x = float(columns @ np.arange(len(columns))) / total
        return y, x

    def centre_in_pixels(self) -> tuple[float, float]:
        """Returns (y, x) in pixels of the picture, a pixel's middle at 0.5."""
        assert self.centre is not None
        (h, w), (height, width) = self.part.shape, self.size
        return (self.centre[0] + 0.5) * height / h, (self.centre[1] + 0.5) * width / w

    @cached_property
    def is_part(self) -> bool:
        """Whether it shows one part before a plain background."""
        stands = self.part > 0.5
        if not _PART[0] <= stands.mean() <= _PART[1] or edge_of(stands).mean() > _BORDER_PART:
            return False
        from scipy import ndimage  # starting loads none of it

        pieces, _ = ndimage.label(stands)
        return bool(np.bincount(pieces.ravel())[1:].max() >= _ONE * stands.sum())

    def axis(self) -> tuple[float, float]:
        """Returns the degrees in which the part is longest, and that length by its shortest."""
        assert self.centre is not None
        y, x = (np.arange(n) - c for n, c in zip(self.part.shape, self.centre, strict=True))
        yy, xx = (self.part.sum(axis=a) @ v**2 for a, v in ((1, y), (0, x)))
        xy = y @ self.part @ x
        small, large = np.linalg.eigvalsh(np.array([[xx, xy], [xy, yy]]))
        angle = np.rad2deg(0.5 * np.arctan2(2 * xy, xx - yy))
        return float(angle), float(np.sqrt(large / max(small, 1e-9)))


def see(pixels: NDArray[np.uint8], stretch: float) -> Seen:
    """Looks at a picture, uint8 (H, W, 3), at a small size."""
    from scipy import ndimage

    height, width = pixels.shape[:2]
    scale = S / max(height * stretch, width)
    h, w = max(1, round(height * stretch * scale)), max(1, round(width * scale))
    small = Image.fromarray(pixels).convert("L").resize((w, h), Image.Resampling.BILINEAR)
    gray = np.asarray(small, np.float32)
    edge = edge_of(gray)
    background = np.median(edge)
    spread = 1.5 * np.median(np.abs(edge - background)) + 2  # gray levels; 2 where it is exact
    differs = gray - background
    part = np.clip(np.abs(differs) / (3 * spread) - 1, 0, 1)
    smooth = ndimage.gaussian_filter(differs, _BLUR, mode="nearest")
    return Seen(smooth, part.astype(np.float32), (height, width))


def edge_of(picture: NDArray[_Value]) -> NDArray[_Value]:
    """Returns what lies in the ring along the border of a picture (h, w, ...): (n, ...)."""
    height, width, *rest = picture.shape
    down, across = (max(1, round(_BORDER * side)) for side in (height, width))
    inner = picture[down:-down]
    strips = picture[:down], picture[-down:], inner[:, :across], inner[:, -across:]
    return np.concatenate([strip.reshape(-1, *rest) for strip in strips])


def _places() -> NDArray[np.float64]:
    """Returns (2, R * A): (y, x) of the rings' places about the centre, ring by ring."""
    radius, angle = np.arange(RINGS) + 0.5, 2 * np.pi * np.arange(ANGLES) / ANGLES
    around = np.stack([np.sin(angle), np.cos(angle)])  # (2, A)
    places: NDArray[np.float64] = (radius[None, :, None] * around[:, None, :]).reshape(2, -1)
    return places


_PLACES = _places()
_WEIGHTS = np.sqrt(np.arange(RINGS) + 0.5)[:, None].astype(np.float32)  # area counts, not angle


def _rings(seen: Seen) -> NDArray[np.float32]:
    """Returns (R, A): what a part differs from its background along its rings, weighted by area."""
    from scipy import ndimage

    assert seen.centre is not None
    places = _PLACES + np.array(seen.centre)[:, None]
    found = ndimage.map_coordinates(seen.differs, places, order=1, mode="constant")
    return np.asarray(_WEIGHTS * found.reshape(RINGS, ANGLES), np.float32)


def round_about(seen: Seen) -> float:
    """Returns the share of a part's rings that is in the waves that tell an angle."""
    power = np.abs(np.fft.rfft(_rings(seen), axis=1)[:, : WAVES + 1]) ** 2
    power[:, 1:] *= 2  # each wave stands for its conjugate
    return float(power[:, _FIRST_WAVE:].sum() / power.sum())


def spectrum_of(seen: Seen) -> Waves:
    """Returns the waves (R, K) of a part along its rings, of norm 1; all 0 where it is round."""
    return waves_of(_rings(seen))


def waves_of(rings: NDArray[np.float32]) -> Waves:
    """Returns the waves (R, K) of rings (R, A), of norm 1."""
    waves = np.fft.rfft(rings, axis=1)[:, : WAVES + 1]
    waves[:, :_FIRST_WAVE] = 0
    return unit(waves)


def unit(waves: NDArray[np.complexfloating]) -> Waves:
    """Scales waves so that `correlations` of them with themselves are 1 at most."""
    norm = np.sqrt(2 * (np.abs(waves) ** 2).sum() / ANGLES)  # each wave stands for its conjugate
    return np.asarray(waves / max(float(norm), 1e-9), np.complex64)


def rings_of(waves: Waves) -> NDArray[np.float32]:
    """Returns the rings (R, A) of waves (R, K)."""
    return np.fft.irfft(waves, ANGLES, axis=1).astype(np.float32)


def correlations(spectra: Waves, template: Waves) -> NDArray[np.float64]:
    """Returns (N, A): how far parts (N, R, K), at each angle, agree with a template (R, K)."""
    products = np.einsum("nrk,rk->nk", spectra, template.conj())
    return np.asarray(np.fft.irfft(products, ANGLES, axis=1), np.float64)


def best_angles(
    spectra: Waves, template: Waves, within: float = 180.0
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Returns the angles (N,) in [0, 360) degrees at which parts agree best, and how far (N,).

    Between whole angles, at the top of the parabola through the best and its two neighbours.

    Args:
        spectra: (N, R, K).
        template: (R, K).
        within: degrees to both sides of 0 that are looked at.
    """
    found = correlations(spectra, template)
    apart = np.abs((np.arange(ANGLES) + ANGLES / 2) % ANGLES - ANGLES / 2) * (360 / ANGLES)
    best = np.where(apart <= within, found, -np.inf).argmax(axis=1)
    rows = np.arange(len(found))
    before, top, after = (found[rows, (best + step) % ANGLES] for step in (-1, 0, 1))
    bend = before - 2 * top + after
    is_top = (bend < 0) & (top >= before) & (top >= after)
    offset = np.where(is_top, 0.5 * (before - after) / np.where(is_top, bend, 1), 0.0)
    return (best + offset) % ANGLES * (360 / ANGLES), top


def turned_by(spectra: Waves, angles: NDArray[np.float64]) -> Waves:
    """Turns the parts (N, R, K) back by angles (N,) in degrees."""
    phases = np.exp(1j * np.deg2rad(angles)[:, None] * np.arange(WAVES + 1))
    return np.asarray(spectra * phases[:, None], np.complex64)
