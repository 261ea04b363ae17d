"""A plan carried out: what is to be done, by whom, and what is done already."""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Literal

from nfbmr.data.layouts import read_data
from nfbmr.data.samples import Sample
from nfbmr.errors import DataError, FleetError, NfbmrError
from nfbmr.fleet.local import run_here
from nfbmr.fleet.machine import Machine
from nfbmr.fleet.place import Marks, Place, State, differences
from nfbmr.fleet.plan import FleetPlan, Product
from nfbmr.fleet.product import Order
from nfbmr.fleet.spread import run_on_ray
from nfbmr.model.folder import is_bundle
from nfbmr.settings.changes import to_dict
from nfbmr.system.locks import locked_file
from nfbmr.system.progress import Progress, silent
from nfbmr.system.words import counted

_log = logging.getLogger(__name__)

Engine = Literal["local", "ray"]

_LOOKING = 8  # products whose files are looked at at once


def fit_fleet(
    plan: FleetPlan,
    models: Path,
    *,
    engine: Engine = "local",
    address: str | None = None,
    cpus: int | None = None,
    progress: Progress = silent,
) -> list[State]:
    """Learns each product of a plan; does again what is not done, or rests on other things.

    Products that fail, and those whose workers die as often as is tried, do not stop the others.

    Args:
        plan: the products.
        models: a folder for the models and their states, on storage that all workers see.
        engine: `local`: processes on this machine; `ray`: a cluster.
        address: of the cluster, as `connected` takes it; of Ray alone.
        cpus: cores of this machine to use at most; by default all.
        progress: hears how many products are done.

    Returns:
        The last state of each product, in the plan's order.

    Raises:
        FleetError: another command fits there, the folder cannot be written, the cluster cannot be
            used, or more is wanted for one product than there is.
    """
    place = Place(models)
    with _held(place):
        with ThreadPoolExecutor(_LOOKING) as pool:
            states = list(pool.map(lambda product: _looked_at(product, place), plan.products))
        by_name = {state.product: state for state in states}
        todo = [one for one in plan.products if by_name[one.name].status == "waiting"]
        _say_what_is_to_do(plan, states)

        def heard(state: State) -> None:
            by_name[state.product] = state
            ended = sum(one.status in ("done", "failed") for one in by_name.values())
            progress("fleet", ended, len(by_name))
            _say_end(state)

        orders = [
            Order(product=one, models=place.models, own_features=engine == "ray") for one in todo
        ]
        if orders and engine == "ray":
            run_on_ray(orders, place, heard, address=address, cpus=cpus)
        elif orders:
            run_here(orders, place, Machine(cpus, gpus=_gpus_here(todo)), heard)
    return [by_name[product.name] for product in plan.products]


@contextmanager
def _held(place: Place) -> Iterator[None]:
    """Holds the folder for this command alone."""
    with ExitStack() as held:
        try:
            free = held.enter_context(locked_file(place.lock))
        except OSError as error:
            raise FleetError(
                f"{place.models}: models cannot be kept there ({error.strerror or error}); give "
                "another folder with -o, or the right to write to this one"
            ) from None
        if not free:
            raise FleetError(
                f"{place.models}: another nfbmr fleet fit is at work there; watch it with "
                "'nfbmr fleet status', or choose another folder with -o"
            )
        yield


def _looked_at(product: Product, place: Place) -> State:
    """Compares a product with what is known of it; writes and returns how far it is.

    What is amiss with one product ends in a state that says so.
    """
    try:
        return _compared(product, place)
    except (NfbmrError, OSError) as error:
        return place.fail(product.name, error)


def _compared(product: Product, place: Place) -> State:
    name = product.name
    known = place.read(name) or State(product=name)
    now = _marks(product)
    if known.marks is None and is_bundle(place.model(name)):
        raise DataError(
            f"{place.model(name)} is a model that no fleet made; move it away, or name the "
            "product otherwise"
        )
    if known.marks is not None and (said := differences(known.marks, now)):
        _log.info("%s is learnt again: %s", name, "; ".join(said))
        known = State(product=name)
    same_model = bool(known.fitted) and place.fitted(name) == known.fitted
    if known.status == "done" and same_model:
        return known
    if known.status == "done":
        _log.info("%s is learnt again: its model is gone, or another", name)
        known = State(product=name)
    return place.write(replace(known, status="waiting", marks=now, error="", what=""))


def _marks(product: Product) -> Marks:
    """Returns what a model of a product is to rest on.

    Raises:
        DataError: its pictures cannot be read as a data set.
        OSError: a file went meanwhile.
    """
    data = read_data(product.data)
    good = data.to_learn_from()
    test = data if product.test == product.data else read_data(product.test)
    ignored = [] if product.ignore is None else [product.ignore]
    tests = test.test or (test.samples if test is not data else ())
    return Marks(
        settings=to_dict(product.settings),
        pictures=len(good),
        learnt=_named(good, data.root, ignored),
        tests=len(tests),
        tested=_named(tests, test.root),
    )


def _named(samples: Sequence[Sample], root: Path, others: Sequence[Path] = ()) -> str:
    """Names files by path, size and time of change; nothing is read of them."""
    base = root.parent if root.is_file() else root
    digest = hashlib.sha256()
    for path in (*(sample.path for sample in samples), *others):
        stat = path.stat()
        name = path.relative_to(base) if path.is_relative_to(base) else path
        digest.update(json.dumps([str(name), stat.st_size, stat.st_mtime_ns]).encode())
    return digest.hexdigest()


def _gpus_here(products: Sequence[Product]) -> int:
    if not any(product.resources.gpus for product in products):
        return 0
    import torch

    return torch.cuda.device_count()


def _say_what_is_to_do(plan: FleetPlan, states: Sequence[State]) -> None:
    counts = {
        status: sum(state.status == status for state in states)
        for status in ("done", "waiting", "failed")
    }
    _log.info(
        "%s: %d done before, %d to do, %d whose pictures cannot be used",
        counted(len(plan.products), "product"),
        *counts.values(),
    )
    for state in states:
        if state.status == "failed":
            _say_end(state)


def _say_end(state: State) -> None:
    if state.status == "failed":
        _log.warning("%s failed: %s", state.product, state.error)
    else:
        _log.info("%s: %s after %.0f s", state.product, state.status, state.seconds)
