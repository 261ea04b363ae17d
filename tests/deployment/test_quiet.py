"""Exporters are kept from talking, and nobody else is."""

from __future__ import annotations

import logging
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

from nfbmr.deployment.graphs import quantise, write_source
from nfbmr.deployment.quiet import quiet
from nfbmr.networks.detector import Detector
from nfbmr.networks.source import SourceNetwork
from nfbmr.settings.changes import with_changes
from nfbmr.settings.schema import Settings

pytest.importorskip("onnxruntime", reason="ONNX Runtime is not installed")
pytest.importorskip("onnxscript", reason="torch's exporter is not installed")

OTHERS = ("somebody.else", "")  # the latter is the root


@contextmanager
def talking() -> Iterator[list[str]]:
    """Another thread logs and warns all the while; gives what it has said."""
    said: list[str] = []
    over = threading.Event()

    def talk() -> None:
        while not over.wait(0.005):  # a small graph is quantised in tens of milliseconds
            text = f"message {len(said)}"
            for name in OTHERS:
                logging.getLogger(name).warning(text)
            said.append(text)

    thread = threading.Thread(target=talk)
    thread.start()
    try:
        yield said
    finally:
        over.set()
        thread.join()


@pytest.mark.exporter
def test_what_others_log_during_an_export_arrives_and_what_exporters_log_does_not(
    tiny: Settings,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str],
) -> None:
    caplog.set_level(logging.DEBUG)
    changes = {"backbone": {"stages": [2], "scales": [], "scale_stages": [], "detail": None}}
    judged = {"scoring": {"maps": ["norm", "distance"], "heat": None}}
    small = with_changes(tiny, {**changes, **judged})
    detector = Detector(SourceNetwork.of(small.backbone), small, (64, 64))
    pixels = np.random.default_rng(0).integers(0, 256, (4, 64, 64, 3)).astype(np.uint8)
    caplog.clear()
    with talking() as said:
        write_source(detector, (64, 64), tmp_path / "source.onnx")
        written = len(said)
        quantise(tmp_path / "source.onnx", tmp_path / "int8.onnx", pixels)
    assert 0 < written < len(said)
    for name in OTHERS:
        found = [r.getMessage() for r in caplog.records if r.name == (name or "root")]
        assert found == said
    names = {record.name for record in caplog.records}
    assert names <= {"somebody.else", "root", "torch.__trace"}  # a file for whom sets TORCH_TRACE
    assert capfd.readouterr().err == ""


def test_everything_is_as_it_was_afterwards(monkeypatch: pytest.MonkeyPatch) -> None:
    root, exporter = logging.getLogger(), logging.getLogger("torch.onnx")
    below = exporter.getChild("any")
    monkeypatch.setattr(root, "handlers", [])
    before = list(root.filters), exporter.level, list(warnings.filters)

    def fail() -> None:
        with quiet():
            logging.info("this would give the root a handler")
            assert root.handlers == [logging.lastResort]
            assert not below.isEnabledFor(logging.WARNING)
            assert below.isEnabledFor(logging.ERROR)
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    assert root.handlers == []
    assert (root.filters, exporter.level, warnings.filters) == before
    assert below.isEnabledFor(logging.WARNING)


def test_warnings_of_exporters_are_dropped_and_those_of_others_arrive() -> None:
    exporters = ("torch.onnx", "torch.export.dynamic_shapes", "copyreg", "onnx_ir.passes")
    others = ("somebody", "torch", "torch.onnxious", "onnx_reader")
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        with quiet():
            for module in (*exporters, *others):
                warnings.warn_explicit(module, UserWarning, "file.py", 1, module=module)
    assert [str(one.message) for one in caught] == list(others)
