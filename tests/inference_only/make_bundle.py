"""Fits a small model where torch is, exports it, and writes down what torch says of pictures.

python tests/inference_only/make_bundle.py FOLDER
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
from PIL import Image

import nfbmr
from nfbmr.settings.changes import with_changes
from nfbmr.settings.presets import preset

CHANGES = {
    "size": [64, 64],
    "backbone": {
        "stages": [3],
        "scales": [0.5],
        "scale_stages": [[3, 2]],
        "detail": 2,
        "finest": 1,
    },
    "flow": {"hidden": 16, "blocks": 2},
    "gaussian": {"rank": 8},
    "subspace": {"rank": 4},
    "stage_one": {"steps": 60, "batch": 64},
    "calibration": {"false_alarm_rate": 0.2},
}


def draw(number: int, *, defect: bool) -> Image.Image:
    """Draws a striped part with noise; a defect is a dark spot."""
    rng = np.random.default_rng(number)
    stripes = 110 + 40 * np.sin(np.arange(80) / 6)
    picture = np.tile(stripes, (80, 1)) + rng.normal(0, 4, (80, 80))
    if defect:
        picture[30:50, 30:50] = 5
    return Image.fromarray(picture.clip(0, 255).astype(np.uint8)).convert("RGB")


def main(folder: Path) -> None:
    """Writes `good/`, `model/`, `pictures/` and `said.json` to an empty folder."""
    for name in ("good", "pictures"):
        (folder / name).mkdir(parents=True)
    for number in range(24):
        draw(number, defect=False).save(folder / "good" / f"{number:02}.png")
    for number in range(100, 112):
        draw(number, defect=number % 2 == 1).save(folder / "pictures" / f"{number}.png")
    settings = with_changes(preset("fast"), CHANGES)
    nfbmr.fit(folder / "good", folder / "model", settings=settings, device="cpu")
    inspector = nfbmr.load(folder / "model", runtime="torch")
    said = []
    for path in sorted((folder / "pictures").iterdir()):
        found = inspector.inspect(path)
        said.append(
            {
                "name": path.name,
                "score": found.score,
                "p_value": found.p_value,
                "is_defect": found.is_defect,
            }
        )
    (folder / "said.json").write_text(json.dumps(said))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
