"""The pictures that a report shows: each judged again, small, with what was found in it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from nfbmr.data.images import read_image, resize_image
from nfbmr.data.layouts import Sample
from nfbmr.data.masks import read_masks
from nfbmr.evaluation.report.cards import Picture
from nfbmr.inspection.inspector import Inspector
from nfbmr.inspection.result import Inspection

_THUMBNAIL = 320
_PAIRS = 3  # regions of a picture that stand beside a good part


def pictures_of(inspector: Inspector, samples: Sequence[Sample]) -> Iterator[Picture]:
    """Yields what the report shows of pictures; those that cannot be read are passed over."""
    results = inspector.inspect_many([sample.path for sample in samples])
    pairs = zip(samples, results, strict=True)
    yield from (_picture(s, r, inspector) for s, r in pairs if isinstance(r, Inspection))


def _picture(sample: Sample, result: Inspection, inspector: Inspector) -> Picture:
    image = read_image(sample.path, inspector.settings.data.white)
    share = min(1.0, _THUMBNAIL / max(result.size))
    size = (max(1, round(result.size[0] * share)), max(1, round(result.size[1] * share)))
    mask = None
    if sample.mask is not None:
        full = read_masks(sample.masks).astype(np.uint8) * 255
        mask = resize_image(np.repeat(full[..., None], 3, axis=2), size)[..., 0] > 0
    why = inspector.why(image, result, most=_PAIRS)
    return Picture(
        path_name=sample.path.name,
        defect=sample.defect,
        image=resize_image(image, size),
        heatmap=result.heatmap_at(size),
        mask=mask,
        score=result.score,
        p_value=result.p_value,
        verdict=result.verdict,
        regions=result.regions,
        size=result.size,
        pairs=tuple((one.here, one.there) for one in why),
        labelled=sample.is_labelled,
    )
