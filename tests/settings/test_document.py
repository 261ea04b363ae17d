"""`docs/settings.md` is what the schema says today, and says it of every setting."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

import pytest
from pydantic import Field

from nfbmr.settings.document import allowed, document
from nfbmr.settings.names import settings_in
from nfbmr.settings.schema import PositiveInt, Settings, Share, Side

DOCUMENT = Path(__file__).parents[2] / "docs" / "settings.md"


def rows() -> dict[str, list[str]]:
    """Setting -> the cells behind its name."""
    lines = [line for line in document().splitlines() if line.startswith("| `")]
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    return {name.strip("`"): rest for name, *rest in cells}


def test_the_document_is_not_stale() -> None:
    how = "python -m nfbmr.settings.document > docs/settings.md"
    assert DOCUMENT.read_text("utf-8") == document(), f"write it again: {how}"


def test_every_setting_has_a_row_with_a_meaning_and_a_value_in_each_column() -> None:
    found = rows()
    assert list(found) == [setting.name for setting in settings_in(Settings)]
    for name, cells in found.items():
        assert len(cells) == 6, name
        assert all(cells), name
        assert cells[0].endswith("."), f"{name}: its meaning is a sentence under the field"


def test_a_preset_shows_what_it_changes_and_is_quiet_about_the_rest() -> None:
    found = rows()
    assert found["flow.hidden"][-4:] == ["`512`", "·", "`1024`", "`1024`"]
    assert found["stage_one.steps"][-4:] == ["`400`", "`null`", "`null`", "`null`"]
    assert found["scoring.maps"][-2:] == ['`["norm", "distance", "fine", "finest"]`', '`["asm"]`']
    assert found["tiles.overlap"][-4:] == ["`0.25`", "·", "·", "·"]


@pytest.mark.parametrize(
    ("annotation", "words"),
    [
        (str, "text"),
        (bool, "`true` or `false`"),
        (PositiveInt, "whole number, 1 to 10,000,000"),
        (PositiveInt | None, "whole number, 1 to 10,000,000, or `null`"),
        (Share, "number, above 0 and below 1"),
        (Annotated[float, Field(ge=1e-6, lt=1)], "number, 1e-6 or more and below 1"),
        (Annotated[float, Field(ge=0)], "number, 0 or more"),
        (Annotated[int, Field(ge=0, lt=8)], "whole number, 0 to 7"),
        (Literal["one", "two"], "`one` or `two`"),
        (Literal[1, 3] | None, "`1`, `3` or `null`"),
        (int | str | None, "whole number, text or `null`"),
        (tuple[Side, Side] | None, "list of 2 whole numbers, 32 to 8,192 each, or `null`"),
        (tuple[Literal["a", "b"], ...], "list of some of `a`, `b`"),
        (tuple[tuple[int | str, ...], ...], "list of lists of whole numbers or texts"),
        (
            Annotated[tuple[Share, ...], Field(max_length=4)],
            "list of up to 4 numbers, above 0 and below 1 each",
        ),
    ],
)
def test_what_is_allowed_is_said_in_words(annotation: Any, words: str) -> None:
    assert allowed(annotation) == words
