"""What an inspector says, once, of pictures that it sees otherwise than their sender may think.

Of files of several pages the first is looked at alone. Pictures of another depth or shape than the
good ones are brought to what the model knows, and then look unusual all over.
"""

from __future__ import annotations

import logging
from collections.abc import Generator, Iterable, Iterator

from nfbmr.data.pages import said_of
from nfbmr.data.survey import MOST_STRETCH
from nfbmr.inspection.result import Failure, Inspection
from nfbmr.model.facts import Facts
from nfbmr.system.files import printable

_log = logging.getLogger(__name__)


class Several:
    """Says it once of the pictures of one run, or of the first one that is inspected by itself."""

    def __init__(self, facts: Facts) -> None:
        """Has said nothing yet; `facts` are of the good pictures."""
        self._facts = facts
        self._said: set[str] = set()

    def heard(self, results: Iterable[Inspection | Failure]) -> Iterator[Inspection | Failure]:
        """Passes results on; says what is unlike the good pictures at once, and pages at the end.

        Of files of several pages the first is named, and how many there are.
        """
        first, number = "", 0
        try:
            for result in results:
                if isinstance(result, Inspection):
                    self._say_unlike(result)
                    if result.has_more:
                        first, number = first or _name(result), number + 1
                yield result
        finally:
            if isinstance(results, Generator):
                results.close()  # its threads end now
            if number:
                (text,) = said_of([first], number)
                self._say("pages", text)

    def _say_unlike(self, result: Inspection) -> None:
        depth, ratio = self._facts.depth, self._facts.ratio
        if depth is not None and (result.bits > 8) != (depth > 8):
            self._say("bits", _other_bits(_name(result), result.bits, depth))
        if ratio is not None:
            height, width = result.size
            stretch = height / width / ratio
            if max(stretch, 1 / stretch) > MOST_STRETCH:
                self._say("ratio", _other_ratio(_name(result), result.size, ratio))

    def _say(self, what: str, text: str) -> None:
        if what not in self._said:
            self._said.add(what)
            _log.warning("%s", printable(text))


def _name(result: Inspection) -> str:
    return result.path or "one without a name"


def _other_bits(name: str, bits: int, depth: int) -> str:
    dark = ", and one that fills only some of them looks dark" if bits > 8 else ""
    return (
        f"{name} has {bits} bits a channel, the good pictures had {depth}{dark}: it may look "
        "unusual all over, and so may others like it. Save pictures as the good ones were saved, "
        "or learn from pictures like these"
    )


def _other_ratio(name: str, size: tuple[int, int], ratio: float) -> str:
    height, width = size
    return (
        f"{name} is {width} x {height} pixels, the good pictures were {ratio:.2f} times as high as "
        "wide: it is stretched to their shape, and may look unusual all over, as may others like "
        "it. Cut pictures as the good ones were cut, or learn from pictures like these"
    )
