"""What `nfbmr paper` will do: the rows, which are there already, and how long the rest takes.

Times are multiplied out from parts that are measured on this machine: a picture through each
network, a step of each stage. Decoding and figures are not in them.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch

from nfbmr.data.layouts import DataSet, read_data
from nfbmr.data.sizes import choose_size
from nfbmr.errors import DataError, LayoutError, SettingsError
from nfbmr.learning.estimates import Parts, measure_parts, noise, seconds, step_seconds
from nfbmr.learning.stage import total_steps
from nfbmr.networks.mapping import BidirectionalMapping
from nfbmr.networks.source import SourceNetwork
from nfbmr.paper.ledger import Key, Ledger, data_mark
from nfbmr.paper.pairs import Pair, normalised
from nfbmr.paper.systems import (
    DATASET_TABLES,
    OF_TABLE,
    BackboneName,
    System,
    make_system,
    pair_size,
    wanted_systems,
)
from nfbmr.scoring.calibrate import held_out_count
from nfbmr.settings.schema import Settings

_log = logging.getLogger(__name__)

_OPTIONS = {"mvtec": "--mvtec", "dagm": "--dagm", "other": "--data"}


@dataclass(frozen=True, kw_only=True)
class Source:
    """One category's pictures."""

    dataset: str
    """`mvtec`, `dagm` or `other`."""
    category: str
    found: DataSet


@dataclass(frozen=True, kw_only=True)
class Task:
    """One row to be."""

    source: Source
    system: System
    mark: str

    @property
    def key(self) -> Key:
        """The row's four keys."""
        source = self.source
        return Key(source.dataset, source.category, self.system.key, self.system.settings.seed)


@dataclass(frozen=True, kw_only=True)
class Request:
    """What was asked for, the pictures apart."""

    backbone: BackboneName
    seeds: tuple[int, ...] = (0, 1, 2)
    tables: tuple[int, ...] = (1, 2, 3, 4, 5)
    systems: tuple[str, ...] = ()
    """All that the tables need where it is empty."""
    weights: dict[str, str]
    """Network -> `hub`, `embedded`, `random` or a file; "" stands for SNN."""
    changes: dict[str, Any]
    """Of the preset's settings."""

    def system(self, key: str, seed: int) -> System:
        """Returns a system as it was asked for.

        Raises:
            SettingsError: a setting is unknown, out of range, or asks for tiles or for a pose.
        """
        system = make_system(key, self.backbone, seed, weights=self.weights, changes=self.changes)
        if system.settings.tiles is not None:
            raise SettingsError(
                "--set tiles: the paper's experiments look at whole pictures, and so do their "
                "figures; expected no tiles; give a larger size or pixel_budget, or fit these "
                "pictures with `nfbmr fit`"
            )
        if system.settings.pose != "off":
            raise SettingsError(
                f"--set pose={system.settings.pose}: the paper's experiments look at pictures as "
                "they lie, and so do their figures; expected off; fit parts that lie turned with "
                "`nfbmr fit`"
            )
        return system


def read_source(dataset: str, category: str, path: Path) -> Source:
    """Reads one category, which must have good and defective test pictures.

    Raises:
        LayoutError: it cannot be read, or an AUROC cannot be taken on it.
    """
    found = read_data(path)
    kinds = {sample.is_defect for sample in found.test}
    if kinds != {False, True}:
        raise LayoutError(
            f"{path}: found {found.describe()}; expected good and defective test pictures, since "
            "an AUROC compares the two; give another data set"
        )
    return Source(dataset=dataset, category=category, found=found)


def make_tasks(sources: Iterable[Source], request: Request) -> list[Task]:
    """Returns the rows of all categories, seeds and systems, in the order in which they run.

    A system that was asked for and has no row is named in a warning.

    Raises:
        SettingsError: a table, a system or a setting is unknown; weights cannot be read.
        DataError: there is nothing to do.
    """
    sources = list(sources)
    check_systems([source.dataset for source in sources], request)
    tasks = []
    systems: dict[tuple[str, int], System] = {}
    for source in sources:
        data = data_mark(source.found)
        for seed in request.seeds:
            for key in wanted_systems(source.dataset, request.tables, request.systems):
                if (key, seed) not in systems:
                    systems[key, seed] = request.system(key, seed)
                system = systems[key, seed]
                tasks.append(Task(source=source, system=system, mark=system.mark(data)))
    return tasks


def check_systems(datasets: Sequence[str], request: Request) -> None:
    """Warns of each system that was asked for and that no table of these data has a row of.

    Args:
        datasets: `mvtec`, `dagm` or `other`; each once or more.
        request: tables and systems are read.

    Raises:
        SettingsError: a table or a system is unknown.
        DataError: no row is left.
    """
    kept = {
        key
        for dataset in datasets
        for key in wanted_systems(dataset, request.tables, request.systems)
    }
    tables = [t for t in request.tables if any(t in DATASET_TABLES[one] for one in datasets)]
    if not tables:
        raise DataError(
            "found nothing to do: no row of these tables is about these data; tables 1, 2 and 5 "
            "are about --mvtec, 3 and 4 about --dagm, 1 and 5 about --data too"
        )
    asked = f"table{'s' if len(tables) > 1 else ''} {', '.join(map(str, tables))}"
    reasons = [
        f"system {key} is left out: no row of it is in {asked}; it is in table {_tables_of(key)}"
        for key in dict.fromkeys(request.systems)
        if key not in kept
    ]
    if not kept:
        raise DataError(f"found nothing to do: {'; '.join(reasons)}")
    for reason in reasons:
        _log.warning("%s", reason)


