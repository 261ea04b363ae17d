"""Variants of the recipe on sets and seeds: `python -m nfbmr.benchmark.variants FILE.toml`.

    preset = "fast"                                  # what the variants start from
    seeds = [0, 1, 2]
    good = 25                                        # learn from so many at most, of all over a set

    [sets]                                           # name = data, relative to the file
    tiles = "../data/magnetic_tile"

    [base]                                           # changes that all of them share, if any
    examples = 0

    [variants]                                       # name = changes, as `--set` takes them
    fast = {}
    "no dropout" = { flow = { dropout = 0.0 } }

Each row is a fit in a process of its own. It says two things apart: what good pictures say, by
which a variant is chosen (how likely held-out ones are, and how well they are told from copies of
them that are damaged on purpose), and what the labelled test says, which is kept in the rows and
shown with `--test`, once the choice is made. Likelihoods compare variants on the same features
alone: those of other stages, scales or backbones are densities in other spaces.
A finished row is not computed again while settings, pictures and commit are the same.
With `--share` the variants of one set and seed share features and whatever they learn alike, so
that variants of the scoring cost next to nothing; such a row tells no time of a fit.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import shutil
import sys
import tempfile
import tomllib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from nfbmr.benchmark.child import Row, do_job, in_child
from nfbmr.benchmark.figures import kept_rows, tested
from nfbmr.data.layouts import Sample, read_data
from nfbmr.data.survey import Survey, survey
from nfbmr.errors import DataError, NfbmrError, SettingsError
from nfbmr.settings.changes import from_dict, settings_hash, to_dict, with_changes
from nfbmr.settings.presets import preset
from nfbmr.settings.schema import Settings
from nfbmr.settings.text import parse_pairs
from nfbmr.system import provenance
from nfbmr.system.files import written_beside

if TYPE_CHECKING:
    from nfbmr.inspection.inspector import Inspector
    from nfbmr.scoring.maps import Floats, Maps

_MODULE = "nfbmr.benchmark.variants"
_DAMAGED = 64  # pictures damaged on purpose, at least
_COLUMNS = (
    ("good", "separation", "damaged good, %", 100),
    ("good", "likelihood", "held out, nats", 1),
    ("test", "fit_seconds", "fit, s", 1),
    ("test", "inspect_ms", "picture, ms", 1),
)
"""Of the table: part of the row, key, head, factor."""
_TESTED = (("test", "image_auroc", "image AUROC", 100), ("test", "aupro", "AUPRO", 100))
"""Shown when they are asked for, once the choice is made."""


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What a file asks for."""

    sets: dict[str, Path]
    variants: dict[str, Settings]
    seeds: tuple[int, ...]
    device: str = "auto"
    good: int | None = None
    """Good pictures to learn from, at most."""

    def rows(self) -> Iterator[tuple[str, str, int]]:
        """Yields variant, set and seed: all variants of a set and seed side by side."""
        for seed in self.seeds:
            for name in self.sets:
                for variant in self.variants:
                    yield variant, name, seed


def read_plan(path: Path, sets: dict[str, Path] | None = None, device: str = "auto") -> Plan:
    """Reads a file as the module's docstring shows it.

    Args:
        path: the file.
        sets: name -> data, instead of the file's.
        device: `auto`, `cpu`, `cuda`, ...

    Raises:
        DataError: it cannot be read, or a set is not there.
        SettingsError: it holds other things, or a setting is unknown or out of range.
    """
    try:
        found: dict[str, Any] = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise DataError(f"{path}: cannot be read as TOML ({error}); mend the file") from None
    if sets:
        found["sets"] = {name: place.absolute() for name, place in sets.items()}
    strange = sorted(set(found) - {"preset", "seeds", "good", "sets", "base", "variants"})
    seeds, good = found.get("seeds", [0, 1, 2]), found.get("good")
    tables = [found.get(name) for name in ("sets", "variants")]
    if strange or not all(isinstance(one, dict) and one for one in tables):
        raise SettingsError(
            f"{path}: found {', '.join(strange) or 'no sets or no variants'}; expected preset, "
            "seeds, good, [base], and the tables [sets] and [variants]"
        )
    if not isinstance(seeds, list) or not seeds or not all(type(s) is int for s in seeds):
        raise SettingsError(f"{path}: seeds {seeds}: expected whole numbers, such as [0, 1, 2]")
    if good is not None and (type(good) is not int or good < 2):
        raise SettingsError(f"{path}: good {good!r}: expected a number of pictures, at least 2")
    places = {str(name): path.parent / str(place) for name, place in found["sets"].items()}
    if absent := [place for place in places.values() if not place.exists()]:
        raise DataError(
            f"{path}: no data at {', '.join(map(str, absent))}; mend it, or give --data"
        )
    base = _base(path, found)
    variants = {}
    for name, changes in found["variants"].items():
        if not isinstance(changes, dict) or {"preset", "seed"} & set(changes):
            raise SettingsError(
                f"{path}, variant '{name}': found {changes!r}; expected a table of settings other "
                "than preset and seed, which stand above all of them"
            )
        try:
            variants[str(name)] = with_changes(base, changes)
        except SettingsError as error:
            raise SettingsError(f"{path}, variant '{name}': {error}") from None
    return Plan(sets=places, variants=variants, seeds=tuple(seeds), device=device, good=good)


