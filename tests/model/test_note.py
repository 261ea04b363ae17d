"""What a person wrote into the card stays, wherever it stands."""

from __future__ import annotations

from pathlib import Path

from nfbmr.inspection.inspector import load
from nfbmr.model.note import _MARK, with_note


def test_a_note_around_the_card_stays_where_it_was() -> None:
    assert with_note("Station 3\n\n# old\n\nSeen by all.\n", "# old\n", "# new\n") == (
        f"Station 3\n\n# new\n\nSeen by all.\n\n{_MARK}\n"
    )


def test_a_note_inside_the_card_comes_behind_it() -> None:
    assert with_note("# old\nfor line 3\nend\n", "# old\nend\n", "# new\nend\n") == (
        f"# new\nend\n\n## Notes\n\nfor line 3\n\n{_MARK}\n"
    )
    assert with_note("# old\n", "# old\nend\n", "# new\n") == "# new\n"


def test_the_card_of_another_version_is_no_note() -> None:
    assert with_note("# older\n", "# old\n", "# new\n", as_written=True) == "# new\n"


def test_notes_that_were_kept_stay_where_the_version_changes() -> None:
    kept = with_note("Station 3\n\n# older\n", "# older\n", "# older, again\n")
    after = with_note(kept, "# old\n", "# new\n", as_written=True)
    assert after.startswith("# new\n")
    assert "Station 3" in after
    assert after.count(_MARK) == 1


def test_a_note_in_the_card_stops_nothing_and_stays(model_copy: Path) -> None:
    card = model_copy / "README.md"
    before = card.read_text("utf-8")
    card.write_text(f"{before}\nApproved for line 3.\n", "utf-8")
    changed = load(model_copy, device="cpu").recalibrated(0.5)
    changed.save_calibration()
    after = load(model_copy, device="cpu")
    assert after.calibration.false_alarm_rate == 0.5
    text = card.read_text("utf-8")
    assert text.endswith(f"\nApproved for line 3.\n\n{_MARK}\n")
    assert "false-alarm rate of 0.5" in text
    assert "false-alarm rate of 0.2" not in text
