"""`nfbmr serve`, `token`, `audit`, `reproduce`: the station as a process, and what it leaves."""

from __future__ import annotations

import errno
import shutil
import signal
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx2
import pytest
from sqlalchemy import delete, update
from typer.testing import CliRunner, Result

from nfbmr.cli.app import app
from nfbmr.errors import BundleNotFoundError, StationError
from nfbmr.inspection.inspector import load
from nfbmr.station.settings import StationSettings
from nfbmr.station.station import Station
from nfbmr.station.store import queries
from nfbmr.station.store.database import Store
from nfbmr.station.store.queries import Filter
from nfbmr.station.store.schema import CALIBRATIONS, EVENTS, INSPECTIONS
from nfbmr.station.store.versions import VERSIONS

Encoded = Callable[..., bytes]
Settings = Callable[..., StationSettings]


def run(*words: object) -> Result:
    result = CliRunner().invoke(app, [str(word) for word in words])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


def test_what_a_client_was_answered_is_there_after_a_kill_and_can_be_reproduced(
    model: Path, settings: Settings, png: Encoded, serving: Callable[..., Any]
) -> None:
    made = settings()
    words = ["--database", made.database, "--pictures", made.pictures]
    answered: dict[str, dict[str, Any]] = {}
    pictures = [png(seed, defect=seed % 2 == 0) for seed in range(8)]

    def send(address: str, client: int, picture: bytes) -> None:
        for turn in range(1000):  # until the kill
            part = f"{client}-{turn}"
            inspect = f"{address}/v1/models/fitted/inspect?part_id={part}"
            try:
                answer = httpx2.post(inspect, content=picture)
            except httpx2.HTTPError:
                return
            assert answer.status_code in (200, 503)
            for row in answer.json().get("inspections", ()):
                assert row["part_id"] == part
                answered[part] = row

    with serving(model, *words, "--runtime", "torch") as (process, address):
        with ThreadPoolExecutor(len(pictures)) as clients:
            sending = [clients.submit(send, address, *one) for one in enumerate(pictures)]
            while len(answered) < 2 * len(pictures) and not any(s.done() for s in sending):
                threading.Event().wait(0.01)
            process.send_signal(signal.SIGKILL)
        for client in sending:
            client.result()
    with Station(made) as station:
        rows = station.store.read(queries.page, Filter(), limit=10_000)
    assert len(answered) >= 2 * len(pictures)
    for part, row in answered.items():
        (kept,) = [one for one in rows if one.part_id == part]
        said = (row["id"], row["score"], row["picture"], row["verdict"], row["time"])
        assert (kept.id, kept.score, kept.picture, kept.verdict, kept.time) == said
    result = run("reproduce", max(row["id"] for row in answered.values()), *words)
    assert result.exit_code == 0
    assert "The same." in result.stdout
    result = run("audit", "--database", made.database, "--verify")
    assert result.exit_code == 0
    assert "4 events form an unbroken chain" in result.stdout, "model, watch of drift, two starts"


@pytest.fixture
def recorded(settings: Settings, model_copy: Path, png: Encoded) -> tuple[StationSettings, Path]:
    """A record with one inspection, of a model whose calibration changed since."""
    made = settings(models=(model_copy,))
    with Station(made) as station:
        import asyncio

        from nfbmr.station.services.judge import Given

        name = station.pool.all()[0].name
        given = Given(data=png(1, defect=True), model=name)
        asyncio.run(station.judge.inspect(given))
        station.store.write(queries.label, 1, "good", "dust", "ann").result()
    load(model_copy, runtime="torch").recalibrated(0.4, look_rate=0.5).save_calibration()
    return made, model_copy