def _base(path: Path, found: dict[str, Any]) -> Settings:
    """Returns the preset of a file with the changes that all of its variants share."""
    try:
        return with_changes(preset(found.get("preset", "fast")), found.get("base", {}))
    except SettingsError as error:
        raise SettingsError(f"{path}, base: {error}") from None


def measure(plan: Plan, out: Path, *, share: bool = False) -> list[Row]:
    """Computes the rows that are missing and returns all; each is kept as it finishes.

    Args:
        plan: what is asked for.
        out: the folder of `rows.jsonl`, and of work that is deleted.
        share: features and checkpoints among the variants of a set and seed.
    """
    out.mkdir(parents=True, exist_ok=True)
    path = out / "rows.jsonl"
    commit = provenance.commit()
    dirty = str(commit).endswith("-dirty")  # one name for many states: nothing to reuse
    known = {_key(row): row for row in kept_rows(path) if not dirty}
    pictures = {name: _pictures_mark(place) for name, place in plan.sets.items()}
    rows = []
    shared = _Shared(out) if share else None
    for variant, name, seed in plan.rows():
        settings = with_changes(plan.variants[variant], {"seed": seed})
        about: Row = {"variant": variant, "set": name, "seed": seed}
        about |= {"settings": settings_hash(settings), "pictures": pictures[name], "commit": commit}
        about |= {"most_good": plan.good}
        if _key(about) not in known:
            print(f"measuring {variant} on {name}, seed {seed} ...", flush=True)
            job: Row = {"do": "one", "data": str(plan.sets[name]), "settings": to_dict(settings)}
            job |= {"device": plan.device, "most": plan.good}
            job["shared"] = None if shared is None else shared.place(name, seed)
            with tempfile.TemporaryDirectory(prefix=".work-", dir=out) as work:
                found = in_child(_MODULE, job | {"folder": work})
            row = about | found.row | {"peak_mb": round(found.peak_mb)}
            known[_key(about)] = row
            with path.open("a", encoding="utf-8") as stream:
                stream.write(json.dumps(row) + "\n")
        rows.append(known[_key(about)])
    if shared is not None:
        shared.clear()
    return rows


class _Shared:
    """A folder for what the variants of one set and seed learn alike; one at a time."""

    def __init__(self, out: Path) -> None:
        self._folder = out / ".shared"
        self._of: tuple[str, int] | None = None

    def place(self, name: str, seed: int) -> str:
        """Returns the folder of a set and seed, emptied where it was another's."""
        if self._of != (name, seed):
            self.clear()
            self._folder.mkdir()
            self._of = (name, seed)
        return str(self._folder)

    def clear(self) -> None:
        """Deletes it."""
        shutil.rmtree(self._folder, ignore_errors=True)


def _key(row: Row) -> tuple[Any, ...]:
    told = ("variant", "set", "seed", "settings", "pictures", "commit", "most_good")
    return tuple(row.get(k) for k in told)


def _pictures_mark(data: Path) -> str:
    """Names the pictures of a set by their paths, sizes and times of change."""
    found = read_data(data)
    marks = [(str(s.path), s.path.stat().st_size, s.path.stat().st_mtime_ns) for s in found.samples]
    return hashlib.sha256(json.dumps(marks).encode()).hexdigest()[:12]


