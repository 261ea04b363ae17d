"""Inspects pictures with an nfbmr model, numpy, Pillow and ONNX Runtime: no nfbmr, no torch.

    python onnx_alone.py MODEL PICTURE...

Prints verdict, score and p-value of each picture, as `nfbmr inspect` does. For models without
tiles, pose and ignored areas. The same few lines serve in C++ or C#: resize, run the graph, reduce,
standardise, join. Large JPEGs are read whole here, where nfbmr may decode them smaller
(`data.reading`), which moves scores by rounding.
"""

import json
import sys
from pathlib import Path

import numpy as np
import onnxruntime
from PIL import Image, ImageOps

MAPS = [
    "source",
    "target",
    "likelihood",
    "norm",
    "distance",
    "residual",
    "fine",
    "finest",
]  # graph's axis 1
FINE = ["residual", "fine", "finest"]  # of a judge of their own
FUSIONS = ["mean", "any", "squares"]


def statistics(values, scoring):
    """Reduces the positions (P,) of one map to a number for each statistic."""
    top = max(1, round(scoring["top_share"] * len(values)))
    found = {"max": values.max(), "top": np.sort(values)[-top:].mean(), "mean": values.mean()}
    return [found[name] for name in scoring["statistics"]]


def calm_rims(maps, rims):
    """Brings rings of cells along the edge of maps (K, H, W) to the scale of the inside."""
    down, across = (np.minimum(np.arange(n), np.arange(n)[::-1]) for n in maps.shape[1:])
    ring = np.minimum(down[:, None], across[None, :])
    for name, (mean, std) in rims.items():
        own = np.minimum(ring, len(mean) - 1)
        gain = std[-1] / np.array(std)
        place, shift = MAPS.index(name), mean[-1] - gain * mean
        maps[place] = maps[place] * gain[own] + shift[own]
    return maps


def score_of(standardised, scoring, calibration):
    """Fuses standardised statistics (M,) to a score."""
    if scoring["fusion"] == "mean":
        return standardised.mean()
    names = np.repeat(scoring["maps"], len(scoring["statistics"]))
    said = [standardised[np.isin(names, FINE) == fine] for fine in (False, True)]
    said = np.array([values.mean() for values in said if len(values)])
    said = (said - calibration["judge_mean"]) / calibration["judge_std"]
    if scoring["fusion"] == "any":
        raw = said.max()
    else:
        raw = np.sqrt(np.square(np.maximum(said, 0)).mean()) + 0.1 * said.mean()
    linear = (raw - calibration["zero"]) / (calibration["one"] - calibration["zero"])
    return 1 + np.log(linear) if linear > 1 else linear


def main(model, *pictures):
    config = json.loads((Path(model) / "config.json").read_text())
    scoring, (height, width) = config["settings"]["scoring"], config["facts"]["size"]
    if config["facts"]["whole"] or "asm" in scoring["maps"]:
        sys.exit("this example takes no models with tiles, nor of the preset paper")
    if scoring["fusion"] not in FUSIONS:
        sys.exit(f"this example knows the fusions {', '.join(FUSIONS)}, not {scoring['fusion']}")
    if any((Path(model) / part).exists() for part in ("pose.safetensors", "ignore.png")):
        sys.exit("this example takes no models with a pose or ignored areas")
    calibration = json.loads((Path(model) / "calibration.json").read_text())
    mean, std = (np.array(calibration[f"statistic_{name}"]) for name in ("mean", "std"))
    good = np.array(calibration["scores"])
    session = onnxruntime.InferenceSession(Path(model) / "model.onnx")
    for picture in pictures:
        image = ImageOps.exif_transpose(Image.open(picture))
        if image.mode not in ("L", "RGB", "RGBA", "P"):
            sys.exit(f"{picture}: mode {image.mode}; this example takes 8 bits a channel")
        image = image.convert("RGB")
        pixels = np.asarray(image.resize((width, height), Image.Resampling.BILINEAR))
        (maps,) = session.run(None, {"pixels": pixels[None]})
        if not np.isfinite(maps).all():
            sys.exit(f"{picture}: the graph gave values that are not finite")
        flat = calm_rims(maps[0], calibration.get("rims", {})).reshape(len(maps[0]), -1)
        found = [statistics(flat[MAPS.index(name)], scoring) for name in scoring["maps"]]
        score = score_of((np.concatenate(found) - mean) / std, scoring, calibration)
        p_value = (np.sum(good >= score) + 1) / (len(good) + 1)
        verdict = "DEFECT" if score > calibration["threshold"] else "good"
        print(f"{verdict:<8} {score:>10.4f} {p_value:>8.4f}  {picture}")


if __name__ == "__main__":
    main(*sys.argv[1:])
