"""What a model directory says of its graphs: written, read back, and refused where it is wrong."""

from __future__ import annotations

import json
import logging
from typing import Any

import pytest

from nfbmr.errors import BundleTamperedError
from nfbmr.model.exports import (
    CALIBRATION,
    PRECISIONS,
    TARGETS,
    Export,
    Gate,
    calibration_file,
    exports_from_json,
    exports_to_json,
    graph_file,
    with_stronger_proof,
)

GRAPH = "0" * 64


def gate(**changes: Any) -> Gate:
    values: dict[str, Any] = {
        "good": 20,
        "drawn": 16,
        "maps": 2e-5,
        "maps_allowed": 1e-3,
        "scores": 3e-5,
        "scores_allowed": 1e-4,
        "p_values": 0.0,
        "milliseconds": 12.5,
        "versions": {"torch": "2.14"},
        "calibration": "2" * 64,
    }
    return Gate(**(values | changes))


def test_what_is_written_is_read_back() -> None:
    exports = (
        Export(target="onnx", precision="fp32", graph=GRAPH, gate=gate()),
        Export(target="openvino", precision="int8", graph=GRAPH, gate=gate(p_values=0.25)),
    )
    assert exports_from_json(exports_to_json(exports).encode()) == exports
    assert [(e.name, e.file, e.calibration) for e in exports] == [
        ("onnx fp32", "model.onnx", "calibration.json"),
        ("openvino int8", "model.int8.openvino.onnx", "calibration.openvino.int8.json"),
    ]
    assert exports_from_json(exports_to_json(()).encode()) == ()


def test_what_is_learnt_again_has_files_of_its_own_and_the_rest_shares() -> None:
    every = [(target, precision) for target in TARGETS for precision in PRECISIONS]
    assert len({graph_file(*one) for one in every}) == 2 + 2 * 2
    shared = [one for one in every if calibration_file(*one) == CALIBRATION]
    assert {precision for _, precision in shared} == {"fp32", "fp16"}
    assert len({calibration_file(*one) for one in every}) == 1 + 2 * 2


def test_a_gate_says_what_was_compared_and_how_near_it_came() -> None:
    text = gate().describe()
    assert "same verdict on 20 good and 16 drawn pictures" in text
    assert "3.0e-05 (1e-04 allowed)" in text
    assert "2.0e-05 (1e-03 allowed)" in text
    assert "12.5 ms" in text
    assert "learnt again" not in text


def test_a_gate_without_good_pictures_says_so() -> None:
    text = gate(good=0).describe()
    assert text.startswith("compared on 16 drawn pictures alone, no good one; same verdict;")
    assert "0 good" not in text


def proved(**changes: Any) -> Export:
    own = {name: changes.pop(name) for name in ("graph", "precision") if name in changes}
    values: dict[str, Any] = {"target": "onnx", "precision": "fp32", "graph": GRAPH} | own
    return Export(gate=gate(**changes), **values)


def test_a_proof_on_more_good_pictures_stays_for_the_same_graph(
    caplog: pytest.LogCaptureFixture,
) -> None:
    before = proved(good=5)
    with caplog.at_level(logging.INFO, "nfbmr"):
        kept = with_stronger_proof(proved(good=0, maps=9e-5, milliseconds=7.0), (before,))
    assert kept == proved(good=5, maps=9e-5, milliseconds=7.0)
    (said,) = caplog.messages
    assert said.startswith("onnx fp32: the graph is the one that was proved on 5 good pictures")


@pytest.mark.parametrize(
    "changes",
    [
        {"good": 6},
        {"graph": "1" * 64},
        {"precision": "fp16"},
        {"versions": {"torch": "2.15"}},
        {"calibration": "3" * 64},
    ],
    ids=str,
)
def test_a_new_proof_stands_where_it_says_more_or_is_of_something_else(
    changes: dict[str, Any],
) -> None:
    done = proved(**({"good": 0} | changes))
    assert with_stronger_proof(done, (proved(good=5),)) == done


def test_a_proof_that_says_no_calibration_does_not_stay() -> None:
    before, done = (proved(good=good, calibration="") for good in (5, 0))
    assert with_stronger_proof(done, (before,)) == done


def test_a_graph_that_was_learnt_again_has_the_new_proof() -> None:
    before, done = (proved(good=good, precision="int8") for good in (5, 4))
    assert with_stronger_proof(done, (before,)) == done


def learnt_again(**changes: Any) -> str:
    values = {"separates": 0.84, "separated": 0.845, "most_lost": 0.0087, "ranks": 0.991} | changes
    return Export(target="onnx", precision="int8", graph=GRAPH, gate=gate(**values)).describe()


def test_what_was_learnt_again_says_whether_it_is_certified() -> None:
    text = learnt_again(certified=True)
    assert "in 84.0 % of pairs, in single precision 84.5 %" in text
    assert "at most 0.9 points are lost), rank correlation of the scores 0.991" in text
    assert "NOT CERTIFIED" not in text
    text = learnt_again(certified=False, not_certified="5 good pictures are held out")
    assert text.endswith(
        "NOT CERTIFIED to find as much as single precision: 5 good pictures are held out"
    )


def test_what_an_older_version_exported_was_never_asked() -> None:
    text = learnt_again(most_lost=None, ranks=None)
    assert text.endswith("single precision: exported by an older version; export again")


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("target", "tflite"),
        ("precision", "fp8"),
        ("gate", None),
        ("graph", "0" * 63),
        ("file", "../other.onnx"),
    ],
)
def test_values_that_nfbmr_did_not_write_are_refused(key: str, value: object) -> None:
    (written,) = json.loads(
        exports_to_json((Export(target="onnx", precision="fp32", graph=GRAPH, gate=gate()),))
    )
    text = json.dumps([written | {key: value}])
    with pytest.raises(BundleTamperedError, match=r"exports\.json refused.*export again"):
        exports_from_json(text.encode())


@pytest.mark.parametrize("text", [b"", b"{}", b"\xff", b"[1]", b"null"])
def test_something_else_is_refused(text: bytes) -> None:
    with pytest.raises(BundleTamperedError, match=r"exports\.json refused"):
        exports_from_json(text)


@pytest.mark.parametrize("changes", [{"scores": float("nan")}, {"maps": -1.0}, {"p_values": 1.5}])
def test_impossible_figures_are_refused(changes: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=next(iter(changes))):
        gate(**changes)


def test_one_graph_is_not_named_twice() -> None:
    twice = (Export(target="onnx", precision="fp32", graph=GRAPH, gate=gate()),) * 2
    with pytest.raises(BundleTamperedError, match="twice"):
        exports_from_json(exports_to_json(twice).encode())
