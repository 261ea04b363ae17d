"""How often the gate of int8 and bf16 lets a model pass that is as good, and one that is worse.

    python -m nfbmr.benchmark.gate --data pill=DIR --data NAME=PATH -o docs/results/gate.jsonl

On each set a model is fitted with `fast` made small, and rivals are learnt again with the same
split, as an export does: in 8-bit integers, from another seed, and worse ones on purpose; some are
single precision with noise on its scores. Their test AUROC says how good they are. Then the gate is
asked many times, each time about other good pictures, drawn from what no model has learnt from:
held-out pictures and good ones of the test. The strength of the damage is searched once for a set.

Scores are kept in `--work` and used again: after a change of what computes them, name another.

Shapes: P = good pictures that are drawn from, J = damaged copies of each that are drawn from,
n m = of these in a draw, T = test pictures.
"""

from __future__ import annotations

import argparse
import itertools
import json
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from nfbmr.data.images import ImageInput, load_image
from nfbmr.data.layouts import DataSet, read_data
from nfbmr.data.survey import Survey
from nfbmr.deployment.beside import EACH
from nfbmr.deployment.damage import damaged_copies, fitting_strength
from nfbmr.deployment.relearn import relearn
from nfbmr.deployment.separation import ASKED, FEWEST, Scores, compare
from nfbmr.errors import NfbmrError
from nfbmr.evaluation.metrics import image_auroc
from nfbmr.features.cache import FeatureCache
from nfbmr.inspection.inspector import Inspector
from nfbmr.learning.learn import Job, learn, look_over
from nfbmr.learning.plan import Plan, plan_fit
from nfbmr.learning.stages import split_held_out
from nfbmr.model.bundle import Bundle
from nfbmr.networks.detector import Detector
from nfbmr.runtimes.choose import open_graph
from nfbmr.runtimes.torch import TorchRuntime
from nfbmr.scoring.calibration import image_scores
from nfbmr.scoring.maps import Floats
from nfbmr.settings.changes import settings_hash, with_changes
from nfbmr.settings.presets import preset
from nfbmr.settings.schema import Settings
from nfbmr.settings.text import parse_pairs
from nfbmr.system import provenance

Row = dict[str, Any]

SINGLE = "single precision"
_MOST_POOL = 100  # P at most
_POOL_EACH = EACH  # J
_SEARCH_EACH, _SEARCH_GOOD = 4, 40
_BATCH = 8
_FEW_STEPS = 10  # of a flow that has learnt too little
_SMALL: Row = {
    "size": [160, 160],
    "pose": "off",
    "flow": {"hidden": 128},
    "stage_one": {"least_steps": 100, "most_steps": 100},
    "calibration": {"everyone": False},  # what is held out is to be as new as the test's pictures
}


@dataclass(frozen=True, kw_only=True)
class Table:
    """What one model says of a set."""

    good: Floats
    """(P,)"""
    copies: Floats
    """(P, J)"""
    test: Floats
    """(T,)"""

    def drawn(self, pictures: np.ndarray[Any, Any], copies: np.ndarray[Any, Any]) -> Scores:
        """Returns the scores of one draw: of pictures (n,), and of copies (n, m) of them."""
        return Scores(good=self.good[pictures], copies=self.copies[pictures[:, None], copies])


def recipe(changes: Row) -> Settings:
    """Returns `fast` made small, with changes: the gate is measured here, not the recipe."""
    return with_changes(with_changes(preset("fast"), _SMALL), changes)


@dataclass(frozen=True, kw_only=True)
class Fits:
    """A set and how models are learnt from it, all with the same split."""

    found: DataSet
    good: Survey
    plan: Plan
    cache: FeatureCache
    work: Path

    @classmethod
    def of(cls, data: Path, work: Path) -> Fits:
        """Looks at a set; `work` is a folder for its features, checkpoints and scores."""
        found = read_data(data)
        good = look_over(found.name, found.train_good)
        plan = plan_fit(good, recipe({}))
        _, held_out = split_held_out(len(good.pictures), plan.n_held_out, recipe({}).seed)
        plan = replace(plan, held_out=tuple(held_out.tolist()))
        work.mkdir(parents=True, exist_ok=True)
        cache = FeatureCache(work / "cache")
        return cls(found=found, good=good, plan=plan, cache=cache, work=work)

    @cached_property
    def single(self) -> Bundle:
        """In single precision."""
        return self.learnt({})

    @property
    def pool(self) -> list[ImageInput]:
        """Good pictures that nothing was learnt from, the held-out ones first."""
        held_out = [self.good.pictures[i].picture for i in self.plan.held_out or ()]
        test = [sample.path for sample in self.found.test if not sample.is_defect]
        return [*held_out, *test][:_MOST_POOL]

    def learnt(self, changes: Row) -> Bundle:
        """Learns the recipe with changed settings."""
        settings = recipe(changes)
        job = Job(
            settings=settings,
            work=self.work / f"{settings_hash(settings)}-{settings.seed}",
            device=torch.device("cpu"),
            cache=self.cache,
        )
        return learn(self.good, self.plan, job)


