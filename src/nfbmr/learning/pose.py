"""The pose that good pictures show, before anything else is learnt from them."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from nfbmr.data.images import AS_STORED, load_image
from nfbmr.data.pose import FEWEST, MOST, Pose, study_pose
from nfbmr.data.survey import Surveyed
from nfbmr.settings.schema import DataSettings
from nfbmr.system.progress import Progress, silent

_log = logging.getLogger(__name__)


def pose_of(
    good: Sequence[Surveyed],
    size: tuple[int, int],
    progress: Progress = silent,
    how: DataSettings = AS_STORED,
) -> Pose | None:
    """Returns what pictures are to be turned to, None where they stay as they lie; and says so.

    Args:
        good: pictures that train, of which `MOST` are looked at, drawn evenly.
        size: (H, W) that they are brought to.
        progress: hears each picture.
        how: pictures are read.

    Raises:
        ImageError: one cannot be read.
    """
    if len(good) < FEWEST:
        return None
    chosen = [good[i] for i in np.linspace(0, len(good) - 1, min(MOST, len(good))).astype(int)]

    def pictures() -> Iterator[NDArray[np.uint8]]:
        for done, one in enumerate(chosen, start=1):
            yield load_image(one.picture, size, how)
            progress("pose", done, len(chosen))

    stretches = [one.size[0] / size[0] / (one.size[1] / size[1]) for one in chosen]
    studied = study_pose(pictures(), float(np.median(stretches)))
    progress("pose", len(chosen), len(chosen))  # a few may have said enough
    if studied.pose is not None:
        _log.info("%s", studied.pose.describe())
    if studied.warning is not None:
        _log.warning("%s", studied.warning)
    return studied.pose
