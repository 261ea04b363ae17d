"""What people say of parts, and what follows from it."""

from __future__ import annotations

from dataclasses import dataclass

from nfbmr.scoring.intervals import share_interval
from nfbmr.station.store import queries
from nfbmr.station.store.database import Store
from nfbmr.station.store.queries import Filter, Label, Recorded

_LABELS = ("good", "defect")


def say(store: Store, number: int, label: Label | None, note: str, actor: str) -> Recorded | None:
    """Writes down what somebody says of a part; None where there is no such inspection.

    Raises:
        StationError: the database takes nothing.
    """
    return store.write(queries.label, number, label, note, actor).result()


@dataclass(frozen=True, kw_only=True)
class Share:
    """A share of some reviewed parts, with its 95 % interval (Clopper and Pearson 1934)."""

    hits: int
    of: int

    @property
    def value(self) -> float | None:
        """The share; None of none."""
        return self.hits / self.of if self.of else None

    @property
    def interval(self) -> tuple[float, float]:
        """Low and high."""
        return share_interval(self.hits, self.of)


@dataclass(frozen=True, kw_only=True)
class Figures:
    """How verdicts compare with what people said, of reviewed parts alone."""

    precision: Share
    """Of parts called defects, those that really are."""
    recall: Share
    """Of parts that really are defects, those that were called so."""
    false_alarms: Share
    """Of parts that really are good, those that were called defects."""

    @property
    def reviewed(self) -> int:
        """How many parts people judged."""
        return self.recall.of + self.false_alarms.of


def figures(store: Store, which: Filter) -> Figures:
    """Returns the figures of reviewed parts.

    Raises:
        StationError: the database does not answer.
    """
    found = store.read(queries.reviewed, which)
    said = {label: sum(n for (_, one), n in found.items() if one == label) for label in _LABELS}
    hit, alarm = found.get(("defect", "defect"), 0), found.get(("defect", "good"), 0)
    return Figures(
        precision=Share(hits=hit, of=hit + alarm),
        recall=Share(hits=hit, of=said["defect"]),
        false_alarms=Share(hits=alarm, of=said["good"]),
    )
