"""Standard output and error that are closed, full, left by their reader, or lack letters."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

import pytest

from nfbmr.cli.app import main
from nfbmr.cli.console import Outlet, is_unread, open_outlets
from nfbmr.station.auth import read_tokens

FULL = Path("/dev/full")
WAYS = [
    "left",
    "closed",
    pytest.param("full", marks=pytest.mark.skipif(not FULL.exists(), reason="none here")),
]


@contextmanager
def standing_in(way: str) -> Iterator[TextIO | None]:
    """Gives a standard output whose reader has left, that is full, or that was closed."""
    if way == "closed":
        yield None
        return
    reader, writer = os.pipe()
    os.close(reader)
    if way == "full":
        os.close(writer)
        writer = os.open(FULL, os.O_WRONLY)
    stream = open(writer, "w", encoding="ascii")  # noqa: PTH123, SIM115 - a descriptor
    yield stream
    stream.close()  # whatever was left unwritten in it would raise


def ended(monkeypatch: pytest.MonkeyPatch, way: str, *words: object) -> int:
    """Runs the program with such a standard output; returns its exit code."""
    monkeypatch.setattr(sys, "argv", ["nfbmr", *map(str, words)])
    with standing_in(way) as stream:
        monkeypatch.setattr(sys, "stdout", stream)
        with pytest.raises(SystemExit) as caught:
            main()
    return int(caught.value.code or 0)


@pytest.mark.parametrize("way", WAYS)
def test_what_cannot_be_printed_is_an_error_but_where_nobody_reads(
    model: Path,
    good_folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    way: str,
) -> None:
    code = 2 if way == "full" else 0
    for words in (
        ["info", model],
        ["cache"],
        ["doctor"],
        ["fit", "--help"],
        ["inspect", model, good_folder / "000.png"],
        ["inspect", model, good_folder / "000.png", "--format=csv"],
    ):
        assert ended(monkeypatch, way, *words) == code, words
        said = capsys.readouterr().err
        assert "Traceback" not in said
        assert ("nfbmr: standard output: No space left on device; make room" in said) == bool(code)


def test_more_than_a_buffer_holds_is_no_trouble_either(
    model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("nfbmr.model.bundle.Bundle.card", lambda _: 1_000_000 * "a")
    assert ended(monkeypatch, "left", "info", model) == 0


def test_an_exit_code_that_means_something_outlives_the_reader(
    model: Path, good_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (good_folder / "broken.png").write_bytes(b"broken")
    words = ("inspect", model, good_folder, "--exit-code", "--format=jsonl")
    assert ended(monkeypatch, "left", *words) == 3
    assert ended(monkeypatch, "left", "info", "nowhere") == 2


def test_rows_in_a_file_are_all_there_whoever_reads_the_screen(
    model: Path, good_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = tmp_path / "rows.jsonl"
    assert ended(monkeypatch, "closed", "inspect", model, good_folder, "-o", rows) == 0
    assert len(rows.read_text().splitlines()) == 12


def test_a_hot_folder_is_watched_though_the_disk_behind_the_screen_is_full(
    model: Path,
    good_folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    if not FULL.exists():
        pytest.skip("there is no such device here")
    words = ("watch", model, good_folder, "--once", "--settle=0", "--device=cpu")
    assert ended(monkeypatch, "full", *words) == 0
    log = (good_folder / "nfbmr.jsonl").read_text().splitlines()
    assert len({json.loads(line)["path"] for line in log}) == 12
    said = capsys.readouterr().err
    assert said.count("Nothing is printed: standard output: No space left on device") == 1


@pytest.mark.parametrize("way", WAYS)
def test_a_token_that_nobody_would_see_is_not_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], way: str
) -> None:
    file = tmp_path / "tokens"
    assert ended(monkeypatch, way, "token", "ann", "--token-file", file) == 2
    assert "nfbmr: " in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []
    monkeypatch.setattr(sys, "stdout", io.StringIO())
    monkeypatch.setattr(sys, "argv", ["nfbmr", "token", "ann", "--token-file", str(file)])
    with pytest.raises(SystemExit) as caught:
        main()
    assert not caught.value.code
    assert [token.name for token in read_tokens(file)] == ["ann"]


def test_an_error_keeps_its_exit_code_though_nobody_reads_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for words in (["info", "nowhere"], ["info", "--nothing"], ["info", ""]):
        monkeypatch.setattr(sys, "argv", ["nfbmr", *words])
        for way in ("left", "closed"):
            with standing_in(way) as stream:
                monkeypatch.setattr(sys, "stderr", stream)
                with pytest.raises(SystemExit) as caught:
                    main()
                assert caught.value.code == 2


def test_letters_are_escaped_and_the_streams_are_given_back(tmp_path: Path) -> None:
    before = sys.stdout, sys.stderr
    with (
        (tmp_path / "out").open("w", encoding="cp1252") as stream,
        pytest.MonkeyPatch.context() as m,
    ):
        m.setattr(sys, "stdout", stream)
        with open_outlets():
            assert isinstance(sys.stdout, Outlet)
            assert not is_unread()
            print("零件 ü", end="")
        assert sys.stdout is stream
    assert (sys.stdout, sys.stderr) == before
    assert (tmp_path / "out").read_bytes() == b"\\u96f6\\u4ef6 \xfc"


def test_no_file_takes_the_number_of_a_closed_output(tmp_path: Path) -> None:
    code = (
        "import os; os.close(0); os.close(1); os.close(2)\n"
        "import sys; sys.stdout = sys.stderr = None\n"
        "from nfbmr.cli.console import open_outlets\n"
        "with open_outlets():\n"
        f"    file = open({str(tmp_path / 'mine')!r}, 'w')\n"
        "    print('not for the file'); os.write(1, b'nor this')\n"
        "    file.write(str(file.fileno())); file.close()\n"
    )
    subprocess.run(
        [sys.executable, "-c", code], check=True, env={"PATH": "", "PYTHONPATH": ":".join(sys.path)}
    )
    assert int((tmp_path / "mine").read_text()) > 2
