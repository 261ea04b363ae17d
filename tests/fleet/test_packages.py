"""Which packages have to be of the same version on all nodes."""

from __future__ import annotations

import pytest

from nfbmr.fleet import spread
from nfbmr.fleet.cluster import packages_that_judge
from nfbmr.runtimes.choose import RUNTIMES


@pytest.mark.parametrize(
    ("runtime", "expected"),
    [
        ("torch", {"torch"}),
        ("onnx", {"onnxruntime", "onnxruntime-gpu"}),
        ("tensorrt", {"onnxruntime", "onnxruntime-gpu"}),
        ("openvino:int8", {"openvino"}),
        ("auto", {"torch", "onnxruntime", "onnxruntime-gpu", "openvino"}),
    ],
)
def test_the_runtime_that_is_asked_for_is_compared(runtime: str, expected: set[str]) -> None:
    names = packages_that_judge(runtime)
    assert len(set(names)) == len(names)
    assert set(names) == expected | {"numpy", "pillow", "scipy", "pyarrow"}


def test_no_runtime_is_forgotten() -> None:
    least = len(packages_that_judge("nothing"))
    assert all(len(packages_that_judge(runtime)) > least for runtime in RUNTIMES)


def test_what_reads_pictures_is_compared_before_they_are_learnt() -> None:
    """Else a node is refused in mid-work."""
    assert "pillow" in spread._PACKAGES
