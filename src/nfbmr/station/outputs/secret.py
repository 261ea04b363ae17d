"""What is said in a file, since whoever works on a machine reads the words of its commands."""

from __future__ import annotations

from pathlib import Path

from nfbmr.errors import SettingsError
from nfbmr.system.files import reason_of


def line_of(file: Path, option: str) -> str:
    """Returns the one line of a file.

    Args:
        file: the file.
        option: that names it, as a user knows it.

    Raises:
        SettingsError: it cannot be read, or holds no line, or more than one.
    """
    try:
        text = file.read_text("utf-8").rstrip("\r\n")
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(f"{option} {file} cannot be read ({reason_of(error)})") from None
    if not text or "\n" in text:
        found = f"{text.count(chr(10)) + 1} lines" if text else "nothing"
        raise SettingsError(f"{option} {file}: one line was expected, found {found}")
    return text


def given_or_line_of(given: str | None, file: Path | None, option: str) -> str | None:
    """Returns what was given, or else the one line of a file; raises as `line_of`."""
    return given if file is None else line_of(file, option)
