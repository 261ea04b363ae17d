"""Tables of what loads and how late verdicts are say each row."""

from __future__ import annotations

from nfbmr.benchmark.timings import live, reading


def test_each_kind_of_file_has_a_line() -> None:
    row = {"megapixels": 12, "gray": False, "format": "JPEG", "times_as_fast": 4.21}
    taken = {"copied": 204.6, "whole": 105.2, "scaled": 48.6}
    said = reading([row | {"milliseconds": taken}, row | {"milliseconds": taken, "gray": True}])
    assert "| 12 megapixels, colour JPEG | 205 | 49 | 4.2 |" in said
    assert "| 12 megapixels, gray JPEG |" in said


def test_each_stream_has_a_line() -> None:
    late = {"median": 24.8, "percentile_95": 42.3, "worst": 101.4}
    said = live([{"rate": 30.0, "size": [160, 192], "runtime": "openvino", "milliseconds": late}])
    assert "| 30, 160 x 192, openvino | 25 | 42 | 101 |" in said
