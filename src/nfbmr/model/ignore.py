"""What a model ignores as a file of its directory: a PNG of the model's size, white where ignored.

No torch here, no pickle.
"""

from __future__ import annotations

from pathlib import Path

from PIL import Image

from nfbmr.data.ignore import Ignored
from nfbmr.data.masks import read_mask
from nfbmr.errors import BundleTamperedError, ImageError


def write_ignored(path: Path, ignored: Ignored) -> None:
    """Writes the mask of what is ignored."""
    Image.fromarray(ignored.mask).save(path, format="PNG")


def read_ignored(path: Path, size: tuple[int, int]) -> Ignored:
    """Reads what `write_ignored` wrote.

    Args:
        path: of the file.
        size: (H, W) of the model.

    Raises:
        BundleTamperedError: it cannot be read, or is of another size.
    """
    try:
        mask = read_mask(path)
    except ImageError as error:
        raise BundleTamperedError(f"{error}; restore the file or fit again") from None
    if mask.shape != size:
        raise BundleTamperedError(
            f"{path} is of {mask.shape[0]} x {mask.shape[1]}, the model of {size[0]} x {size[1]} "
            "(H x W): it is another model's; restore the file or fit again"
        )
    return Ignored(mask)