def _in_torch(bundle: Bundle) -> Inspector:
    return Inspector(bundle, TorchRuntime(bundle, "cpu", 1))


def _eight_bits(fits: Fits) -> Inspector:
    detector = TorchRuntime(fits.single, "cpu", 1).detector
    with TemporaryDirectory(prefix="int8-", dir=fits.work) as made:
        done = relearn(fits.single, detector, fits.good, "openvino", "int8", Path(made), threads=1)
        return Inspector(done.bundle, open_graph("openvino", "int8", done.graph, 1))


RIVALS: dict[str, Callable[[Fits], Inspector]] = {
    SINGLE: lambda fits: _in_torch(fits.single),
    "int8": _eight_bits,
    "another seed": lambda fits: _in_torch(fits.learnt({"seed": 1})),
    f"flow of {_FEW_STEPS} steps": lambda fits: _in_torch(
        fits.learnt({"stage_one": {"least_steps": _FEW_STEPS, "most_steps": _FEW_STEPS}})
    ),
}
"""What is compared with single precision, and how each is learnt."""

FINE = (SINGLE, "another seed", f"flow of {_FEW_STEPS} steps")
"""Those behind the same SNN."""

NOISY = {f"noise of {share:g} on the scores": share for share in (0.1, 1.0)}
"""Single precision with noise on each score; a share of the spread of good ones."""


def tables(fits: Fits, rivals: Sequence[str]) -> tuple[float, dict[str, Table]]:
    """Returns the strength that tests single precision, and what each model says there.

    Args:
        fits: of a set.
        rivals: of `RIVALS`, `SINGLE` among them.
    """
    kept = {name: fits.work / f"{name.replace(' ', '_')}.npz" for name in rivals}
    at = fits.work / "strength.json"
    if not at.is_file():
        at.write_text(json.dumps(_searched(RIVALS[SINGLE](fits), fits.pool)))
    strength = float(json.loads(at.read_text()))
    missing = [name for name in rivals if not kept[name].is_file()]
    together = [name for name in missing if name in FINE]
    for group in [together, *([name] for name in missing if name not in FINE)]:
        models = [RIVALS[name](fits) for name in group]
        for name, said in zip(group, _said(models, fits, strength), strict=True):
            np.savez(kept[name], **asdict(said))
    found: dict[str, Table] = {}
    for name, path in kept.items():
        with np.load(path) as values:
            found[name] = Table(**values)
    return strength, found


def _searched(single: Inspector, pool: Sequence[ImageInput]) -> float:
    some = pool[:_SEARCH_GOOD]
    good, how = single.scores(some), single.settings.data

    def separation_at(strength: float) -> float:
        copies = damaged_copies(some, single.size, strength=strength, each=_SEARCH_EACH, how=how)
        return Scores(good=good, copies=single.scores(copies).reshape(len(some), -1)).separation

    return fitting_strength(separation_at, sum(ASKED) / 2)


def _said(models: Sequence[Inspector], fits: Fits, strength: float) -> list[Table]:
    """Asks models about a set; several are those behind one SNN in torch."""
    if not models:
        return []
    pool, size, how = fits.pool, models[0].size, models[0].settings.data
    copies = damaged_copies(pool, size, strength=strength, each=_POOL_EACH, how=how)
    parts = [
        _scores(models, pictures)
        for pictures in (
            (load_image(picture, size, how) for picture in pool),
            copies,
            (load_image(sample.path, size, how) for sample in fits.found.test),
        )
    ]
    return [
        Table(good=good, copies=copies.reshape(len(pool), _POOL_EACH), test=test)
        for good, copies, test in zip(*parts, strict=True)
    ]


def _scores(models: Sequence[Inspector], pictures: Iterable[NDArray[np.uint8]]) -> list[Floats]:
    """Returns the scores of each model; several share what SNN gives."""
    if len(models) == 1:
        return [models[0].scores(pictures)]
    found: list[list[Floats]] = [[] for _ in models]
    detectors = [_detector(model) for model in models]
    left = iter(pictures)
    while batch := list(itertools.islice(left, _BATCH)):
        with torch.inference_mode():
            y = detectors[0].source(torch.from_numpy(np.stack(batch))).permute(0, 2, 3, 1)
            maps = [detector.maps(y).numpy() for detector in detectors]
        for scores, model, raw in zip(found, models, maps, strict=True):
            scores.append(image_scores(raw, model.settings.scoring, model.calibration))
    return [np.concatenate(scores) for scores in found]


