"""What a fleet learns: products with their pictures and settings, from a file or a folder.

    preset = "fast"                 # of all products; so are the next four, which have defaults
    cpus = 1                        # cores for each product, and its threads
    gpus = 0                        # GPUs for each, or a share of one, such as 0.5; 0: on the CPU
    memory_gb = 2.0                 # that each is expected to take
    workers = 1                     # that learn one product together, each with its cpus and gpus

    [base]                          # changes of settings that all share, as `--set` takes them
    examples = 0

    [products]                      # name = pictures, relative to the file
    bottle = "data/bottle"

    [products.cable]                # or a table, in which every word but `data` may be absent
    data = "data/cable"
    test = "labelled/cable"         # labelled pictures; by default those that `data` has
    ignore = "masks/cable.png"      # what never counts
    preset = "accurate"
    cpus = 4
    set = { seed = 1, flow = { hidden = 256 } }

A folder stands for a plan without settings: each MVTec AD category or DAGM 2007 class in it is a
product, and each other folder in it that has pictures.
"""

from __future__ import annotations

import os
import tomllib
from collections.abc import Mapping
from dataclasses import field
from pathlib import Path
from typing import Annotated, Any

from pydantic import ConfigDict, Field, TypeAdapter, ValidationError, model_validator
from pydantic.dataclasses import dataclass

from nfbmr.data.collections import find_products
from nfbmr.data.folders import list_folders, list_pictures
from nfbmr.errors import DataError, SettingsError
from nfbmr.settings.changes import with_changes
from nfbmr.settings.presets import preset
from nfbmr.settings.schema import Settings
from nfbmr.system.files import reason_of

_CONFIG = ConfigDict(extra="forbid")
_LONGEST = 100  # of a name, which is that of a folder
_UNFIT = set('/\\:*?"<>|')

Count = Annotated[int, Field(ge=1, le=1024)]


@dataclass(frozen=True, kw_only=True, config=_CONFIG)
class Resources:
    """What learning one product takes."""

    cpus: Count = 1
    """Cores of a worker, and the threads that compute."""
    gpus: Annotated[float, Field(ge=0, le=8)] = 0.0
    """GPUs of a worker; below 1 a share of one. 0: it computes on the CPU."""
    memory_gb: Annotated[float, Field(gt=0, le=10_000)] = 2.0
    """Memory of a worker, in GB; nothing enforces it, but no more are started than there is."""
    workers: Count = 1
    """Who learn the product together; more than 1 on Ray alone, each with whole GPUs or none."""

    @model_validator(mode="after")
    def _check(self) -> Resources:
        if self.gpus % 1 and (self.workers > 1 or self.gpus > 1):
            raise ValueError(
                f"{self.gpus:g} GPUs for each of {self.workers} workers: a share of a GPU is for "
                "one worker alone; give whole ones"
            )
        return self


@dataclass(frozen=True, kw_only=True)
class Product:
    """One product of a fleet."""

    name: str
    """Also that of its model."""
    data: Path
    """What `nfbmr fit` reads."""
    test: Path
    """Labelled pictures; those of `data` where the plan names no others."""
    ignore: Path | None
    settings: Settings
    resources: Resources

    @property
    def device(self) -> str:
        """Where it is learnt: `cuda` where it was given a GPU."""
        return "cuda" if self.resources.gpus else "cpu"


@dataclass(frozen=True, kw_only=True)
class FleetPlan:
    """All of them, in the order in which they are begun."""

    products: tuple[Product, ...]


@dataclass(frozen=True, kw_only=True, config=_CONFIG)
class _Entry:
    """A product's table in a file."""

    data: str
    test: str | None = None
    ignore: str | None = None
    preset: str | None = None
    cpus: int | None = None
    gpus: float | None = None
    memory_gb: float | None = None
    workers: int | None = None
    set: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True, config=_CONFIG)
class _File:
    """A file."""

    products: Annotated[dict[str, str | _Entry], Field(min_length=1)]
    base: dict[str, Any] = field(default_factory=dict)
    preset: str = "fast"
    cpus: int | None = None
    gpus: float | None = None
    memory_gb: float | None = None
    workers: int | None = None


