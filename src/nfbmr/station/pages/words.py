"""What a number means, in words for whoever stands at the line."""

from __future__ import annotations

from datetime import datetime

from nfbmr.scoring.calibration import Verdict

SYMBOLS: dict[Verdict, str] = {"good": "✓", "look": "?", "defect": "✕"}

WORDS: dict[Verdict, str] = {"good": "Good", "look": "Look", "defect": "Defect"}

MEANINGS: dict[Verdict, str] = {
    "good": "as good parts are",
    "look": "a person is to look at it",
    "defect": "unlike good parts",
}

SOURCES = {"rest": "REST", "page": "this page"}


def clock(time: str) -> str:
    """Returns a recorded time as this machine's clock shows it."""
    return datetime.fromisoformat(time).astimezone().strftime("%H:%M:%S")


def since(time: str) -> str:
    """Returns a time of today by the clock, one of another day with that."""
    then = datetime.fromisoformat(time).astimezone()
    today = datetime.now().astimezone().date() == then.date()
    return then.strftime("%H:%M:%S" if today else "%Y-%m-%d %H:%M")


def day_and_clock(time: str) -> str:
    """Likewise, with the day."""
    return datetime.fromisoformat(time).astimezone().strftime("%Y-%m-%d %H:%M:%S")


def time_left(seconds: float) -> str:
    """Says how long something will still take."""
    if seconds < 5:
        return "a few seconds left"
    if seconds < 90:
        return f"about {5 * round(seconds / 5)} s left"
    if seconds < 5400:
        return f"about {round(seconds / 60)} min left"
    return f"about {seconds / 3600:.1f} h left"
