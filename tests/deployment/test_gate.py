"""What the gate calls its pictures."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from nfbmr.deployment.gate import Pictures


def test_pictures_without_a_file_are_called_by_kind_and_number() -> None:
    plain = np.zeros((8, 8, 3), np.uint8)
    pictures = Pictures(good=[plain, Path("good/one.png"), plain], drawn=[plain, plain])
    assert [pictures.name(number) for number in range(5)] == [
        "good picture 1",
        str(Path("good/one.png")),
        "good picture 3",
        "drawn picture 1",
        "drawn picture 2",
    ]
