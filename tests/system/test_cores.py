"""How many cores there are to compute with."""

from __future__ import annotations

import os

import pytest

from nfbmr.system.cores import cores


def test_where_no_limit_of_cores_is_known_all_are_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(os, "sched_getaffinity", raising=False)
    for found, expected in ((6, 6), (None, 1)):
        monkeypatch.setattr(os, "cpu_count", lambda found=found: found)
        assert cores() == expected
