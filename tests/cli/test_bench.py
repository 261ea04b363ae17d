"""`nfbmr bench`: what it asks for, what it prints, and how it ends."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from nfbmr.benchmark.peers import race
from nfbmr.benchmark.peers.catalogue import PEERS
from nfbmr.benchmark.peers.deployment import Deployed
from nfbmr.cli.app import app
from nfbmr.errors import SettingsError
from nfbmr.paper.ledger import Key

ROW: dict[str, Any] = {
    **{"category": "widget", "system": "nfbmr", "seed": 0, "image_auroc": 0.97, "image_ap": 0.9},
    **{"pixel_auroc": 0.9, "aupro": 0.8, "fit_seconds": 10.0, "inspect_ms": 20.0},
    **{"peak_mb": 900.0, "model_mb": 6.0, "weights": ["embedded"]},
}


def run(*words: object) -> Result:
    result = CliRunner().invoke(app, ["bench", *map(str, words)])
    assert result.exception is None or isinstance(result.exception, SystemExit | SettingsError), (
        result.exception
    )
    return result


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[race.Race]:
    """The races that were asked for; each gives one row and loses one."""
    seen: list[race.Race] = []

    def fake(wanted: race.Race, out: Path) -> tuple[list[Any], list[race.Lost]]:
        del out
        seen.append(wanted)
        key = Key("race", "widget", "dfm", 0)
        return [ROW], [race.Lost(key=key, reason="no room\x1b[2J")] if wanted.peers else []

    monkeypatch.setattr(race, "run", fake)
    return seen


def test_all_peers_three_seeds_five_minutes(asked: list[race.Race], tmp_path: Path) -> None:
    result = run("peers", "--data", f"widget={tmp_path}", "-o", tmp_path / "out")
    assert asked == [
        race.Race(
            data=(("widget", tmp_path),),
            peers=tuple(one.key for one in PEERS),
            seeds=(0, 1, 2),
            seconds=300.0,
            sizes=("default", "nfbmr"),
        )
    ]
    assert result.exit_code == 1, "one row is lost"
    assert "failed: widget, dfm, seed 0: no room?[2J" in result.output
    assert "| **nfbmr** | 97.0 |" in (tmp_path / "out" / "peers.md").read_text(encoding="utf-8")
    assert (tmp_path / "out" / "peers.png").is_file()
    assert (tmp_path / "out" / "peers.svg").is_file()


def test_nfbmr_alone(asked: list[race.Race], tmp_path: Path) -> None:
    words = ["--peers", "none", "--seeds", "1", "-o", tmp_path / "out"]
    assert run("peers", "--data", f"widget={tmp_path}", *words).exit_code == 0
    assert (asked[0].peers, asked[0].seeds) == ((), (1,))


def test_an_unknown_peer_is_refused_before_anything_runs(
    asked: list[race.Race], tmp_path: Path
) -> None:
    result = run("peers", "--data", f"w={tmp_path}", "-o", tmp_path / "out", "--peers", "padim,x")
    assert isinstance(result.exception, SettingsError)
    assert "--peers x: unknown" in str(result.exception)
    assert not asked
    assert not (tmp_path / "out").exists()


def test_speed_of_a_model_on_a_folder_a_table_and_on_one_picture(
    model: Path, good_folder: Path, tmp_path: Path
) -> None:
    table = tmp_path / "table.csv"
    table.write_text(f"path\n{sorted(good_folder.iterdir())[0]}\n")
    for pictures in (good_folder, table, sorted(good_folder.iterdir())[0]):
        result = run("speed", model, pictures, "--device", "cpu")
        assert result.exit_code == 0, result.output
        for part in ("decode and resize", "graph (torch)", "file to verdict", "a second"):
            assert part in result.output


def test_speed_beside_peers(
    model: Path, good_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[tuple[str, int, int, float, int | None]] = []

    def fake(key: str, good: Any, pictures: Any, *, seconds: float, threads: int | None) -> Any:
        asked.append((key, len(good), len(pictures), seconds, threads))
        return Deployed(title=key.title(), milliseconds={"fp32": 7.25}, megabytes=1.0, coreset=None)

    monkeypatch.setattr("nfbmr.benchmark.peers.deployment.deployed", fake)
    words = ["--peers", "padim,dfm", "--minutes", "2", "--device", "cpu"]
    result = run("speed", model, good_folder, *words)
    assert result.exit_code == 0, result.output
    assert asked == [("padim", 12, 33, 120.0, None), ("dfm", 12, 33, 120.0, None)]
    assert "Padim, fp32" in result.output
    assert "7.2 ms   file to verdict, OpenVINO" in result.output


def test_peers_cannot_learn_from_one_picture(model: Path, good_folder: Path) -> None:
    picture = sorted(good_folder.iterdir())[0]
    result = run("speed", model, picture, "--peers", "padim", "--device", "cpu")
    assert isinstance(result.exception, SettingsError)
    assert "give a data set with good pictures" in str(result.exception)
    result = run("speed", model, picture, "--peers", "x")
    assert "--peers x: unknown" in str(result.exception)
