"""What is known of a fit, and the model card that says it to people. No torch here."""

from __future__ import annotations

from collections.abc import Sequence

from pydantic import BaseModel, ConfigDict, Field

from nfbmr.model.exports import Export
from nfbmr.settings.schema import Settings, Side


class Facts(BaseModel):
    """What `config.json` says besides the settings; read from disk, so checked."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    name: str
    """What the model is called in reports: the data's name."""
    size: tuple[Side, Side] = Field(description="(H, W) in pixels that every image is resized to")
    whole: tuple[Side, Side] | None = None
    """(H, W) that every image is resized to before it is cut into tiles of `size`."""
    weights: str
    """Where the backbone's weights came from."""
    n_train: int = Field(ge=0)
    """Good images that were trained on."""
    n_held_out: int = Field(ge=0)
    """Good images that were held out."""
    trained_on: tuple[str, ...]
    """sha256 of the files that were trained on, to notice them in a test or a calibration."""
    held_out: tuple[str, ...]
    """sha256 of the files that were held out."""
    fit_seconds: float = Field(ge=0)
    """Wall-clock time of the fit, features included."""
    created: str
    """UTC, ISO 8601."""
    commit: str | None
    """Of the program, where it ran from a checkout."""
    versions: dict[str, str]
    """Of Python and the packages that computed."""
    losses: dict[str, float]
    """Last training loss of each stage, per channel."""


def model_card(
    facts: Facts, settings: Settings, threshold: Sequence[str], exports: Sequence[Export]
) -> str:
    """Returns the model card, Markdown: what it learnt from, its threshold, what it needs.

    Args:
        facts: of the fit.
        settings: of the fit.
        threshold: what the calibration says of itself.
        exports: how it runs without torch.
    """
    lines = [
        f"# {_plain(facts.name)}: a defect detector by nfbmr",
        "",
        f"Learnt from {facts.n_train} good pictures; {facts.n_held_out} more were held out and "
        "calibrate it. No defect was seen.",
        "",
        "| | |",
        "|---|---|",
        f"| preset, seed | {settings.preset}, {settings.seed} |",
        *_sizes(facts),
        f"| backbone | {_plain(settings.backbone.name)}, {_plain(facts.weights)} |",
        f"| fitted in | {facts.fit_seconds:.0f} s, {facts.created} |",
        "",
        *threshold,
        "",
        *_runtimes(exports),
        "Use: `nfbmr inspect MODEL PICTURE`, or `nfbmr.load(MODEL).inspect(PICTURE)`.",
        "The threshold changes without retraining: `nfbmr calibrate`.",
        "",
    ]
    return "\n".join(lines)


def _sizes(facts: Facts) -> list[str]:
    height, width = facts.size
    if facts.whole is None:
        return [f"| pictures are resized to | {height} x {width} (H x W) |"]
    return [
        f"| pictures are resized to | {facts.whole[0]} x {facts.whole[1]} (H x W) |",
        f"| and cut into tiles of | {height} x {width} |",
    ]


def _runtimes(exports: Sequence[Export]) -> list[str]:
    if not exports:
        return ["Runs with torch alone: `nfbmr export MODEL` makes a graph that needs none.", ""]
    lines = ["Runs without torch; each graph was compared with torch before it was kept:", ""]
    return [*lines, *(f"- {export.name}: {export.describe()}" for export in exports), ""]


def _plain(text: str) -> str:
    """Keeps a name from being read as Markdown or HTML."""
    return "".join(c if c.isalnum() or c in " ._-+()/" else "_" for c in text)
