"""What `nfbmr inspect --engine ray` says: its words to one call, and what came of it."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path

from nfbmr.cli.arguments import Opened, refuse_file
from nfbmr.cli.left_out import say_left_out
from nfbmr.errors import SettingsError
from nfbmr.system.words import counted, listed_counts

_log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class OnRay:
    """The words that a run on Ray has beside those of every inspection."""

    address: str | None
    workers: int | None
    per_part: int | None
    heatmaps: bool


def inspect_on_ray(
    model: Path, paths: list[str], out: Path | None, form: str | None, opened: Opened, on_ray: OnRay
) -> set[str]:
    """Judges an archive; returns which verdicts there are, `unreadable` among them.

    Raises:
        SettingsError: the words do not go together.
        NfbmrError, OSError: as `judge_archive`.
    """
    from nfbmr.cli.console import shown_progress
    from nfbmr.fleet.archive import Options, judge_archive
    from nfbmr.runtimes.choose import calibrated_for

    if form not in (None, "parquet"):
        raise SettingsError(f"--format {form}: --engine ray writes a folder of Parquet files")
    if out is None or out.suffix.lower() in (".parquet", ".jsonl", ".csv", ".txt"):
        raise SettingsError("--engine ray writes a folder of Parquet files; name it with -o OUT")
    refuse_file(out, "Parquet files")
    if opened.tiles:
        opened.check_tiles(model, calibrated_for(model, opened.runtime).facts)
    options = Options(
        runtime=opened.runtime,
        device=opened.device,
        threads=opened.threads or 1,
        workers=on_ray.workers,
        per_part=on_ray.per_part,
        heatmaps=on_ray.heatmaps,
        address=on_ray.address,
    )
    with shown_progress() as progress:
        judged = judge_archive(model, paths, out, options, progress)
    found = listed_counts(judged.counts)
    _log.info("%s (%s): %s", counted(judged.pictures, "picture"), found, judged.out)
    return {what for what, number in judged.counts.items() if number}


def holds_unread(paths: list[str]) -> bool:
    """Says of folders on disk what was left out of them; whether nfbmr does not read one of these.

    Raises:
        OSError: a folder cannot be read.
    """
    from nfbmr.data.folders import list_pictures

    folders = [Path(word) for word in paths if Path(word).is_dir()]
    unread = [one for one in folders if say_left_out(one, list_pictures(one, deep=True)[1])]
    return bool(unread)
