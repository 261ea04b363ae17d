"""The plan's products on a cluster: each a Ray task with what it takes, tried again where it dies.

What a task did lies in files that all nodes see, so the task that is tried again goes on there.
"""

from __future__ import annotations

import logging
import secrets
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from nfbmr.data.layouts import read_data
from nfbmr.errors import FleetError
from nfbmr.fleet.cluster import check_nodes, connected, of_the_work
from nfbmr.fleet.local import RETRIES, lost
from nfbmr.fleet.place import Place, State
from nfbmr.fleet.plan import Product, Resources
from nfbmr.fleet.product import Order, fit_product
from nfbmr.system.files import in_words

_log = logging.getLogger(__name__)

_GB = 10**9
_PACKAGES = ("torch", "timm", "numpy", "pillow")  # whose versions features depend on


def run_on_ray(
    orders: Sequence[Order],
    place: Place,
    heard: Callable[[State], None],
    *,
    address: str | None = None,
    cpus: int | None = None,
) -> None:
    """Has each product done by a task.

    Those that several workers learn come last, one at a time: each wants its workers at once, and
    several that wait for one another's would all find no room.

    Args:
        orders: what to do.
        place: where their states lie.
        heard: called with the last state of each, in the order in which they end.
        address: of the cluster; None: one on this machine, with `cpus` cores.
        cpus: of a cluster that is started here.

    Raises:
        FleetError: the cluster cannot be used, a node lacks something, or more is wanted for one
            product than there is.
    """
    with connected(address, workers=cpus) as cluster:
        needed = {path for order in orders for path in _needed(order.product)}
        with _fresh_file(place) as fresh:
            check_nodes(
                seen=[place.models, *sorted(needed), fresh],
                written=[place.models, place.lock.parent],
                packages=_PACKAGES,
            )
        has = [node["Resources"] for node in cluster.nodes()]
        for order in orders:
            _refuse_more_than_there_is(order.product, has)
        alone = [order for order in orders if order.product.resources.workers == 1]
        _run(alone, place, heard)
        for order in orders:
            if order.product.resources.workers > 1:
                _run([order], place, heard)


def _needed(product: Product) -> Iterator[Path]:
    """Yields what each node has to see of a product; of tables a picture that they name, too."""
    yield from {product.data, product.test, product.ignore or product.data}
    for table in {product.data, product.test}:
        if table.is_file():
            data = read_data(table)
            yield from [sample.path for sample in (*data.samples[:1], *data.test[:1])]


@contextmanager
def _fresh_file(place: Place) -> Iterator[Path]:
    """Makes a file that no other folder of this name can have, while the body runs."""
    path = place.lock.with_name(f"seen-{secrets.token_hex(8)}")
    path.touch()
    try:
        yield path
    finally:
        path.unlink(missing_ok=True)


def _run(orders: Sequence[Order], place: Place, heard: Callable[[State], None]) -> None:
    """Does products at once, as far as there is room for them."""
    import ray

    task = ray.remote(max_retries=RETRIES)(_fit)
    waiting = {
        task.options(name=order.product.name, **_options(order.product.resources)).remote(
            order
        ): order
        for order in orders
    }
    while waiting:
        (ended,), _ = ray.wait(list(waiting), num_returns=1)
        name = waiting.pop(ended).product.name
        try:
            heard(ray.get(ended))
        except ray.exceptions.RayTaskError as error:
            heard(place.fail(name, _not_begun(of_the_work(error), place)))
        except ray.exceptions.RayError as error:
            why = f"its worker was lost {RETRIES + 1} times ({type(error).__name__})"
            heard(lost(place, name, why))


def _fit(order: Order) -> State:
    """Does one product on whichever node this runs."""
    from nfbmr.fleet.together import RayHelpers

    logging.getLogger("nfbmr").setLevel(logging.INFO)
    resources = order.product.resources
    if resources.workers == 1:
        return fit_product(order)
    return fit_product(order, RayHelpers(resources))


def _not_begun(error: Exception, place: Place) -> str:
    """Says what kept a node from a product at all: what goes wrong in it is in its state."""
    said = in_words(error) if isinstance(error, OSError) else str(error)
    return (
        f"a node could not work on it: {said}; each node has to be able to write to "
        f"{place.models}, and to have what it needs installed"
    )


def _options(wanted: Resources) -> dict[str, Any]:
    """Returns what a product's task holds.

    One whose large parts others do mostly waits for them, so that it takes no CPU; it has memory
    of its own, for the survey and the calibration.
    """
    memory = int(wanted.memory_gb * _GB)
    if wanted.workers > 1:
        return {"num_cpus": 0, "num_gpus": 0, "memory": memory}
    return {"num_cpus": wanted.cpus, "num_gpus": wanted.gpus, "memory": memory}


def _refuse_more_than_there_is(product: Product, nodes: Sequence[Mapping[str, float]]) -> None:
    """Refuses what Ray would wait for without end; `nodes` is what each has.

    Raises:
        FleetError: no node has what one worker takes, or all together have it for fewer workers.
    """
    resources = product.resources
    wanted = {name: value for name, value in _wanted(resources).items() if value}
    places = sum(
        min(int(node.get(name, 0) // value) for name, value in wanted.items()) for node in nodes
    )
    if places >= resources.workers:
        return
    said = ", ".join(f"{value:g} {name}" for name, value in wanted.items())
    if places:
        raise FleetError(
            f"product '{product.name}' wants {resources.workers} workers with {said} each; the "
            f"nodes have room for {places} of them. Give workers = {places} in the plan, or each "
            "fewer cpus, gpus or less memory_gb, or start more nodes"
        )
    most = {name: max((node.get(name, 0) for node in nodes), default=0) for name in wanted}
    there = ", ".join(f"{value:g} {name}" for name, value in most.items())
    raise FleetError(
        f"product '{product.name}' wants {said}; no node has that, the most are {there}. "
        "Give it fewer cpus, gpus or less memory_gb in the plan"
    )


def _wanted(resources: Resources) -> dict[str, float]:
    return {
        "CPU": resources.cpus,
        "GPU": resources.gpus,
        "memory": resources.memory_gb * _GB,
    }