def _detector(model: Inspector) -> Detector:
    assert isinstance(model.runtime, TorchRuntime)
    return model.runtime.detector


def noisy(single: Table, share: float) -> Table:
    """Returns single precision's scores with noise, a share of the spread of good ones."""
    rng = np.random.default_rng(0)
    spread = share * single.good.std()
    good, copies, test = (
        scores + spread * rng.normal(size=scores.shape)
        for scores in (single.good, single.copies, single.test)
    )
    return Table(good=good, copies=copies, test=test)


def asked(single: Table, rival: Table, n: int, draws: int) -> Row:
    """Asks the gate many times about n pictures; returns what it said.

    Args:
        single: in single precision.
        rival: of the model beside it.
        n: good pictures in a draw, P at most.
        draws: times.
    """
    said = []
    for draw in range(draws):
        rng = np.random.default_rng([draw, n])
        pictures = rng.choice(len(single.good), n, replace=False)
        copies = rng.permuted(np.tile(np.arange(_POOL_EACH), (n, 1)), axis=1)[:, :EACH]
        one, other = (model.drawn(pictures, copies) for model in (single, rival))
        said.append(compare(one, other, draw))
    return {
        "good": n,
        "draws": draws,
        "refused": sum(one.worse for one in said),
        "certified": sum(one.certified for one in said),
        "separated": float(np.mean([one.separated for one in said])),
        "separates": float(np.mean([one.separates for one in said])),
        "half_width": float(
            np.mean([one.most_loss - (one.separated - one.separates) for one in said])
        ),
        "ranks": float(np.mean([one.ranks for one in said])),
    }


def measure(name: str, data: Path, work: Path, rivals: Sequence[str], draws: int) -> Iterator[Row]:
    """Yields a row for each rival and number of good pictures: all that are held out, and few."""
    fits = Fits.of(data, work)
    strength, found = tables(fits, [SINGLE, *(name for name in rivals if name not in NOISY)])
    found |= {name: noisy(found[SINGLE], NOISY[name]) for name in rivals if name in NOISY}
    is_defect = np.array([sample.is_defect for sample in fits.found.test])
    auroc = {model: image_auroc(table.test, is_defect) for model, table in found.items()}
    pool = len(found[SINGLE].good)
    for rival in rivals:
        for n in sorted({min(FEWEST, pool), min(fits.plan.n_held_out, pool // 2)}):
            yield {
                "set": name,
                "rival": rival,
                "single_auroc": auroc[SINGLE],
                "rival_auroc": auroc[rival],
                "strength": strength,
                "pool": pool,
                **asked(found[SINGLE], found[rival], n, draws),
                "settings_hash": settings_hash(recipe({})),
                "commit": provenance.commit(),
            }


def table(rows: Sequence[Row]) -> str:
    """Returns the figures as Markdown."""
    lines = [
        "| set | rival | image AUROC, single | rival | good pictures | told apart, single | rival "
        "| rank correlation | refused | certified |",
        "|---|---|---:|---:|---:|---:|---:|---:|---:|---:|",
    ]
    for row in rows:
        shares = [100 * row[key] for key in ("single_auroc", "rival_auroc")]
        told = [100 * row[key] for key in ("separated", "separates")]
        cells = [
            *(f"{share:.1f}" for share in shares),
            str(row["good"]),
            *(f"{share:.1f}" for share in told),
            f"{row['ranks']:.3f}",
            f"{row['refused']} of {row['draws']}",
            f"{row['certified']} of {row['draws']}",
        ]
        lines.append(f"| {row['set']} | {row['rival']} | " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def main() -> None:
    """Parses the command line, measures, and prints the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", action="append", required=True, metavar="NAME=PATH")
    rivals = [*[*RIVALS][1:], *NOISY]
    parser.add_argument("--rivals", nargs="+", choices=rivals, default=rivals)
    parser.add_argument("--draws", type=int, default=100)
    parser.add_argument("--work", type=Path, default=Path("out/gate"))
    parser.add_argument("-o", "--out", type=Path, default=Path("out/gate.jsonl"))
    arguments = parser.parse_args()
    rows: list[Row] = []
    try:
        for name, data in parse_pairs("--data", arguments.data):
            work = arguments.work / name
            rows.extend(measure(name, Path(data), work, arguments.rivals, arguments.draws))
    except NfbmrError as error:
        parser.error(str(error))
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    with arguments.out.open("w", encoding="utf-8") as stream:
        stream.writelines(json.dumps(row) + "\n" for row in rows)
    sys.stdout.write(table(rows))


if __name__ == "__main__":
    main()
