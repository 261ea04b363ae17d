"""Counts and times since the start, as Prometheus reads them (text format 0.0.4)."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Mapping
from typing import Literal

Labels = tuple[tuple[str, str], ...]
"""Names and values."""
ByLabel = Mapping[Labels, float]

Kind = Literal["counter", "gauge"]

_BUCKETS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)  # seconds

_SAID = {
    "nfbmr_inspections_total": "Inspections answered and recorded.",
    "nfbmr_refused_total": "Pictures or requests without a verdict, by why.",
    "nfbmr_source_refused_total": "Pictures of a source that got no verdict for their own sake.",
    "nfbmr_learning_refused_total": "Good pictures to learn from that were not kept.",
    "nfbmr_pictures_not_kept_total": "Recorded inspections whose picture could not be kept.",
    "nfbmr_feedback_total": "Parts that a person judged.",
}


class Metrics:
    """Counters and one histogram; threads may share it."""

    def __init__(self) -> None:
        """Starts at nothing."""
        self._lock = threading.Lock()
        self._counts: Counter[tuple[str, Labels]] = Counter()
        self._buckets: dict[str, list[int]] = {}
        self._sums: Counter[str] = Counter()

    def count(self, name: str, **labels: str) -> None:
        """Adds one to a counter, which `_SAID` describes."""
        assert name in _SAID, name
        with self._lock:
            self._counts[name, tuple(sorted(labels.items()))] += 1

    def took(self, model: str, seconds: float) -> None:
        """Notes the time from a picture to its recorded verdict."""
        with self._lock:
            buckets = self._buckets.setdefault(model, [0] * (len(_BUCKETS) + 1))
            place = next((i for i, top in enumerate(_BUCKETS) if seconds <= top), len(_BUCKETS))
            buckets[place] += 1
            self._sums[model] += seconds  # type: ignore[assignment]  # a Counter adds floats, too

    def text(self, gauges: Mapping[str, tuple[str, float | ByLabel]]) -> str:
        """Returns all of it.

        Args:
            gauges: name -> what it is, and its value now, or its values by their labels.
        """
        lines: list[str] = []
        with self._lock:
            for name, said in _SAID.items():
                lines += [f"# HELP {name} {said}", f"# TYPE {name} counter"]
                for (counted, labels), value in sorted(self._counts.items()):
                    if counted == name:
                        lines.append(f"{name}{_labels(labels)} {value}")
            lines += self._histogram()
        for name, (said, number) in gauges.items():
            lines += [f"# HELP {name} {said}", f"# TYPE {name} gauge"]
            values = number if isinstance(number, Mapping) else {(): number}
            lines += [f"{name}{_labels(labels)} {value:g}" for labels, value in values.items()]
        return "\n".join(lines) + "\n"

    def _histogram(self) -> list[str]:
        name = "nfbmr_inspection_seconds"
        lines = [
            f"# HELP {name} From a picture to its recorded verdict.",
            f"# TYPE {name} histogram",
        ]
        for model, buckets in sorted(self._buckets.items()):
            total = 0
            for top, count in zip((*map(str, _BUCKETS), "+Inf"), buckets, strict=True):
                total += count
                lines.append(f"{name}_bucket{_labels((('le', top), ('model', model)))} {total}")
            lines.append(f"{name}_sum{_labels((('model', model),))} {self._sums[model]:.6f}")
            lines.append(f"{name}_count{_labels((('model', model),))} {total}")
        return lines


def _labels(labels: Labels) -> str:
    if not labels:
        return ""
    said = (f'{name}="{_escaped(value)}"' for name, value in labels)
    return "{" + ",".join(said) + "}"


def _escaped(value: str) -> str:
    return value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
