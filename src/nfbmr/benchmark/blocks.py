"""The tables of the documents, made of rows: every one is a block of `nfbmr.benchmark.document`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from nfbmr.benchmark import costs, drift, few, gate, rotten, shown, stands, timings
from nfbmr.benchmark.peers import report
from nfbmr.benchmark.peers.catalogue import AT_OUR_SIZE, OURS
from nfbmr.benchmark.tables import markdown
from nfbmr.paper.aggregates import TITLES, Category, over_categories, over_seeds
from nfbmr.paper.published import OTHER_METHODS, paper_figure

Row = dict[str, Any]
Results = dict[str, list[Row]]
"""Name of a file of rows, without `.jsonl` -> its rows."""

_SETS = {
    "solar mono": "ELPV solar cells, mono",
    "solar poly": "ELPV solar cells, poly",
    "magnetic_tile": "Magnetic tile",
    "kolektorsdd": "KolektorSDD",
}
_SHORT = {
    "kolektorsdd": "KolektorSDD",
    "magnetic_tile": "magnetic tile",
    "solar_mono": "solar cells, mono",
}
_MASKED = ("kolektorsdd", "magnetic_tile")
_ABLATION = ("nf-bmr-1", "nf-bmr-2", "nf-bmr-3", "nf-b-pfm", "nf", "nfbmr")
RATES = ("0.01", "0.05")


def _spread(values: Sequence[float | None], digits: int = 1) -> str:
    known = [100 * value for value in values if value is not None]
    if not known:
        return "no masks"
    spread = f" ± {np.std(known, ddof=1):.{digits}f}" if len(known) > 1 else ""
    return f"{np.mean(known):.{digits}f}{spread}"


def measured(results: Results) -> str:
    """Returns the README's table of `fast`, and how many counts of false alarms lie outside."""
    lines, outside, counts = [], 0, 0
    for name, title in _SETS.items():
        found = [row["row"] for row in results["fast"] if row.get("set") == name]
        torch = [row["row"]["torch"] for row in results["deployed"] if row.get("set") == name]
        shares = ", ".join(f"{100 * one['defects_found'] / one['defects']:.0f}" for one in torch)
        raced = (r for r in results["peers"] if r["category"] == name.replace(" ", "_"))
        cells = [
            f"{title} ({next(raced)['n_train']} good)",
            _spread([r["image_auroc"] for r in found]),
        ]
        cells += [_spread([r["aupro"] for r in found]), f"{shares} %"]
        for rate in RATES:
            alarms = [row["alarms"][rate] for row in found]
            low, high = alarms[0]["expected"]
            counts += len(alarms)
            outside += sum(not low <= one["count"] <= high for one in alarms)
            seen = ", ".join(str(one["count"]) for one in alarms)
            mark = "; extrapolated" if alarms[0]["extrapolated"] else ""
            cells.append(f"{seen} of {alarms[0]['n_good']} ({low} to {high}{mark})")
        lines.append(cells)
    head = ["", "image AUROC %", "AUPRO %", "defects found by seed, 1 % false alarms asked"]
    text = markdown([*head, "false alarms, 1 % asked", "5 % asked"], lines)
    return (
        f"{text}\n\nIn brackets the 95 % interval that is stated for the count beforehand; "
        f"{outside} of the {counts} counts lie outside of theirs."
    )


def int8(results: Results) -> str:
    """Returns what 8-bit integers cost, set by set."""
    lines = []
    for name in dict.fromkeys(row["set"] for row in results["deployed"]):
        found = [row["row"] for row in results["deployed"] if row.get("set") == name]
        torch, coarse = ([row[key] for row in found] for key in ("torch", "openvino:int8"))
        auroc = [[one["image_auroc"] for one in kind] for kind in (torch, coarse)]
        less = ", ".join(f"{100 * (b - a):+.2f}" for a, b in zip(*auroc, strict=True))
        good = torch[0]["pictures"] - torch[0]["defects"]
        cells = [name, _spread(auroc[0], 2), _spread(auroc[1], 2), less]
        for key, of in (("defects_found", torch[0]["defects"]), ("false_alarms", good)):
            counts = [", ".join(str(one[key]) for one in kind) for kind in (torch, coarse)]
            cells += [f"{counts[0]} of {of}", counts[1]]
        lines.append(cells)
    head = ["", "image AUROC torch", "int8", "int8 less torch, by seed"]
    head += ["defects found at 1 % asked, torch", "int8", "false alarms, torch", "int8"]
    return markdown(head, lines)


def ablation(results: Results) -> str:
    """Returns Table 5 on other sets, beside the paper's figures."""
    rows = results["ablation"]
    lines = []
    for system in _ABLATION:
        cells = [_title(system), _published(system)]
        for name in _SHORT:
            category = Category(_dataset_of(rows, name), name)
            cells.append(_mean(over_seeds(rows, system, category, "image_auroc")))
        masked = [Category(_dataset_of(rows, name), name) for name in _MASKED]
        cells.append(_mean(over_categories(rows, system, masked, len(masked), "aupro")))
        lines.append(cells)
    head = ["system", "the paper, MVTec AD (published)", *_SHORT.values(), "AUPRO"]
    return markdown(head, lines)


