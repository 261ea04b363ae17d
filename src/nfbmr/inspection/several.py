"""What an inspector says of pictures that it sees otherwise than their sender may think.

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
from nfbmr.system.files import one_line

_log = logging.getLogger(__name__)


_NAMED = 3  # pictures of a kind that are named at once; after them one each time they double
_UNLIKE = {
    "pages": "hold other pages or frames than the first",
    "bits": "have another number of bits a channel than the good ones",
    "ratio": "have other proportions than the good ones",
}


class Several:
    """Names the first pictures of each kind, then fewer and fewer, however many come.

    Of those without a name the first alone is said.
    """

    def __init__(self, facts: Facts) -> None:
        """Has said nothing yet; `facts` are of the good pictures."""
        self._facts = facts
        self._seen: dict[str, int] = {}
        self._told: dict[str, int] = {}  # how many there were when it was said last
        self._summed: dict[str, int] = {}  # and at the end of a stream

    def heard(self, results: Iterable[Inspection | Failure]) -> Iterator[Inspection | Failure]:
        """Passes the results of a stream on as `hear` does; says at its end how many there were."""
        try:
            for result in results:
                yield self.hear(result)
        finally:
            if isinstance(results, Generator):
                results.close()  # its threads end now
            self._sum_up()

    def hear(self, result: Inspection | Failure) -> Inspection | Failure:
        """Returns a result, and says what of it is unlike the good pictures."""
        if isinstance(result, Failure):
            return result
        name = result.path or "one without a name"
        depth, ratio = self._facts.depth, self._facts.ratio
        if result.has_more:
            again = f"{name}, too, holds other pages or frames than the first"
            self._say("pages", result, said_of([name])[0], again)
        if depth is not None and (result.bits > 8) != (depth > 8):
            again = f"{name}, too, has {result.bits} bits a channel"
            self._say("bits", result, _other_bits(name, result.bits, depth), again)
        if ratio is not None:
            height, width = result.size
            stretch = height / width / ratio
            if max(stretch, 1 / stretch) > MOST_STRETCH:
                again = f"{name}, too, has other proportions: {width} x {height} pixels"
                self._say("ratio", result, _other_ratio(name, result.size, ratio), again)
        return result

    def _say(self, what: str, result: Inspection, first: str, again: str) -> None:
        if what in self._seen and result.path is None:
            return
        seen = self._seen[what] = self._seen.get(what, 0) + 1
        if seen > _NAMED and seen < 2 * self._told[what]:
            return
        self._told[what] = seen
        text = first if seen == 1 else f"{again}; {seen} such pictures so far"
        _log.warning("%s", one_line(text))

    def _sum_up(self) -> None:
        for what, seen in self._seen.items():
            if seen > self._told[what] and seen >= 2 * self._summed.get(what, 0):
                self._told[what] = self._summed[what] = seen
                _log.warning("%d pictures %s", seen, _UNLIKE[what])


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
