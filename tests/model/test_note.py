"""What a person wrote into the card stays, wherever it stands."""

from __future__ import annotations

from pathlib import Path

from nfbmr.inspection.inspector import load
from nfbmr.model.note import with_note


def test_a_note_around_the_card_stays_where_it_was() -> None:
    assert with_note("Station 3\n\n# old\n\nSeen by all.\n", "# old\n", "# new\n") == (
        "Station 3\n\n# new\n\nSeen by all.\n"
    )


def test_a_note_inside_the_card_comes_behind_it() -> None:
    assert with_note("# old\nfor line 3\nend\n", "# old\nend\n", "# new\nend\n") == (
        "# new\nend\n\n## Notes\n\nfor line 3\n"
    )
    assert with_note("# old\n", "# old\nend\n", "# new\n") == "# new\n"


def test_a_note_in_the_card_stops_nothing_and_stays(model_copy: Path) -> None:
    card = model_copy / "README.md"
    before = card.read_text("utf-8")
    card.write_text(f"{before}\nApproved for line 3.\n", "utf-8")
    changed = load(model_copy, device="cpu").recalibrated(0.5)
    changed.save_calibration()
    after = load(model_copy, device="cpu")
    assert after.calibration.false_alarm_rate == 0.5
    text = card.read_text("utf-8")
    assert text.endswith("\nApproved for line 3.\n")
    assert "false-alarm rate of 0.5" in text
    assert "false-alarm rate of 0.2" not in text