def objects(results: Results) -> str:
    """Returns the systems on two of MVTec AD's categories, beside the published means."""
    rows = results["objects"]
    categories = [Category(_dataset_of(rows, name), name) for name in ("pill", "toothbrush")]
    lines = []
    for system in (*_ABLATION[:5], "pfm", "b-pfm", "mb-pfm", "nfbmr"):
        cells = [_title(system), _published(system)]
        for figure in ("image_auroc", "aupro"):
            cells += [_mean(over_seeds(rows, system, one, figure)) for one in categories]
        lines.append(cells)
    head = ["system", "the paper, mean of MVTec AD (published)", "pill", "toothbrush"]
    return markdown([*head, "AUPRO: pill", "AUPRO: toothbrush"], lines)


def paper_setting(results: Results) -> str:
    """Returns time and AUROC of the preset `paper` with random weights."""
    lines = [
        [
            TITLES[row["system"]],
            f"{row['fit_seconds']:.0f}",
            f"{row['inspect_ms']:.0f}",
            f"{100 * row['image_auroc']:.1f}",
        ]
        for row in results["paper_setting"]
    ]
    return markdown(["system", "fit, s", "a picture, ms", "image AUROC"], lines)


def _title(system: str) -> str:
    return TITLES[system] + (" on NF-BMR, n = 2" if system == "nfbmr" else "")


def _published(system: str) -> str:
    """The mean over MVTec AD of the paper, or else of those whose method it is."""
    found = paper_figure(system, "mvtec", "all", "image_auroc")
    if found is not None:
        return found.text()
    for one in OTHER_METHODS:
        if (one.system, one.group, one.figure) == (system, "all", "image_auroc"):
            return f"{one.text()} (its authors)"
    return "not in the paper"


def _dataset_of(rows: Sequence[Row], category: str) -> str:
    return str(next(row["dataset"] for row in rows if row["category"] == category))


def _mean(found: Any) -> str:
    return f"{found.value:.1f} ± {found.spread:.1f}" if found.spread else f"{found.value:.1f}"


def baselines(results: Results) -> str:
    """Returns the baseline's three forms beside NF-BMR, seed 0."""
    beside = [r for r in results["ablation"] if r["system"] == "nf-bmr-2" and r["seed"] == 0]
    rows = [*results["baselines"], *beside]
    lines = []
    for system in ("pfm", "b-pfm", "mb-pfm", "nf-bmr-2"):
        cells = [TITLES[system] + (", same seed" if system == "nf-bmr-2" else "")]
        for name in _SHORT:
            row = next(r for r in rows if (r["system"], r["category"]) == (system, name))
            figures = [row[key] for key in ("image_auroc", "aupro") if row[key] is not None]
            cells.append(" / ".join(f"{100 * value:.1f}" for value in figures))
        lines.append(cells)
    return markdown(["image AUROC / AUPRO", *_SHORT.values()], lines)


def mapping_curve(results: Results) -> str:
    """Returns the AUROC of eq. 14 against steps and width."""
    steps = (10, 30, 100, 300, 1000)
    lines = [
        [
            title,
            str(width),
            *(f"{100 * _at(results, name, width, s)['auroc_asm']:.1f}" for s in steps),
        ]
        for name, title in _SHORT.items()
        for width in (128, 512)
    ]
    return markdown(["set", "width", "10 steps", *map(str, steps[1:])], lines)


def _at(results: Results, name: str, width: int, steps: int) -> Row:
    wanted = (name, width, steps)
    return next(
        row
        for row in results["mapping_curve"]
        if (row["set"], row["width"], row["steps"]) == wanted
    )


def directions(results: Results) -> str:
    """Returns what source and target error do apart, at width 512."""
    steps = (10, 100, 1000)
    kinds = (
        ("AUROC, source / target error: ", "auroc", 100, 1),
        ("error on held-out good pictures, per channel: ", "held_out", 1, 2),
    )
    lines = []
    for label, key, times, digits in kinds:
        for name, title in _SHORT.items():
            rows = [_at(results, name, 512, s) for s in steps]
            pairs = [[times * row[f"{key}_{one}"] for one in ("source", "target")] for row in rows]
            cells = [f"{a:.{digits}f} / {b:.{digits}f}" for a, b in pairs]
            lines.append([(label if name == "kolektorsdd" else "") + title, *cells])
    return markdown(["", "10 steps", "100", "1000"], lines)


def variants(
    results: Results, file: str, columns: Sequence[tuple[str, str, str]], least: int = 3
) -> str:
    """Returns variants of the recipe side by side: mean and spread over the seeds.

    Args:
        results: of all files.
        file: of `nfbmr.benchmark.variants`.
        columns: part of a row, key in it, head; in percent, but for likelihoods (nats).
        least: seeds without which nothing is said.
    """
    rows = results[file]
    names = list(dict.fromkeys(row["set"] for row in rows))
    lines = []
    for variant in dict.fromkeys(row["variant"] for row in rows):
        cells = [variant]
        for part, key, _ in columns:
            for name in names:
                found = [r[part][key] for r in rows if (r["variant"], r["set"]) == (variant, name)]
                cells.append(_of_variant(found, key) if len(found) >= least else "-")
        lines.append(cells)
    heads = [f"{head}: {name}" for _, _, head in columns for name in names]
    return markdown(["", *heads], lines)


