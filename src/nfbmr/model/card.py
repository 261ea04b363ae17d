"""The model card: what a model learnt from, its threshold, what it needs. No torch here."""

from __future__ import annotations

from collections.abc import Sequence

from nfbmr.model.exports import Export
from nfbmr.model.facts import Facts
from nfbmr.settings.schema import Settings
from nfbmr.system.words import counted


def model_card(
    facts: Facts,
    settings: Settings,
    threshold: Sequence[str],
    exports: Sequence[Export],
    calibrated_on: Sequence[str] = (),
    n_examples: int = 0,
    also: Sequence[str] = (),
) -> str:
    """Returns the model card, Markdown: what it learnt from, its threshold, what it needs.

    Args:
        facts: of the fit.
        settings: of the fit.
        threshold: what the calibration says of itself.
        exports: how it runs without torch.
        calibrated_on: sha256 of the pixels of the pictures that calibrate it now, where known.
        n_examples: small copies of training pictures that lie in it.
        also: what is said of parts that lie turned, of what is ignored, and of what the fit chose.
    """
    lines = [
        f"# {_plain(facts.name)}: a defect detector by nfbmr",
        "",
        f"Learnt from {facts.n_train} good pictures; {facts.n_held_out} more were held out "
        f"{_calibrated(facts, settings, calibrated_on)}.{_seen(facts)}",
        "",
        "| | |",
        "|---|---|",
        f"| preset, seed | {settings.preset}, {settings.seed} |",
        *_range(facts, settings),
        *_sizes(facts),
        f"| backbone | {_plain(settings.backbone.name)}, {_plain(facts.weights)} |",
        f"| fitted in | {facts.fit_seconds:.0f} s, {facts.created} |",
        "",
        *(line for said in also for line in (f"{said}.", "")),
        *threshold,
        "",
        *_examples(n_examples),
        *_runtimes(exports),
        "Use: `nfbmr inspect MODEL PICTURE`, or `nfbmr.load(MODEL).inspect(PICTURE)`.",
        "The threshold changes without retraining: `nfbmr calibrate`.",
        "",
    ]
    return "\n".join(lines)


def _calibrated(facts: Facts, settings: Settings, calibrated_on: Sequence[str]) -> str:
    """Says of those held out what they are for, and what calibrates now."""
    everyone = facts.everyone(settings)
    of_fit = {*facts.held_out_pixels, *(facts.trained_pixels if everyone else ())}
    what = "of the networks' training, and all of them" if everyone else "and"
    if not calibrated_on or set(calibrated_on) == of_fit:
        return f"{what} calibrate it" + (", each judged without itself" if everyone else "")
    known = len(set(calibrated_on) & of_fit)
    if everyone and known == len(calibrated_on):
        but = len(of_fit) - known
        return (
            f"of the networks' training, and all but {but} calibrate it, each judged without itself"
        )
    others = (
        f"{counted(len(calibrated_on), 'good picture')} of a later calibration "
        f"{'does' if len(calibrated_on) == 1 else 'do'} now"
    )
    return f"{what} calibrated it; {others}" + (f", {known} of them held out" if known else "")


def _seen(facts: Facts) -> str:
    """Says how far it is known that no defect was among them."""
    if facts.labelled is None:
        return ""
    if facts.labelled:
        return " All of them are labelled good: no defect was seen."
    return " Nothing in the data says that they are good: that was taken on trust."


def _examples(count: int) -> list[str]:
    if not count:
        return []
    return [
        f"`examples.zip` holds small copies of {count} of the good pictures, to show a good part "
        "beside what is found. Fit with `--set examples=0` where pictures must not leave with it.",
        "",
    ]


def _range(facts: Facts, settings: Settings) -> list[str]:
    if facts.depth is None or facts.highest is None:
        return []  # a model of an older version
    white = settings.data.white
    scaled = "" if white is None else f", of which {white} is white (`data.white`)"
    return [
        f"| the good pictures have | {facts.depth} bits, highest value {facts.highest:g}{scaled} |"
    ]


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
