"""What a kill costs: `python -m nfbmr.benchmark.kills DATA`.

Fits once undisturbed; then, for each phase of a fit, several times anew: killed with SIGKILL at a
random moment of the phase, and the same fit started again. Counted is what was done twice; compared
are weights and calibration, bit for bit. Each fit runs in a process of its own, which writes down
what it does as it does it; it is forked from one that has loaded torch, which takes longer than the
small fit itself. Graphs are made only by the fits that are killed while they are made.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import platform
import random
import shutil
import signal
import sys
import time
import traceback
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from nfbmr.system import provenance

Row = dict[str, Any]

PHASES = ("features", "flow", "mapping", "gaussians", "writing", "export")
"""The Gaussians of finer places are part of `gaussians`, the calibration of `writing`."""
COMPARED = ("model.safetensors", "calibration.json")
FIT: dict[str, Any] = {
    "size": [96, 96],
    "checkpoint_seconds": 0.3,
    "backbone": {
        "stages": [3],
        "scales": [0.5],
        "scale_stages": [[3, 2]],
        "detail": 2,
        "finest": 1,
    },
    "flow": {"hidden": 32, "blocks": 4},
    "mapping": {"kind": "bmr", "latent": 32, "inner": 8, "n": 1},
    "local": {"rank": 8},
    "scoring": {"maps": ["source", "target", "norm", "distance", "fine", "finest"]},
    "stage_one": {"steps": 120, "batch": 256},
    "stage_two": {"steps": 60, "batch": 4},
}
_MOST_TRIES = 10  # how long a phase takes is known from one fit alone: a moment may lie behind it


class Event(NamedTuple):
    """What a fit has just done."""

    seconds: float
    """On a clock that all processes share."""
    phase: str
    what: str
    """`begin`, `unit` or `end`."""
    units: int
    """Pictures of `features`, steps of `flow` and `mapping`, else calls."""


def read_events(log: Path) -> list[Event]:
    """Returns the events of a fit so far; a line that is cut off is not one yet."""
    lines = log.read_text("utf-8").splitlines(keepends=True) if log.is_file() else []
    return [Event(*json.loads(line)) for line in lines if line.endswith("\n")]


def units_of(events: Sequence[Event]) -> Counter[str]:
    """Returns how much was done in each phase."""
    units: Counter[str] = Counter()
    for event in events:
        if event.what == "unit":
            units[event.phase] += event.units
    return units


def ended(events: Sequence[Event]) -> list[str]:
    """Returns the phases that were finished."""
    there = {event.phase for event in events if event.what == "end"}
    return [phase for phase in PHASES if phase in there]


def phase_at_the_end(events: Sequence[Event]) -> str | None:
    """Returns the phase that was under way when the last event was written; None between two."""
    borders = [event for event in events if event.what != "unit"]
    return borders[-1].phase if borders and borders[-1].what == "begin" else None


def seconds_of(events: Sequence[Event]) -> dict[str, float]:
    """Returns how long each finished phase took."""
    begun = {event.phase: event.seconds for event in events if event.what == "begin"}
    over = {event.phase: event.seconds for event in events if event.what == "end"}
    return {phase: round(over[phase] - begun[phase], 3) for phase in PHASES if phase in over}


def twice(
    before: Sequence[Event], after: Sequence[Event], undisturbed: Sequence[Event]
) -> tuple[dict[str, int], list[str]]:
    """Returns units done twice, by phase, and finished phases of which anything was done again.

    Args:
        before: events of a fit up to its kill.
        after: of the same fit started again.
        undisturbed: of a fit that does all once.
    """
    done = units_of(before) + units_of(after)
    needed = units_of(undisturbed)
    units = {phase: done[phase] - needed[phase] for phase in ("features", "flow", "mapping")}
    again = units_of(after)
    return units, [phase for phase in ended(before) if again[phase]]


# ---- the parent: starts fits, kills them, and looks at what is left


class Kills:
    """Fits of one set of pictures in a folder of their own, compared with an undisturbed one."""

    def __init__(self, data: Path, out: Path, seed: int) -> None:
        """Fits undisturbed."""
        self._data, self._out = data, out
        self._moments = random.Random(seed)
        shutil.rmtree(out, ignore_errors=True)
        out.mkdir(parents=True)
        self.undisturbed = self._finish("undisturbed", self._cache("undisturbed"), export=True)
        self._seconds = seconds_of(self.undisturbed)
        assert set(self._seconds) == set(PHASES), f"phases that did not happen: {self._seconds}"
        self._expected = self._hashes("undisturbed")

    def first_row(self) -> Row:
        """Returns what the other rows are compared with, and where they were measured."""
        return {
            "row": "undisturbed",
            "data": self._data.name,
            "fit": FIT,
            "seconds": self._seconds,
            "units": dict(units_of(self.undisturbed)),
            "sha256": self._expected,
            "machine": f"{platform.machine()}, {os.cpu_count()} cores",
            "commit": provenance.commit(),
            "versions": provenance.versions(),
            "created": provenance.now(),
        }

    def killed_in(self, phase: str, number: int) -> Row:
        """Kills a fit in a phase, ends it with a second one, and compares."""
        for tries in range(1, _MOST_TRIES + 1):
            name = f"{phase}-{number}-{tries}"
            # Features are there already, but for the phase that makes them.
            cache = self._cache(name if phase == "features" else "undisturbed")
            moment = self._moments.uniform(0.0, 0.95) * self._seconds[phase]
            before = self._kill(name, cache, phase, moment)
            if phase_at_the_end(before) == phase:
                break
            shutil.rmtree(self._out / name, ignore_errors=True)
        else:
            raise RuntimeError(f"{phase}: no kill hit it in {_MOST_TRIES} tries")
        started = time.monotonic()
        after = self._finish(name, cache, export=phase == "export")
        units, phases = twice(before, after, self._needed(phase))
        row = {
            "row": "kill",
            "phase": phase,
            "number": number,
            "tries": tries,
            "seconds_into_the_phase": round(moment, 3),
            "units_before": dict(units_of(before)),
            "finished_before": ended(before),
            "units_twice": units,
            "finished_phases_twice": phases,
            "identical": self._hashes(name) == self._expected,
            "left_beside": self._left_beside(name),
            "seconds_to_the_end": round(time.monotonic() - started, 1),
        }
        for path in self._out.glob(f"*{name}*"):
            shutil.rmtree(path) if path.is_dir() else path.unlink()
        return row

    def _needed(self, phase: str) -> list[Event]:
        if phase == "features":
            return self.undisturbed
        return [event for event in self.undisturbed if event.phase != "features"]

    def _cache(self, name: str) -> Path:
        return self._out / f"cache-{name}"

    def _hashes(self, name: str) -> dict[str, str]:
        return {
            part: hashlib.sha256((self._out / name / part).read_bytes()).hexdigest()
            for part in COMPARED
        }

    def _left_beside(self, name: str) -> list[str]:
        return sorted(path.name for path in self._out.glob(f".{name}.*"))

    def _start(self, name: str, cache: Path, *, export: bool) -> tuple[int, Path]:
        log = self._out / f"{name}.events.jsonl"
        log.unlink(missing_ok=True)
        sys.stdout.flush()
        if (child := os.fork()) != 0:
            return child, log
        try:
            os.environ["NFBMR_CACHE"] = str(cache)
            fit_and_tell(self._data, self._out / name, log, export=export)
            os._exit(0)
        except BaseException:
            traceback.print_exc()
            os._exit(1)

    def _finish(self, name: str, cache: Path, *, export: bool) -> list[Event]:
        child, log = self._start(name, cache, export=export)
        if os.waitpid(child, 0)[1] != 0:
            raise RuntimeError(f"{name}: the fit failed; its output says why")
        return read_events(log)

    def _kill(self, name: str, cache: Path, phase: str, moment: float) -> list[Event]:
        child, log = self._start(name, cache, export=phase == "export")
        end = None
        while os.waitpid(child, os.WNOHANG) == (0, 0):
            if end is not None and time.monotonic() >= end:
                os.kill(child, signal.SIGKILL)
                os.waitpid(child, 0)
                break
            begun = [e for e in read_events(log) if (e.phase, e.what) == (phase, "begin")]
            end = begun[0].seconds + moment if begun else None
            time.sleep(0.002)
        return read_events(log)


def measure(data: Path, out: Path, times: int, seed: int) -> Iterator[Row]:
    """Yields the row of the undisturbed fit, then one for each kill."""
    kills = Kills(data, out, seed)
    yield kills.first_row()
    for phase in PHASES:
        for number in range(1, times + 1):
            yield kills.killed_in(phase, number)


def describe(row: Row) -> str:
    """Returns a row as a line."""
    if row["row"] == "undisturbed":
        seconds = ", ".join(f"{phase} {took:.1f} s" for phase, took in row["seconds"].items())
        return f"undisturbed: {seconds}"
    again = ", ".join(f"{n} of {phase}" for phase, n in row["units_twice"].items() if n)
    phases = ", ".join(row["finished_phases_twice"])
    return (
        f"{row['phase']} {row['number']}: killed {row['seconds_into_the_phase']:.2f} s into it; "
        f"done twice: {again or 'nothing'}; finished phases done again: {phases or 'none'}; "
        f"{'identical' if row['identical'] else 'OTHER'} weights and calibration"
    )


def summary(rows: Sequence[Row]) -> str:
    """Returns the figures that documents give."""
    kills = [row for row in rows if row["row"] == "kill"]
    identical = sum(row["identical"] for row in kills)
    again = sum(len(row["finished_phases_twice"]) for row in kills)
    return (
        f"{identical} of {len(kills)} killed fits ended in the same bits; {again} finished phases "
        "were done again"
    )


# ---- the child: one fit that writes down what it does


def _load_all() -> None:
    """Loads what a fit would load, computing nothing: a child that is forked then can."""
    import onnx  # noqa: F401
    import onnxruntime  # noqa: F401
    import onnxscript  # noqa: F401
    import torch

    import nfbmr.fitting

    torch.optim.Adam([torch.nn.Parameter(torch.zeros(1))])  # loads more
    assert nfbmr.fitting


def fit_and_tell(data: Path, model: Path, log: Path, *, export: bool) -> None:
    """Fits, and writes each event to `log` as it happens."""
    import nfbmr
    from nfbmr import fitting
    from nfbmr.features import compute
    from nfbmr.learning import crew, learn, stage, stages
    from nfbmr.networks.gaussian import PositionGaussians
    from nfbmr.networks.local import LocalGaussians

    stream = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)

    def tell(phase: str, what: str, count: int = 1) -> None:
        event = Event(time.monotonic(), phase, what, count)
        os.write(stream, (json.dumps(event) + "\n").encode())

    def watch(owner: Any, name: str, phase: str, *events: str) -> None:
        """Has a function tell its begin, its end, or that it does a unit of its phase."""
        original = getattr(owner, name)

        def told(*args: Any, **kwargs: Any) -> Any:
            for event in ("begin", "unit"):
                if event in events:
                    tell(phase, event)
            result = original(*args, **kwargs)
            if "end" in events:
                tell(phase, "end")
            return result

        setattr(owner, name, told)

    run_batch, run_stage = compute._run, stage.Optimiser.run

    def run_told(network: Any, device: Any, pixels: Any, batch: int) -> Any:
        rows = run_batch(network, device, pixels, batch)
        tell("features", "unit", len(pixels))
        return rows

    def stage_told(self: Any, one: stage.Stage, at: Any = None) -> Any:
        tell(one.name, "begin")
        position = run_stage(self, one, at)
        tell(one.name, "end")
        return position

    def hear(what: str, done: int, total: int, loss: float | None = None) -> None:  # noqa: ARG001
        if what in ("flow", "mapping"):
            tell(what, "unit")

    for owner, name, told in ((compute, "_run", run_told), (stage.Optimiser, "run", stage_told)):
        setattr(owner, name, told)
    watch(crew.HERE, "build_features", "features", "begin", "end")
    watch(stages._Run, "learn_gaussians_and_subspace", "gaussians", "begin", "end")
    watch(PositionGaussians, "learn", "gaussians", "unit")
    watch(LocalGaussians, "learn", "gaussians", "unit")
    watch(learn, "calibration_maps", "writing", "begin", "unit")
    watch(fitting, "write_bundle", "writing", "unit", "end")
    watch(fitting, "add_graphs", "export", "begin", "unit", "end")
    nfbmr.fit(data, model, progress=hear, device="cpu", export=export, **FIT)


def main() -> None:
    """Parses the command line, measures, and writes rows and log."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path, help="good pictures, as `nfbmr fit` reads")
    parser.add_argument("-o", "--out", type=Path, default=Path("out/kills"))
    parser.add_argument("--times", type=int, default=5, help="kills in each phase")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    _load_all()
    rows: list[Row] = []
    for row in measure(
        arguments.data.resolve(), arguments.out / "fits", arguments.times, arguments.seed
    ):
        rows.append(row)
        print(describe(row), flush=True)
        text = "".join(json.dumps(one) + "\n" for one in rows)
        (arguments.out / "kills.jsonl").write_text(text, encoding="utf-8")
    lines = [*map(describe, rows), summary(rows)]
    print(lines[-1])
    (arguments.out / "kills.log").write_text("\n".join(lines) + "\n", encoding="utf-8")
    kills = rows[1:]
    sys.exit(not all(row["identical"] and not row["finished_phases_twice"] for row in kills))


if __name__ == "__main__":
    main()