def _of_variant(found: Sequence[float | None], key: str) -> str:
    if key != "likelihood":
        return _spread(found, 2)
    return " / ".join(f"{value:.0f}" for value in found if value is not None)


_TOLD = ("good", "separation", "damaged good told, %")
_AUROC = ("test", "image_auroc", "image AUROC %")
_AUPRO = ("test", "aupro", "AUPRO %")
_OF_TILES = (
    _TOLD,
    ("test", "recall_with_look", "defects not passed, %"),
    ("test", "good_with_look", "good not passed, %"),
    _AUROC,
)
_LIKELIHOOD = ("good", "likelihood", "log-likelihood of held-out good ones, by seed")


_OF_JUDGES = (
    ("image_auroc", "image AUROC"),
    ("aupro", "AUPRO"),
    ("recall", "called defects"),
    ("recall_with_look", "not passed as good"),
    ("false_alarm_rate_observed", "good called defects"),
    ("good_with_look", "good not passed"),
    ("pointed", "highest point at the mask"),
    ("pointed_inside", "in it"),
    ("touched", "regions at the mask"),
)
"""Of the table of the present recipe: key of the test, head; all in percent."""


def judges(rows: Sequence[Row]) -> str:
    """Returns what a recipe has on each set, all seeds that there are, of rows of variants."""
    lines = []
    for name in dict.fromkeys(row["set"] for row in rows):
        of_set = [row for row in rows if row["set"] == name]
        cells = [name, str(len(of_set))]
        tests = [row["test"] for row in of_set]
        cells += [
            _spread([test[key] for test in tests]) if all(key in test for test in tests) else "-"
            for key, _ in _OF_JUDGES
        ]
        lines.append(cells)
    return markdown(["", "seeds", *(f"{head}, %" for _, head in _OF_JUDGES)], lines)


_RACED = {"tiles": "magnetic_tile", "mono": "solar_mono", "poly": "solar_poly"} | {
    name: name for name in ("kolektorsdd", "pill", "toothbrush")
}
"""Name of a set in the rows of the recipe -> in those of the race."""


def race(results: Results) -> str:
    """Returns the ranks of the present recipe among peers at their documented sizes."""
    rows = [
        {"system": OURS, "category": _RACED[row["set"]], "weights": ["embedded"], **row["test"]}
        for row in results["judges"]
        if row["set"] in _RACED
    ]
    rows += [
        row
        for row in (*results["peers"], *results["peers_parts"])
        if row["system"] != OURS and not row["system"].endswith(AT_OUR_SIZE)
    ]
    return "\n".join(report.ranks(rows, key) for key in report.RANKED).rstrip()


BLOCKS: dict[str, Callable[[Results], str]] = {
    "measured": measured,
    "int8": int8,
    "peers": lambda results: report.tables(results["peers"]).rstrip(),
    "race": race,
    "shown": lambda results: shown.table(results["shown"]),
    "peers-parts": lambda results: report.tables(results["peers_parts"]).rstrip(),
    "ablation": ablation,
    "baselines": baselines,
    "objects": objects,
    "paper-setting": paper_setting,
    "gate": lambda results: gate.table(results["gate"]).rstrip(),
    "kept": lambda results: variants(results, "kept", (_TOLD, _AUROC)),
    "recipe": lambda results: variants(results, "recipe", (_TOLD, _AUROC, _AUPRO)),
    "rims": lambda results: variants(results, "rims", (_TOLD, _AUROC, _AUPRO), least=1),
    "few-steps": lambda results: variants(results, "steps", (_LIKELIHOOD, _AUROC), least=1),
    "tiles80": lambda results: variants(results, "tiles80", _OF_TILES, least=1),
    "judges": lambda results: judges(results["judges"]),
    "judges-float32": lambda results: judges(results["judges_float32"]),
    "accurate": lambda results: judges(results["accurate"]),
    "rotten": lambda results: rotten.table(results["rotten"]).rstrip(),
    "mapping-curve": mapping_curve,
    "directions": directions,
    "drift": lambda results: drift.tables(results["drift"]),
    "few-drawn": lambda results: few.drawn_table(results["few"]).rstrip(),
    "fleet-archives": costs.archives,
    "fleet-judging": costs.judging,
    "fleet-saturation": costs.saturation,
    "fleet-decoding": costs.decoding,
    "fleet-plant": costs.plant,
    "station": lambda results: stands.table(results["station"]),
    "few-sets": lambda results: few.sets_table(results["few"]).rstrip(),
    "reading": lambda results: timings.reading(results["reading"]),
    "live": lambda results: timings.live(results["live"]),
}
"""Name of a block -> what makes its text of all rows."""
