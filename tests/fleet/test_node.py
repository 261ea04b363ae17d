"""What a node says of itself, and what of it is refused; no Ray is needed here."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import pytest

from nfbmr.errors import FleetError, MissingExtraError
from nfbmr.fleet import reach
from nfbmr.fleet.cluster import _refuse_difference
from nfbmr.fleet.node import Asked, look_around

ASKED = Asked(models=(), seen=(), written=(), read=(), packages=("numpy", "no-such-package"))


def test_versions_are_said_and_none_of_what_is_not_there() -> None:
    here = look_around(ASKED)
    assert here.versions["no-such-package"] is None
    _refuse_difference("node", here, here)
    other = replace(here, versions=here.versions | {"numpy": "0.1"})
    with pytest.raises(FleetError, match=r"node b has numpy 0\.1, this machine"):
        _refuse_difference("b", here, other)


def test_a_folder_that_a_node_does_not_see_is_refused(tmp_path: Path) -> None:
    here = look_around(replace(ASKED, seen=(str(tmp_path), str(tmp_path / "absent"))))
    assert here.sees == {str(tmp_path)}
    with pytest.raises(FleetError, match=f"does not see {tmp_path};"):
        _refuse_difference("b", here, replace(here, sees=frozenset()))


def test_a_folder_that_a_node_cannot_write_to_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = look_around(replace(ASKED, written=(str(tmp_path),)))
    _refuse_difference("a", here, here)
    monkeypatch.setattr(os, "access", lambda _path, mode: mode == os.R_OK)
    there = look_around(here.asked)
    with pytest.raises(FleetError, match=f"b cannot write to {tmp_path}; mount it writable"):
        _refuse_difference("b", here, there)


def test_a_store_that_a_node_cannot_read_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[Exception | None] = [None]

    def read(address: str) -> bytes:
        if said[0] is not None:
            raise said[0]
        return b""

    monkeypatch.setattr(reach, "read_stored", read)
    asked = replace(ASKED, read=("s3://parts/1.png",))
    here = look_around(asked)
    for error in (OSError("ACCESS_DENIED"), MissingExtraError("pyarrow is not installed")):
        said[0] = error
        there = look_around(asked)
        with pytest.raises(FleetError, match=rf"node b cannot read .*{error}.*credentials"):
            _refuse_difference("b", here, there)
        _refuse_difference("b", there, there)  # this machine neither: of the picture, perhaps
