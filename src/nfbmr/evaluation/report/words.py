"""Figures as the report writes them."""

from __future__ import annotations

from nfbmr.system.words import at_most_one


def fixed(value: float | None, digits: int) -> str:
    """Returns a number with so many digits behind the point; a dash for None."""
    return "–" if value is None else f"{value:.{digits}f}"


def number(value: float) -> str:
    """Returns a number with four digits."""
    return f"{value:.4g}"


def percent(share: float | None) -> str:
    """Returns a share in percent; a dash for None."""
    if share is None:
        return "–"
    return f"{100 * share:.3g}%" if share < 0.1 else f"{100 * share:.1f}%"


def p_value(value: float) -> str:
    """Returns a p-value; small ones as powers of ten."""
    return f"{value:.1e}" if 0 < value < 0.001 else f"{value:.3f}"


def milliseconds(value: float | None) -> str:
    """Returns a time in milliseconds; a dash for None."""
    if value is None:
        return "–"
    return f"{value:.1f} ms" if value < 10 else f"{value:.0f} ms"


def duration(seconds: float) -> str:
    """Returns a time in the units that a person would use."""
    whole = round(seconds)
    if whole < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(whole, 60)
    return f"{minutes} min {rest} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"


def area(pixels: int, mm2: float | None) -> str:
    """Returns a size in pixels, and in square millimetres where the scale is known."""
    return f"{pixels} px" if mm2 is None else f"{pixels} px ({mm2:.3g} mm²)"


def rarity(p_value: float | None) -> str:
    """Says how many good pictures have a place as unusual anywhere; nothing where none is known.

    The p-value bounds their share from above, but for chance.
    """
    if p_value is None:
        return ""
    if p_value > 0.5:
        return "many good pictures have such a place"
    return f"{at_most_one('good picture', p_value)} has such a place"