def _tables_of(system: str) -> str:
    """Returns the tables that a system has rows in, and of which data, in words."""
    found = []
    for table in (number for number, systems in OF_TABLE.items() if system in systems):
        options = [_OPTIONS[one] for one in _OPTIONS if table in DATASET_TABLES[one]]
        found.append(f"{table} ({' or '.join(options)})")
    return " and ".join(found)


@dataclass(frozen=True, kw_only=True)
class _LevelParts:
    """What was measured of one level of a pair."""

    image_seconds: float
    """One picture through both networks."""
    step: float
    """Seconds."""
    grid: tuple[int, int]


class Estimator:
    """Seconds of every row to come; measures each part once."""

    def __init__(self, backbone: BackboneName, device: torch.device) -> None:
        """Measures nothing yet."""
        self.backbone = backbone
        self.device = device
        self._flows: dict[str, Parts] = {}
        self._networks: dict[tuple[str, tuple[int, int]], SourceNetwork] = {}
        self._pairs: dict[str, list[_LevelParts]] = {}

    def rows(self, tasks: Sequence[Task]) -> list[float]:
        """Returns the seconds of each task, in the order in which they run and share work."""
        shared: set[tuple[object, ...]] = set()
        return [
            self.of(
                task.system,
                len(task.source.found.train_good),
                len(task.source.found.test),
                (f"{task.source.dataset}/{task.source.category}", task.system.settings.seed),
                shared,
            )
            for task in tasks
        ]

    def of(
        self,
        system: System,
        n: int,
        n_test: int,
        group: tuple[str, int],
        shared: set[tuple[object, ...]],
    ) -> float:
        """Returns the seconds of one system on n good and n_test test pictures.

        Args:
            system: that learns them.
            n: good training pictures.
            n_test: pictures of the test.
            group: category and seed, within which a flow is shared by those that train on as many
                pictures; features are within the category.
            shared: what is done already; this row's work is added.
        """
        n_train = n - held_out_count(n, system.settings.calibration)
        total = 0.0
        if system.pair is not None:
            for depth, level in enumerate(reversed(self._pair(system))):
                if _once(shared, (group[0], "pair", depth)):
                    total += level.image_seconds * (n + n_test)
                if _once(shared, (*group, "pair", system.pair.one_way, depth)):
                    total += level.step * total_steps(system.pair.stage, n_train, level.grid)
            return total
        parts = self._parts(system)
        settings = system.settings
        if _once(shared, (group[0], "flow")):
            total += parts.image_seconds * (n + n_test)
        # A flow that learns all pictures is another than one that leaves some out.
        if _once(shared, (*group, "flow", n_train)):
            total += parts.flow_step * total_steps(settings.stage_one, n_train, parts.grid)
        if _once(shared, (*group, repr(settings.mapping), n_train)):
            total += parts.mapping_step * total_steps(settings.stage_two, n_train, parts.grid)
        return total

    def _parts(self, system: System) -> Parts:
        settings = system.settings
        key = repr((settings.flow, settings.mapping, settings.stage_one, settings.stage_two))
        if key not in self._flows:
            size = typical_size(settings)
            name = settings.backbone.name
            if (name, size) not in self._networks:
                self._networks[name, size] = SourceNetwork.of(settings.backbone).to(self.device)
            self._flows[key] = measure_parts(self._networks[name, size], settings, size)
        return self._flows[key]

    def _pair(self, system: System) -> list[_LevelParts]:
        """Measures every level, the finest first."""
        assert system.pair is not None
        key = repr(system.pair)
        if key not in self._pairs:
            size = pair_size(self.backbone, typical_size(system.settings))
            pair = Pair(system.pair, 0).to(self.device)
            pixels = torch.from_numpy(noise((1, *size, 3))).to(self.device)
            found = []
            for level, mapping in zip(system.pair.levels, pair.mappings, strict=True):
                networks = [network.ready(self.device) for network in pair.networks(level)]
                image = sum(seconds(partial(net, pixels), self.device) for net in networks)
                grid = networks[0].grid(size)
                assert isinstance(mapping, BidirectionalMapping)
                step = self._level_step(system, mapping, networks, grid)
                found.append(_LevelParts(image_seconds=image, step=step, grid=grid))
            self._pairs[key] = found
        return self._pairs[key]

    def _level_step(
        self,
        system: System,
        mapping: BidirectionalMapping,
        networks: list[SourceNetwork],
        grid: tuple[int, int],
    ) -> float:
        assert system.pair is not None
        how, one_way = system.pair.stage, system.pair.one_way
        mapping.train()

        def step(batch: int) -> None:
            shape = (1, batch, 1) if how.batch_of == "positions" else (batch, *grid)
            y, z = (
                normalised(torch.randn(*shape, network.channels, device=self.device))
                for network in networks
            )
            loss = mapping.to_target(y).square().mean()
            if not one_way:
                loss = loss + mapping.to_source(z).square().mean()
            loss.backward()  # type: ignore[no-untyped-call]

        return step_seconds(step, how, self.device)


def _once(shared: set[tuple[object, ...]], work: tuple[object, ...]) -> bool:
    """Whether this work is done for the first time; notes it."""
    new = work not in shared
    shared.add(work)
    return new


def typical_size(settings: Settings) -> tuple[int, int]:
    """Returns (H, W) in pixels as it is given, or of square pictures."""
    return settings.size or choose_size([(1024, 1024)], settings.pixel_budget)


def left_to_do(tasks: Sequence[Task], ledger: Ledger) -> list[Task]:
    """Returns the tasks whose rows are not there, or were made with other settings."""
    return [task for task in tasks if not ledger.has(task.key, task.mark)]