def read_plan(place: Path, asked: Mapping[str, object] | None = None) -> FleetPlan:
    """Reads a plan from a file, or makes one of a folder.

    Args:
        place: a file as the module's docstring shows it, or a folder of products.
        asked: of `preset` and the fields of `Resources`: for all products that say nothing else.

    Raises:
        DataError: the file cannot be read, or the folder holds no product.
        SettingsError: it holds other things, or a setting is unknown or out of range.
    """
    words = {name: value for name, value in (asked or {}).items() if value is not None}
    if place.is_dir():
        found = {name: str(folder.absolute()) for name, folder in _products_in(place).items()}
        return _plan(place, _file(place, words | {"products": found}))
    try:
        text = tomllib.loads(place.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise DataError(
            f"{place}: cannot be read as a plan ({reason_of(error)}); expected a TOML file with "
            "[products], or a folder of products"
        ) from None
    return _plan(place, _file(place, words | text))


def _products_in(root: Path) -> dict[str, Path]:
    """Returns the products in a folder by name, those of known layouts first."""
    try:
        found = find_products(root)
        there = {path.resolve() for path in found.values()}
        for folder in list_folders(root):
            own = folder.resolve()
            known = any(own == path or own in path.parents for path in there)
            inside = any(path == own or path in own.parents for path in there)
            if not known and not inside and list_pictures(folder, deep=True)[0]:
                found.setdefault(folder.name, folder)
    except OSError as error:
        raise DataError(
            f"{error.filename or root}: cannot be read ({error.strerror}); check its permissions"
        ) from None
    if not found:
        raise DataError(
            f"{root}: found no product in it; expected folders of good pictures, MVTec AD "
            "categories or DAGM 2007 classes, or a plan in a TOML file"
        )
    return found


def _file(place: Path, values: Mapping[str, object]) -> _File:
    try:
        return TypeAdapter(_File).validate_python(values)
    except ValidationError as error:
        said = [
            f"{'.'.join(str(part) for part in item['loc'])}: {item['msg']}"
            for item in error.errors(include_url=False)
        ]
        raise SettingsError(
            f"{place}: {'; '.join(dict.fromkeys(said))}; expected [products] and the words that "
            "docs/scale.md names"
        ) from None


def _plan(place: Path, file: _File) -> FleetPlan:
    folder = place if place.is_dir() else place.parent
    products = []
    for name, given in file.products.items():
        _refuse_name(place, name)
        entry = _Entry(data=given) if isinstance(given, str) else given
        try:
            products.append(_product(folder.absolute(), name, entry, file))
        except SettingsError as error:
            raise SettingsError(f"{place}, product '{name}': {error}") from None
    return FleetPlan(products=tuple(products))


def _product(folder: Path, name: str, entry: _Entry, file: _File) -> Product:
    settings = with_changes(preset(entry.preset or file.preset), file.base)
    words = ("cpus", "gpus", "memory_gb", "workers")
    taken = {
        word: value
        for given in (file, entry)  # the product's own win
        for word in words
        if (value := getattr(given, word)) is not None
    }
    try:
        resources = Resources(**taken)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = "".join(f"{part} {first['input']}: " for part in first["loc"])
        raise SettingsError(f"{where}{first['msg']}") from None
    settings = with_changes(settings, entry.set)
    if resources.workers > 1:
        from nfbmr.learning.share import refuse_to_share

        refuse_to_share(settings, resources.workers, resources.workers)
    data = folder / entry.data
    return Product(
        name=name,
        data=data,
        test=data if entry.test is None else folder / entry.test,
        ignore=None if entry.ignore is None else folder / entry.ignore,
        settings=settings,
        resources=resources,
    )


def _refuse_name(place: Path, name: str) -> None:
    sound = (
        name.isprintable()
        and not _UNFIT & set(name)
        and not name.startswith((".", "-"))
        and name == name.strip()
        and 0 < len(os.fsencode(name)) <= _LONGEST
        and name.casefold() != "lock"  # a file of the fleet's
    )
    if not sound:
        raise SettingsError(
            f"{place}: product {name!r}: its model is a folder of this name; expected letters, "
            f"digits, spaces and _ . - , {_LONGEST} bytes at most, the first no point; not 'lock'"
        )
