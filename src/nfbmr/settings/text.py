"""Settings from words: sizes, lists, `KEY=VALUE` and `NAME=VALUE` pairs."""

from __future__ import annotations

import json
import math
import re
from typing import Any

from nfbmr.errors import SettingsError

_RATES = ("false_alarm_rate", "look_rate")


def parse_size(text: str) -> tuple[int, int]:
    """Reads `320` or `320x448` as (H, W).

    Raises:
        SettingsError: it is neither.
    """
    parts = text.lower().replace("×", "x").split("x")
    if len(parts) > 2 or not all(re.fullmatch(r"[0-9]{1,5}", part.strip()) for part in parts):
        raise SettingsError(f"--size {text}: expected a number or HEIGHTxWIDTH, such as 320x448")
    numbers = [int(part) for part in parts]
    return numbers[0], numbers[-1]


def parse_rate(option: str, text: str) -> float:
    """Reads a rate such as `0.05` or `5%`; whether it is one of use is for others to say.

    Args:
        option: what it was given as, for the message.
        text: the rate.

    Raises:
        SettingsError: it is no number, below 0, or 1 and more.
    """
    number, percent, rest = text.strip().partition("%")
    try:
        value = float(number) / (100 if percent else 1)
    except ValueError:
        value = math.inf
    if rest or not 0 <= value < 1:
        point = "; the decimal sign is a point" if "," in text else ""
        raise SettingsError(
            f"{option} {text}: expected a share of good pictures between 0 and 1, such as 0.05, "
            f"or 5%{point}"
        )
    return value


def parse_number(option: str, text: str | float, least: float, most: float = math.inf) -> float:
    """Reads a number from `least` to `most`, both among them.

    Args:
        option: what it was given as, for the message.
        text: the number.
        least: it may be.
        most: likewise.

    Raises:
        SettingsError: it is no number, or another one.
    """
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not least <= value <= most:
        to = "" if most == math.inf else f" and at most {most:,.0f}"
        point = "; the decimal sign is a point" if "," in str(text) else ""
        raise SettingsError(f"{option} {text}: expected a number, at least {least:g}{to}{point}")
    return value


def parse_changes(pairs: list[str]) -> dict[str, Any]:
    """Reads `KEY=VALUE` pairs with dots in the keys as nested changes; values are JSON or text.

    A rate of false alarms or looks may be in percent, as for `parse_rate`.

    Raises:
        SettingsError: a pair has no key, one key is inside another's value, or what begins as a
            list, an object or a quoted text is no JSON.
    """
    changes: dict[str, Any] = {}
    for pair in pairs:
        key, found, value = pair.partition("=")
        if not found or not key:
            raise SettingsError(f"--set {pair}: expected KEY=VALUE, such as flow.hidden=256")
        put(changes, key.strip(), _value_of(key.strip(), value))
    return changes


def _value_of(key: str, text: str) -> object:
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        if key.endswith(_RATES) and ("%" in text or "," in text):
            return parse_rate(f"--set {key}", text)
        if text.lstrip()[:1] in ("[", "{", '"'):
            raise SettingsError(
                f"--set {key}={text}: found no whole JSON ({error}); expected such as [1, 2] or "
                '["norm", "fine"]; in a shell put the whole pair between \' and \''
            ) from None
        return text


def put(changes: dict[str, Any], key: str, value: object) -> None:
    """Sets a key such as `flow.hidden` in nested changes.

    Raises:
        SettingsError: a part of the key was given a value of its own before.
    """
    inside = changes
    *outer, last = key.split(".")
    for name in outer:
        inside = inside.setdefault(name, {})
        if not isinstance(inside, dict):
            raise SettingsError(f"{key}: {name} was given a value of its own before")
    inside[last] = value


def parse_words(text: str) -> tuple[str, ...]:
    """Reads `a,b` as words, in order and each once; nothing gives none."""
    return tuple(dict.fromkeys(word for part in text.split(",") if (word := part.strip())))


def parse_numbers(option: str, text: str) -> tuple[int, ...]:
    """Reads `0,1,2` as whole numbers, in order and each once.

    Raises:
        SettingsError: there is none, or something else.
    """
    words = parse_words(text)
    if not words or not all(re.fullmatch(r"[0-9]{1,9}", word) for word in words):
        raise SettingsError(f"{option} {text}: expected whole numbers, such as 0,1,2")
    return tuple(dict.fromkeys(int(word) for word in words))


def parse_pairs(option: str, pairs: list[str]) -> list[tuple[str, str]]:
    """Reads `NAME=VALUE` pairs; names become those of files, so they are plain.

    Raises:
        SettingsError: a pair has no name or value, a name is none for a file, or one comes twice.
    """
    found: dict[str, str] = {}
    for pair in pairs:
        name, _, value = pair.partition("=")
        if not value or not re.fullmatch(r"\w[\w .-]{0,60}", name) or name in found:
            raise SettingsError(
                f"{option} {pair}: expected NAME=VALUE, each name once, of letters, digits and "
                "_ . - such as solar_mono=solar_mono.csv"
            )
        found[name] = value
    return list(found.items())


def parse_weights(texts: list[str]) -> dict[str, str]:
    """Reads `FILE` or `NETWORK=FILE` as network -> weights; "" stands for SNN.

    Raises:
        SettingsError: one network comes twice.
    """
    found: dict[str, str] = {}
    for text in texts:
        name, equals, value = text.partition("=")
        name, value = (name, value) if equals else ("", text)
        if name in found or not value:
            raise SettingsError(
                f"--weights {text}: expected FILE or NETWORK=FILE, each network once"
            )
        found[name] = value
    return found
