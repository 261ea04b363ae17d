"""What an inspector says, once, of files of which it looks at the first page alone."""

from __future__ import annotations

import logging
from collections.abc import Generator, Iterable, Iterator

from nfbmr.data.pages import said_of
from nfbmr.inspection.result import Failure, Inspection
from nfbmr.system.files import printable

_log = logging.getLogger(__name__)


class Several:
    """Says it once of the pictures of one run, or of the first one that is inspected by itself."""

    def __init__(self) -> None:
        """Has said nothing yet."""
        self._said = False

    def heard(self, results: Iterable[Inspection | Failure]) -> Iterator[Inspection | Failure]:
        """Passes results on, and names the first of those files behind the last."""
        first, number = "", 0
        try:
            for result in results:
                if isinstance(result, Inspection) and result.has_more:
                    first, number = first or result.path or "one without a name", number + 1
                yield result
        finally:
            if isinstance(results, Generator):
                results.close()  # its threads end now
            if number and not self._said:
                self._said = True
                (text,) = said_of([first], number)
                _log.warning("%s", printable(text))
