"""The command line: parse -> settings -> one call. What is heavy is imported in each command."""

from __future__ import annotations

import enum
import logging
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer

from nfbmr.cli.arguments import Device, ModelPath, RuntimeName, Threads, where_to_write
from nfbmr.cli.bench import bench
from nfbmr.cli.deploy import export, watch
from nfbmr.cli.paper import paper
from nfbmr.errors import DataError, NfbmrError, SettingsError
from nfbmr.settings.text import parse_changes, parse_size, put
from nfbmr.system.files import printable

if TYPE_CHECKING:
    from nfbmr.inspection.inspector import Failure, Inspection

_log = logging.getLogger(__name__)

app = typer.Typer(
    name="nfbmr",
    help="Finds defects on products after seeing only good ones.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)


Seed = Annotated[
    int | None, typer.Option(min=0, help="Of split, weights and batches. [default: 0]")
]
Fresh = Annotated[bool, typer.Option("--fresh", help="Do not go on from an interrupted fit.")]
Tiles = Annotated[
    bool,
    typer.Option(
        "--tiles", help="Cut large pictures into overlapping tiles; judge each as a whole."
    ),
]
ExportToo = Annotated[
    bool,
    typer.Option("--export/--no-export", help="Also make a graph that runs without torch."),
]


class Preset(enum.StrEnum):
    """The presets by name."""

    fast = "fast"
    accurate = "accurate"
    paper = "paper"


class RowFormat(enum.StrEnum):
    """The forms of `inspect`'s rows."""

    table = "table"
    jsonl = "jsonl"
    csv = "csv"
    parquet = "parquet"


@app.command()
def fit(
    data: Annotated[
        Path,
        typer.Argument(
            metavar="DATA",
            help="A folder of good pictures, an MVTec AD category, a DAGM 2007 class, "
            "or a CSV/Parquet table of path, label, mask, split.",
        ),
    ],
    out: Annotated[Path, typer.Option("-o", "--out", metavar="MODEL", help="Where to write.")],
    preset: Annotated[Preset, typer.Option(help="What the fit is to be good at.")] = Preset.fast,
    size: Annotated[
        str | None,
        typer.Option(
            metavar="S | HxW",
            help="Resize pictures to this, e.g. 320 or 320x448 (height x width). "
            "[default: by the pictures' median aspect ratio]",
        ),
    ] = None,
    seed: Seed = None,
    false_alarm_rate: Annotated[
        float | None,
        typer.Option(help="Share of good pictures that may be called defects. [default: 0.01]"),
    ] = None,
    backbone: Annotated[
        str | None, typer.Option(help="Any timm network instead of the preset's.")
    ] = None,
    weights: Annotated[
        str | None, typer.Option(metavar="FILE", help="Backbone weights: embedded, hub or file.")
    ] = None,
    set_: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="Any setting, e.g. flow.hidden=256."),
    ] = None,
    device: Device = "auto",
    fresh: Fresh = False,
    tiles: Tiles = False,
    export_: ExportToo = True,
) -> None:
    """Learn from good pictures."""
    from nfbmr.cli.console import shown_progress
    from nfbmr.fitting import fit as run

    changes = parse_changes(set_ or [])
    for key, value in (
        ("seed", seed),
        ("size", None if size is None else parse_size(size)),
        ("calibration.false_alarm_rate", false_alarm_rate),
        ("backbone.name", backbone),
        ("backbone.weights", weights),
        ("tiles.overlap", 0.25 if tiles else None),
    ):
        if value is not None:
            put(changes, key, value)
    changes |= {"preset": preset, "device": device, "fresh": fresh, "export": export_}
    with shown_progress() as progress:
        found = run(data, out, progress=progress, **changes)
    _log.info("Learnt in %.0f s: %s", found.facts.fit_seconds, out)


@app.command()
def evaluate(
    model: ModelPath,
    data: Annotated[Path, typer.Argument(metavar="DATA", help="A data set with test pictures.")],
    out: Annotated[Path, typer.Option("-o", "--out", metavar="REPORT", help="A folder.")],
    runtime: RuntimeName = "auto",
    device: Device = "auto",
    threads: Threads = None,
) -> None:
    """Compare a model's verdicts with labels: metrics.json, scores.csv, report.html."""
    from nfbmr.cli.console import shown_progress
    from nfbmr.evaluation import evaluate as evaluation
    from nfbmr.inspection.inspector import load

    inspector = load(model, runtime=runtime, device=device, threads=threads)
    with shown_progress() as progress:
        done = evaluation.evaluate(inspector, data, out, progress=progress)
    for line in evaluation.headline(done.metrics):
        print(line)
    print(f"report: {out / evaluation.REPORT}")


