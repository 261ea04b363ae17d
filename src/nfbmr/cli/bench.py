"""The commands `nfbmr bench peers` and `nfbmr bench speed`: their words, and one call each."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from nfbmr.cli.arguments import (
    Device,
    ModelPath,
    RuntimeName,
    Threads,
    refuse_file,
    refuse_swapped,
)
from nfbmr.errors import SettingsError
from nfbmr.settings.text import parse_numbers, parse_pairs, parse_words
from nfbmr.system.files import printable

bench = typer.Typer(
    help="Measure accuracy and speed, alone or against other tools.", no_args_is_help=True
)

_Data = Annotated[
    list[str],
    typer.Option(metavar="NAME=PATH", help="A set with test pictures; may be repeated."),
]
_Out = Annotated[Path, typer.Option("-o", "--out", metavar="RESULTS", help="A folder.")]
_Seeds = Annotated[str, typer.Option(metavar="0,1", help="Of weights, batches and splits.")]
_Peers = Annotated[
    str | None, typer.Option(metavar="A,B", help="Only these; 'none' for nfbmr alone.")
]
_Minutes = Annotated[
    float, typer.Option(metavar="N", min=0.1, help="That a peer may train on one set.")
]


@bench.command()
def peers(
    data: _Data,
    out: _Out,
    seeds: _Seeds = "0,1,2",
    peers: _Peers = None,
    minutes: _Minutes = 5.0,
    sizes: Annotated[
        str,
        typer.Option(
            metavar="A,B",
            help="'default': a peer's documented size; 'nfbmr': pictures as nfbmr looks at them.",
        ),
    ] = "default,nfbmr",
) -> None:
    """Race nfbmr against anomalib's models: same pictures, weights, metrics and machine.

    Needs the extra, in the checkout: pip install -e ".[peers]". The first run installs anomalib
    into an environment of its own, gigabytes. Rows that are finished are kept, so a run that was
    interrupted goes on where it was.
    """
    from nfbmr.benchmark.peers import race, report
    from nfbmr.benchmark.peers.catalogue import PEERS
    from nfbmr.cli.console import shown_progress
    from nfbmr.system.files import written_beside

    refuse_file(out, "the results")
    chosen = _chosen(peers or ",".join(one.key for one in PEERS))
    wanted = race.Race(
        data=tuple((name, Path(path)) for name, path in parse_pairs("--data", data)),
        peers=() if "none" in chosen else chosen,
        seeds=parse_numbers("--seeds", seeds),
        seconds=60 * minutes,
        sizes=_chosen_sizes(sizes),
    )
    with shown_progress():
        rows, lost = race.run(wanted, out)
    if rows:
        text = report.tables(rows)
        with written_beside(out / "peers.md") as beside:
            beside.write_text(text, encoding="utf-8")
        for suffix in ("png", "svg"):
            report.draw(rows, out / f"peers.{suffix}")
        print(text)
    for one in lost:
        name = f"{one.key.category}, {one.key.system}, seed {one.key.seed}"
        print(printable(f"failed: {name}: {one.reason}"))
    if lost:
        raise typer.Exit(1)


def _chosen(peers: str) -> tuple[str, ...]:
    from nfbmr.benchmark.peers.catalogue import PEERS

    known, chosen = [one.key for one in PEERS], parse_words(peers)
    if strange := [key for key in chosen if key not in (*known, "none")]:
        raise SettingsError(
            f"--peers {', '.join(strange)}: unknown; expected 'none' or some of {', '.join(known)}"
        )
    return chosen


def _chosen_sizes(words: str) -> tuple[str, ...]:
    from nfbmr.benchmark.peers.catalogue import SIZES

    chosen = parse_words(words)
    if not chosen or not set(chosen) <= set(SIZES):
        raise SettingsError(f"--sizes {words}: expected some of {', '.join(SIZES)}")
    return chosen


@bench.command()
def speed(
    model: ModelPath,
    pictures: Annotated[
        Path, typer.Argument(metavar="PICTURES", help="A picture, a folder of some, a data set.")
    ],
    runtime: RuntimeName = "auto",
    device: Device = "auto",
    threads: Threads = None,
    peers: Annotated[
        str | None,
        typer.Option(
            metavar="A,B",
            help="Beside these, learnt from the good pictures and exported to OpenVINO.",
        ),
    ] = None,
    minutes: _Minutes = 5.0,
) -> None:
    """Time each part of a picture's way from file to verdict.

    With --peers, e.g. patchcore,padim, PICTURES is a data set with good pictures to learn from.
    """
    from nfbmr.benchmark.speed import parts, throughput
    from nfbmr.data.images import IMAGE_SUFFIXES
    from nfbmr.data.layouts import read_data
    from nfbmr.inspection.inspector import load

    refuse_swapped("bench speed", model, [pictures])
    chosen = [key for key in _chosen(peers or "") if key != "none"]
    inspector = load(model, runtime=runtime, device=device, threads=threads)
    one = pictures.suffix.lower() in IMAGE_SUFFIXES and pictures.is_file()
    found = None if one else read_data(pictures, to_learn=False)
    if chosen and (found is None or not found.train_good):
        raise SettingsError(f"{pictures}: peers learn first; give a data set with good pictures")
    paths = [pictures] if found is None else [sample.path for sample in found.samples]
    height, width = inspector.facts.size
    print(f"{model}, {height} x {width} pixels, {inspector.runtime.name}, one picture at a time")
    for part in parts(inspector, paths):
        print(f"{part.name:24}{part.median:9.1f} ms   95 % below {part.percentile_95:.1f} ms")
    print(f"{'in batches, from files':24}{throughput(inspector, paths):9.1f} pictures a second")
    if not chosen or found is None:
        return
    from nfbmr.benchmark.peers.deployment import deployed

    good = [sample.path for sample in found.train_good]
    timed = [paths[i % len(paths)] for i in range(33)]
    for key in chosen:
        peer = deployed(key, good, timed, seconds=60 * minutes, threads=threads)
        for precision, milliseconds in peer.milliseconds.items():
            name = f"{peer.title}, {precision}"
            print(f"{name:24}{milliseconds:9.1f} ms   file to verdict, OpenVINO")