def one(
    data: str,
    settings: Row,
    folder: str,
    device: str = "auto",
    shared: str | None = None,
    most: int | None = None,
) -> Row:
    """Fits one variant in this process; returns what good pictures and what the test say of it.

    Args:
        data: the set.
        settings: of the fit, as `from_dict` reads them.
        folder: for the model and the report.
        device: where to compute.
        shared: a folder of features and checkpoints that other fits left, or None.
        most: good pictures to learn from, at most, taken from all over the set.
    """
    from nfbmr.deployment.damage import damaged_copies
    from nfbmr.deployment.separation import Scores
    from nfbmr.features.cache import FeatureCache
    from nfbmr.fitting import fit
    from nfbmr.scoring.maps import MAPS

    out, how = Path(folder), from_dict(settings)
    found = read_data(data)
    samples = thinned(found.to_learn_from(), most)
    seen = survey(found.name, samples, white=how.data.white)
    if shared is None:
        cache = FeatureCache(out / "cache")  # its own, so that every fit pays for its features
        good = data if most is None else [sample.path for sample in samples]
        inspector = fit(good, out / "model", settings=how, device=device, cache=cache, export=False)
        cache.clear()
    else:
        inspector = _fitted_by_parts(seen, how, Path(shared), device)
    known = set(inspector.facts.held_out)
    held_out = [one.picture for one in seen.pictures if one.fingerprint in known]
    maps = inspector.maps(held_out)
    each = -(-_DAMAGED // len(held_out))  # copies of one picture
    copies = damaged_copies(held_out, inspector.size, strength=1.0, each=each, how=how.data)
    scores = Scores(
        good=_as_new(maps, inspector), copies=inspector.scores(copies).reshape(-1, each)
    )
    said = {
        "likelihood": float(-maps[:, MAPS.index("likelihood")].mean(dtype=np.float64)),
        "separation": scores.separation,
        "n_held_out": len(held_out),
    }
    test = tested(inspector, data, out / "report")
    if shared is not None:
        test["fit_seconds"] = None
    return {"good": said, "test": test, "device": device}


def thinned(samples: Sequence[Sample], most: int | None) -> tuple[Sample, ...]:
    """Returns so many samples at most, in their order, from all over them; all for None."""
    if most is None or len(samples) <= most:
        return tuple(samples)
    return tuple(samples[len(samples) * place // most] for place in range(most))


def _as_new(maps: Maps, inspector: Inspector) -> Floats:
    """Scores maps (N, K, H, W) of held-out pictures, without what Gaussians learnt from them."""
    from nfbmr.scoring.calibration import calibration_scores, image_scores

    calibration = inspector.calibration
    scored = calibration_scores if calibration.learnt else image_scores
    return scored(maps, inspector.settings.scoring, calibration)


def _fitted_by_parts(good: Survey, settings: Settings, shared: Path, device: str) -> Inspector:
    """Fits in memory, with the features and checkpoints of a folder where they fit."""
    from nfbmr.features.cache import FeatureCache
    from nfbmr.inspection.inspector import Inspector
    from nfbmr.learning.learn import Job, learn
    from nfbmr.learning.plan import plan_fit
    from nfbmr.runtimes.torch import TorchRuntime
    from nfbmr.system.devices import choose_device

    job = Job(
        settings=settings,
        work=shared / "work",
        device=choose_device(device, small=settings.backbone.small),
        cache=FeatureCache(shared / "cache"),
    )
    bundle = learn(good, plan_fit(good, settings), job)
    return Inspector(bundle, TorchRuntime(bundle, str(job.device)))


def table(rows: list[Row], *, test: bool = False) -> str:
    """Returns the figures as Markdown: mean and standard deviation over the seeds.

    Args:
        rows: of `measure`.
        test: also what the labelled test says.
    """
    columns = (*_COLUMNS, *(_TESTED if test else ()))
    groups: dict[tuple[str, str], list[Row]] = {}
    for row in rows:
        groups.setdefault((row["set"], row["variant"]), []).append(row)
    heads = [head for _, _, head, _ in columns]
    lines = [f"| set | variant | {' | '.join(heads)} | seeds |", "|---" * (len(heads) + 3) + "|"]
    for (name, variant), found in groups.items():
        cells = [_spread([row[part][key] for row in found], by) for part, key, _, by in columns]
        lines.append(f"| {name} | {variant} | {' | '.join(cells)} | {len(found)} |")
    return "\n".join(lines) + "\n"


def _spread(values: list[float | None], factor: float) -> str:
    known = [factor * value for value in values if value is not None]
    if not known:
        return "-"
    spread = f" ± {np.std(known, ddof=1):.2f}" if len(known) > 1 else ""
    return f"{np.mean(known):.2f}{spread}"


def main() -> None:
    """Parses the command line, measures, and prints the table."""
    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    parser.add_argument("plan", type=Path, nargs="?", metavar="FILE.toml")
    parser.add_argument("-o", "--out", type=Path, default=Path("out/variants"))
    parser.add_argument(
        "--data",
        action="append",
        default=[],
        metavar="NAME=PATH",
        help="instead of the file's sets",
    )
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda, ... [default: auto]")
    parser.add_argument("--test", action="store_true", help="show what the test says, too")
    parser.add_argument(
        "--share", action="store_true", help="features and training among variants alike"
    )
    parser.add_argument("--job", type=Path, help="measure one row, as a job of `child` says")
    arguments = parser.parse_args()
    if arguments.job is not None:
        do_job(arguments.job, {"one": one})
        return
    if arguments.plan is None:
        parser.error("FILE.toml is needed; the module's docstring shows one")
    try:
        sets = {name: Path(place) for name, place in parse_pairs("--data", arguments.data)}
        plan = read_plan(arguments.plan, sets, arguments.device)
        rows = measure(plan, arguments.out, share=arguments.share)
    except NfbmrError as error:
        parser.error(str(error))
    text = table(rows, test=arguments.test)
    with written_beside(arguments.out / "variants.md") as beside:
        beside.write_text(text, encoding="utf-8")
    sys.stdout.write(text)


if __name__ == "__main__":
    main()
