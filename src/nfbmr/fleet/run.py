"""A run's folder OUT: what the run is, said before its first verdict, and what of it is finished.

    OUT/part-000000.parquet ...     finished parts: a part is finished once its file is there
    OUT/_heatmaps/000000/           of its defects, where they were asked for
    OUT/_nfbmr/run.json             model, sources and options; written last, so that it is whole
    OUT/_nfbmr/listing.jsonl        every picture

Whoever reads OUT as Parquet passes over names that begin with `_`.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from nfbmr.errors import FleetError
from nfbmr.fleet.listing import Listing, Part, per_part, read_part, write_listing
from nfbmr.fleet.results import Counts, part_file, read_counts
from nfbmr.fleet.sources import pictures_of
from nfbmr.system.files import flushed_beside, made_folder
from nfbmr.system.locks import locked_file
from nfbmr.system.words import counted

HEATMAPS = "_heatmaps"

_FORMAT = 1
_OURS = "_nfbmr"
_SAID = {
    "bundle": "another model",
    "calibration": "other thresholds",
    "runtime": "another runtime",
    "sources": "other pictures",
    "heatmaps": "another choice of --heatmaps",
}
"""What of a run may not change, and how it is called."""


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """What makes a run the same: rows of two with equal ones are equal."""

    bundle: str
    """Hash of what the model learnt."""
    calibration: str
    """Hash of its thresholds and scales."""
    runtime: str
    """As it was asked for."""
    sources: tuple[str, ...]
    """Absolute paths, and addresses."""
    heatmaps: bool


@dataclass(frozen=True, kw_only=True)
class Run:
    """A run that was begun."""

    out: Path
    name: str
    """Tells it from others in the same place."""
    listing: Listing
    firsts: tuple[str, ...] = ()
    """The first picture of each source; of runs from before these were noted, of the first."""

    def unfinished(self, counts: Counts) -> list[int]:
        """Returns the parts that are still to be judged; adds up in `counts` what is finished.

        Raises:
            OSError: the folder cannot be read.
        """
        missing = []
        for number in range(len(self.listing)):
            pictures = self.listing.part(number).pictures
            found = read_counts(part_file(self.out, number), self.name, pictures)
            if found is None:
                missing.append(number)
            else:
                counts.update(found)
        return missing

    def refuse_unseen(self, parts: Sequence[int]) -> None:
        """Checks that what workers wrote is here.

        Raises:
            FleetError: files are not: a node has a folder of this name on a disk of its own.
        """
        unseen = [number for number in parts if not part_file(self.out, number).exists()]
        if unseen:
            raise FleetError(
                f"{self.out}: {counted(len(unseen), 'part')} that workers wrote cannot be seen "
                f"here, the first {part_file(self.out, unseen[0]).name}; the folder has to lie on "
                "storage that all nodes share. The same command judges these again"
            )

    def finish(self, counts: Counts) -> None:
        """Says that all is done, and what was found.

        Raises:
            OSError: it cannot be written.
        """
        _write(self.out / _OURS / "finished.json", dict(counts))


@contextmanager
def opened(
    out: Path, wanted: Wanted, workers: int, asked_per_part: int | None = None
) -> Iterator[Run]:
    """Begins a run, or goes on with it, for this process alone.

    Args:
        out: its folder.
        wanted: what it is.
        workers: that it is cut for.
        asked_per_part: pictures of a part; by default by their number and `workers`.

    Raises:
        FleetError: the folder holds another run or other things, or a run works there now.
        DataError: a source cannot be read.
        OSError: the folder cannot be written.
    """
    own = out / _OURS
    if out.exists() and not own.is_dir() and any(out.iterdir()):
        raise FleetError(
            f"{out} holds other things; give an empty folder, or a new one, for the results"
        )
    made_folder(own)
    with locked_file(own / "lock") as free:
        if not free:
            raise FleetError(f"{out}: another run writes there now; wait for its end, or end it")
        if not (own / "run.json").exists():
            _begin(own, wanted, lambda n: asked_per_part or per_part(n, workers))
        yield _again(out, wanted)


def _begin(own: Path, wanted: Wanted, cut: Callable[[int], int]) -> None:
    firsts: list[str] = []
    pictures = write_listing(own / "listing.jsonl", pictures_of(wanted.sources, firsts))
    said: dict[str, Any] = {
        "format": _FORMAT,
        "name": secrets.token_hex(16),
        "pictures": pictures,
        "per_part": cut(pictures),
        "firsts": firsts,
    }
    _write(own / "run.json", said | {"wanted": asdict(wanted)})


def _again(out: Path, wanted: Wanted) -> Run:
    file = out / _OURS / "run.json"
    try:
        said = json.loads(file.read_bytes())
        if said["format"] != _FORMAT:
            raise FleetError(
                f"{file} has format {said['format']}, this program reads {_FORMAT}; go on with the "
                "version of nfbmr that began the run"
            )
        before = said["wanted"] | {"sources": tuple(said["wanted"]["sources"])}
        name, pictures, size = said["name"], said["pictures"], said["per_part"]
        firsts = said.get("firsts")  # absent from runs that an older program began
    except (ValueError, KeyError, TypeError) as error:
        raise FleetError(f"{file} is not one that nfbmr wrote ({error}); restore it") from None
    now = asdict(wanted)
    differs = [what for key, what in _SAID.items() if before.get(key) != now[key]]
    if differs:
        raise FleetError(
            f"{out} belongs to a run with {' and '.join(differs)}: rows of both in one folder "
            "could not be told apart; choose another folder, or give the words of before to go on"
        )
    listing = Listing(out / _OURS / "listing.jsonl", pictures, size)
    if firsts is None:
        firsts = read_part(listing.file, Part(0, 0, 1))
    return Run(out=out, name=name, listing=listing, firsts=tuple(firsts))


def sweep(out: Path) -> None:
    """Takes away half-written files of workers that were killed.

    Raises:
        OSError: one cannot be taken away.
    """
    for pattern in (".*.part", f"{HEATMAPS}/*/.*.part", f"{_OURS}/.*.part"):
        for left in out.glob(pattern):
            left.unlink(missing_ok=True)


def _write(file: Path, values: object) -> None:
    with flushed_beside(file) as beside:
        beside.write_text(json.dumps(values, indent=1) + "\n", encoding="utf-8")