def test_a_verdict_is_reproduced_by_the_calibration_of_its_time(
    recorded: tuple[StationSettings, Path], inspector: object, model: Path, tmp_path: Path
) -> None:
    settings, path = recorded
    words = ["--database", settings.database, "--pictures", settings.pictures]
    assert run("reproduce", 1, *words).exit_code == 0
    moved = path.rename(tmp_path / "elsewhere")
    assert run("reproduce", 1, *words).exit_code == 0, "by the version that was kept"
    shutil.rmtree(settings.pictures / VERSIONS)
    with pytest.raises(BundleNotFoundError):
        run("reproduce", 1, *words)
    assert run("reproduce", 1, *words, "--model", moved).exit_code == 0
    with pytest.raises(StationError, match="there is no inspection 7"):
        run("reproduce", 7, *words, "--model", moved)
    store = Store(settings.database)
    store.write(lambda c: c.execute(update(INSPECTIONS).values(score=0.5))).result()
    result = run("reproduce", 1, *words, "--model", moved)
    assert result.exit_code == 1
    assert "NOT THE SAME" in result.stdout
    store.write(lambda c: c.execute(update(CALIBRATIONS).values(content="{}"))).result()
    with pytest.raises(StationError, match="not the one that judged it"):
        run("reproduce", 1, *words, "--model", moved)
    for picture in settings.pictures.rglob("*.png"):
        picture.write_bytes(b"another")
    with pytest.raises(StationError, match="its sha256 differs"):
        run("reproduce", 1, *words, "--model", moved)
    store.write(lambda c: c.execute(update(INSPECTIONS).values(bundle="0" * 64))).result()
    store.write(lambda c: c.execute(update(INSPECTIONS).values(file=None))).result()
    with pytest.raises(StationError, match="not kept"):
        run("reproduce", 1, *words, "--model", moved)
    store.close()


def test_audit_shows_and_checks(recorded: tuple[StationSettings, Path]) -> None:
    address = recorded[0].database
    shown = run("audit", "--database", address).stdout.splitlines()
    assert len(shown) == 3
    assert " station model " in shown[0]
    assert " station started " in shown[1]
    assert ' ann feedback 1: {"label": null, "note": ""} -> ' in shown[2]
    assert shown[2].endswith("dust")
    sound = run("audit", "--database", address, "--verify")
    first, limit = sound.stdout.splitlines()
    newest = first.split()[-1]
    assert sound.exit_code == 0
    assert "deleted at the end" in limit
    assert run("audit", "--database", address, "--contains", newest).exit_code == 0
    assert run("audit", "--database", address, "--contains", "0" * 64).exit_code == 1
    store = Store(address)
    store.write(lambda c: c.execute(delete(EVENTS).where(EVENTS.c.number == 3))).result()
    cut = run("audit", "--database", address, "--verify")
    assert cut.exit_code == 0, "a chain without its end is a chain"
    assert newest not in cut.stdout
    noted = run("audit", "--database", address, "--contains", newest)
    assert noted.exit_code == 1, "a noted hash shows it"
    store.write(lambda c: c.execute(update(EVENTS).values(reason="forged"))).result()
    store.close()
    result = run("audit", "--database", address, "--verify")
    assert result.exit_code == 1
    assert "NOT SOUND: event 1" in result.stdout


def test_no_database_is_made_by_looking(tmp_path: Path) -> None:
    address = f"sqlite:///{tmp_path / 'none.db'}"
    with pytest.raises(StationError) as caught:
        run("audit", "--database", address)
    assert str(caught.value).startswith(f"{address}: there is no such database; name that of")
    assert list(tmp_path.iterdir()) == []


def test_no_folder_of_pictures_is_made_by_looking(
    recorded: tuple[StationSettings, Path], tmp_path: Path
) -> None:
    place = tmp_path / "misspelt"
    with pytest.raises(StationError, match=r"misspelt is no folder; name that of the station's"):
        run("reproduce", 1, "--database", recorded[0].database, "--pictures", place)
    assert not place.exists()


def test_pictures_that_cannot_be_kept_are_said_at_the_start(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(dir: Path) -> None:
        raise PermissionError(errno.EACCES, "Permission denied", str(dir))

    made = settings()
    monkeypatch.setattr("nfbmr.station.store.pictures.TemporaryFile", refused)
    with pytest.raises(StationError, match=r"no pictures can be kept there \(Permission denied"):
        Station(made)


def test_a_token_is_printed_once(tmp_path: Path) -> None:
    result = run("token", "ann", "--token-file", tmp_path / "t", "--scope", "review")
    secret = result.stdout.strip()
    assert len(secret) > 40
    text = (tmp_path / "t").read_text()
    assert text.startswith("ann review ")
    assert secret not in text


def test_other_machines_need_tokens(model: Path, tmp_path: Path) -> None:
    with pytest.raises(StationError, match="nfbmr token"):
        run("serve", model, "--host", "0.0.0.0", "--database", f"sqlite:///{tmp_path / 's.db'}")
    assert list(tmp_path.iterdir()) == []
