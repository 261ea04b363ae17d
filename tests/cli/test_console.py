"""What is shown while it works: plain words, the paper's under -v, whole lines in pipes."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
from rich.console import Console
from typer.testing import CliRunner

from nfbmr.cli import console
from nfbmr.cli.app import app
from nfbmr.cli.console import log_to_terminal, shown_progress, title_of


@pytest.mark.parametrize("what", ["survey", "pose", "features", "export", "flow", "mapping"])
def test_the_papers_names_are_for_those_who_ask(what: str) -> None:
    log_to_terminal()
    plain = title_of(what)
    assert not any(word in plain for word in ("SNN", "TNF", "BMR", "Stage", "("))
    log_to_terminal(verbose=True)
    assert title_of(what).startswith(plain)
    assert title_of("flow") == "Learning good parts (stage one, TNF)"


def test_a_loss_is_for_those_who_ask(capsys: pytest.CaptureFixture[str]) -> None:
    for verbose in (False, True):
        log_to_terminal(verbose=verbose)
        with shown_progress() as progress:
            progress("flow", 1, 2, 0.5)
            progress("flow", 2, 2, 0.25)
        said = capsys.readouterr().err
        assert ("loss 0.2500" in said) == verbose
        assert said.splitlines()[-1].startswith("Learning good parts")
        assert "0 s left" not in said, "nothing is left"
    assert len(said.splitlines()) == 1, "and nothing is said of what has just begun"


def test_lines_do_not_wrap_in_a_pipe_though_colours_are_forced(tmp_path: Path) -> None:
    code = (
        "import logging; from nfbmr.cli.console import log_to_terminal, shown_progress\n"
        "log_to_terminal()\n"
        "with shown_progress() as progress: progress('flow', 2, 2)\n"
        f"logging.getLogger('nfbmr').warning('%s', {'word ' * 60!r})\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        env={"PATH": "", "FORCE_COLOR": "1", "COLUMNS": "40", "PYTHONPATH": ":".join(sys.path)},
    )
    assert done.stderr.splitlines() == [
        "Learning good parts: 2 of 2",
        f"Warning: {'word ' * 60}".rstrip("\n"),
    ]


def test_learnt_in_counts_all(monkeypatch: pytest.MonkeyPatch) -> None:
    facts = SimpleNamespace(fit_seconds=100.0)
    clock = iter([1000.0, 1250.0, 2000.0, 2010.0])
    monkeypatch.setattr("nfbmr.cli.fit.time", SimpleNamespace(monotonic=lambda: next(clock)))
    monkeypatch.setattr("nfbmr.fitting.fit", lambda *a, **k: SimpleNamespace(facts=facts))
    said = CliRunner().invoke(app, ["fit", "data", "-o", "a model"]).stderr
    assert "Learnt in 250 s: a model" in said, "what came around the fit, such as graphs"
    assert "nfbmr inspect 'a model' PICTURES" in said
    said = CliRunner().invoke(app, ["fit", "data", "-o", "model"]).stderr
    assert "Learnt in 100 s: model" in said, "what was done before a kill"


def test_a_terminal_is_where_a_person_looks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(console, "stderr", Console(force_terminal=True, stderr=True))
    assert not console.on_a_terminal()