@app.command()
def inspect(
    model: ModelPath,
    paths: Annotated[list[Path], typer.Argument(metavar="PATH...", help="Pictures or folders.")],
    out: Annotated[
        Path | None,
        typer.Option("-o", "--out", help="A folder, or a file .jsonl, .csv or .parquet."),
    ] = None,
    form: Annotated[
        RowFormat | None,
        typer.Option("--format", help="[default: table; with -o by the file's name, or jsonl]"),
    ] = None,
    heatmaps: Annotated[
        bool, typer.Option("--heatmaps", help="Also write each picture's heatmap (needs -o).")
    ] = False,
    exit_code: Annotated[
        bool,
        typer.Option(
            "--exit-code",
            help="End with 1 when a defect was found, 2 when a picture is unreadable.",
        ),
    ] = False,
    tiles: Annotated[
        bool, typer.Option("--tiles", help="Insist on tiles; a model fitted so cuts them anyway.")
    ] = False,
    runtime: RuntimeName = "auto",
    device: Device = "auto",
    threads: Threads = None,
) -> None:
    """Judge pictures: good or defect, how sure, and where."""
    from nfbmr.inspection.inspector import Failure, load
    from nfbmr.inspection.rows import open_writer, to_row

    if heatmaps and out is None:
        raise SettingsError("--heatmaps needs a place: give a folder with -o")
    chosen, rows_file, folder = where_to_write(form.value if form else None, out)
    pictures = list(_pictures(paths))
    inspector = load(model, runtime=runtime, device=device, threads=threads)
    if tiles and inspector.facts.whole is None:
        raise SettingsError(
            f"{model} learnt whole pictures, and where on them a place lies: to a tile that means "
            "nothing. Learn tiles: nfbmr fit DATA -o MODEL --tiles"
        )
    worst = 0
    with open_writer(chosen, rows_file) as write:
        for done, result in enumerate(inspector.inspect_many(pictures)):
            write(to_row(result, str(model)))
            if isinstance(result, Failure):
                worst = 2
                continue
            worst = max(worst, int(result.is_defect))
            if heatmaps and folder is not None:
                _write_heatmap(folder, done, pictures[done], result)
    if rows_file is not None:
        beside = f"; heatmaps: {folder}" if heatmaps else ""
        _log.info("%d pictures: %s%s", len(pictures), rows_file, beside)
    if exit_code:
        raise typer.Exit(worst)


@app.command()
def calibrate(
    model: ModelPath,
    good_images: Annotated[
        Path | None,
        typer.Argument(
            metavar="[GOOD_IMAGES]",
            help="Good pictures that the model was NOT trained on. "
            "Without them the scores kept from the fit serve.",
        ),
    ] = None,
    false_alarm_rate: Annotated[
        float | None, typer.Option(help="[default: the rate now in force]")
    ] = None,
    runtime: RuntimeName = "auto",
    device: Device = "auto",
    threads: Threads = None,
) -> None:
    """Set another threshold, without retraining."""
    from nfbmr.data.images import fingerprint
    from nfbmr.data.layouts import read_data
    from nfbmr.inspection.inspector import load

    inspector = load(model, runtime=runtime, device=device, threads=threads)
    kept = inspector.calibration.false_alarm_rate
    rate = kept if false_alarm_rate is None else false_alarm_rate
    images = None
    if good_images is not None:
        found = read_data(good_images)
        _log.info("%s", found.describe())
        known = set(inspector.facts.trained_on)
        images = [s.path for s in found.train_good if fingerprint(s.path) not in known]
        if left_out := len(found.train_good) - len(images):
            _log.warning("%d pictures were trained on and are left out", left_out)
    changed = inspector.recalibrated(rate, images)
    changed.save_calibration()
    for line in changed.calibration.describe():
        print(line)
    if own := inspector.others:
        _log.warning("Not changed: %s; calibrate each with --runtime", ", ".join(own))


@app.command()
def info(model: ModelPath) -> None:
    """Show what a model is: its data, settings, threshold and origin."""
    from nfbmr.model.bundle import read_bundle
    from nfbmr.settings.schema import settings_hash

    bundle = read_bundle(model)
    print(bundle.card())
    parameters = sum(v.size for v in bundle.tensors.values())
    print(f"parameters {parameters / 1e6:.1f} M; settings {settings_hash(bundle.settings)}")
    versions = ", ".join(f"{name} {version}" for name, version in bundle.facts.versions.items())
    print(printable(f"commit {bundle.facts.commit or 'unknown'}; {versions}"))


@app.command()
def doctor(
    data: Annotated[
        Path | None, typer.Argument(metavar="[DATA]", help="A data set to check before a fit.")
    ] = None,
    preset: Annotated[Preset, typer.Option(help="The fit to plan for.")] = Preset.fast,
) -> None:
    """Check this machine, and a data set with the time that a fit will take."""
    from nfbmr.learning import diagnosis

    for line in diagnosis.machine():
        print(line)
    if data is not None:
        for line in diagnosis.data_set(data, preset.value):
            print(printable(line))


@app.command()
def cache(
    clear: Annotated[bool, typer.Option("--clear", help="Delete all entries.")] = False,
) -> None:
    """Show the cached features, or clear them."""
    from nfbmr.features.compute import FeatureCache

    kept = FeatureCache()
    if clear:
        freed = kept.size()
        kept.clear()
        print(f"{freed / 1e6:.1f} MB freed")
        return
    for entry in kept.entries():
        megabytes = entry.size_bytes / 1e6
        print(
            f"{entry.key[:12]}  {megabytes:9.1f} MB  {entry.n_images:6d} images  {entry.backbone}"
        )
    print(f"{kept.size() / 1e6:.1f} MB of {kept.limit_bytes / 1e6:.0f} MB in {kept.root}")


app.command()(export)
app.command()(watch)
app.command()(paper)
app.add_typer(bench, name="bench")


@app.callback(invoke_without_command=True)
def _common(
    version: Annotated[bool, typer.Option("--version", help="Show the version.")] = False,
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Say more.")] = False,
) -> None:
    from nfbmr.cli.console import log_to_terminal

    log_to_terminal(verbose=verbose)
    if version:
        from importlib import metadata

        print(f"nfbmr {metadata.version('nfbmr')}")
        raise typer.Exit


def _pictures(paths: list[Path]) -> Iterator[Path]:
    """Yields files as given, and the pictures of folders, ascending."""
    from nfbmr.data.folders import list_pictures

    for path in paths:
        if path.is_dir():
            found, _ = list_pictures(path, deep=True)
            if not found:
                raise DataError(f"{path} holds no pictures; give pictures, or a folder with some")
            yield from found
        else:
            yield path


def _write_heatmap(folder: Path, number: int, path: Path, result: Inspection | Failure) -> None:
    from PIL import Image

    from nfbmr.data.images import read_image
    from nfbmr.inspection.inspector import Inspection
    from nfbmr.inspection.pictures import heatmap_overlay

    assert isinstance(result, Inspection)
    folder.mkdir(parents=True, exist_ok=True)
    overlay = heatmap_overlay(read_image(path), result.heatmap)
    # Short enough for a file system, whatever the letters.
    Image.fromarray(overlay).save(folder / f"{number:06d}_{path.stem[:50]}.png")


def main() -> None:
    """Runs the command line; what the user can mend ends in one clear message and exit code 2."""
    # A service manager's stop is an end like any other: what is half-made is cleared away.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    try:
        app()
    except NfbmrError as error:
        _end(str(error))
    except ModuleNotFoundError as error:
        if (error.name or "nfbmr").partition(".")[0] == "nfbmr":
            raise
        _end(f"{error.name} is not installed, and this needs it: pip install 'nfbmr[all]'")
    except MemoryError as error:
        _end(f"out of memory ({error}); use smaller pictures (--size) or a smaller batch")
    except OSError as error:  # a full disk, a folder without permission
        _end(f"{error}; check the path, its permissions and the free space")
    except (KeyboardInterrupt, SystemExit) as end:  # typer turns Ctrl-C into an exit with 130
        if isinstance(end, SystemExit) and end.code != 130:
            raise
        _end("interrupted; a fit goes on when it is started again, anything else begins anew", 130)


def _end(message: str, status: int = 2) -> NoReturn:
    from nfbmr.cli.console import stderr

    stderr.print(printable(f"nfbmr: {message}"), style="bold red", markup=False, highlight=False)
    sys.exit(status)


if __name__ == "__main__":
    main()
