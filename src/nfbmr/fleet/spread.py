"""The plan's products on a cluster: each a Ray task with what it takes, tried again where it dies.

What a task did lies in files that all nodes see, so the task that is tried again goes on there.
"""

from __future__ import annotations

import logging
import socket
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nfbmr.data.layouts import read_data
from nfbmr.errors import FleetError
from nfbmr.fleet.cluster import Cluster, check_nodes, connected, fresh_file, of_the_work
from nfbmr.fleet.local import RETRIES, lost
from nfbmr.fleet.parent import alone
from nfbmr.fleet.place import Place, State
from nfbmr.fleet.plan import Product, Resources
from nfbmr.fleet.product import Order, fit_product
from nfbmr.system.files import in_words

_log = logging.getLogger(__name__)

_GB = 10**9
_LOOK_SECONDS = 60.0  # without an end of any product, until it is looked who finds no room
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
    with connected(address, workers=cpus) as cluster, fresh_file(place.lock.parent) as fresh:
        needed = {order.product.name: sorted(set(_needed(order.product))) for order in orders}
        check_nodes(
            seen=[place.models, *sorted({one for some in needed.values() for one in some}), fresh],
            written=[place.models, place.lock.parent],
            packages=_PACKAGES,
        )
        has = [node["Resources"] for node in cluster.nodes()]
        for order in orders:
            _refuse_more_than_there_is(order.product, has)
        hands = _Hands(cluster, place, heard, {name: (fresh, *n) for name, n in needed.items()})
        hands.do([order for order in orders if order.product.resources.workers == 1])
        for order in orders:
            if order.product.resources.workers > 1:
                hands.do([order])


def _needed(product: Product) -> Iterator[Path]:
    """Yields what each node has to see of a product; of tables a picture that they name, too."""
    yield from {product.data, product.test, product.ignore or product.data}
    for table in {product.data, product.test}:
        if table.is_file():
            data = read_data(table)
            yield from [sample.path for sample in (*data.samples[:1], *data.test[:1])]


@dataclass(frozen=True)
class _Unfit:
    """What a node says that does not see what a product needs: it may be back without mounts."""

    node: str
    """As Ray calls it."""
    where: str
    """Its machine."""
    path: str
    """The first that it does not see."""


class _Hands:
    """Has products done at once, as far as there is room for them."""

    def __init__(
        self,
        cluster: Cluster,
        place: Place,
        heard: Callable[[State], None],
        needed: Mapping[str, Sequence[Path]],
    ) -> None:
        """Notes where states lie, who hears them, and what a node has to see of each product."""
        self._cluster, self._place, self._heard, self._needed = cluster, place, heard, needed
        self._unfit: dict[str, _Unfit] = {}
        self._given: Counter[str] = Counter()
        self._waiting: dict[Any, Order] = {}
        self._without_room: set[str] = set()

    def do(self, orders: Sequence[Order]) -> None:
        """Does products, each where there is room first."""
        import ray

        for order in orders:
            self._begin(order)
        while self._waiting:
            done, _ = ray.wait(list(self._waiting), num_returns=1, timeout=_LOOK_SECONDS)
            for call in done:
                self._ended(call)
            if not done:
                self._say_who_finds_no_room()

    def _begin(self, order: Order) -> None:
        import ray

        product = order.product
        words = _options(product.resources)
        if self._unfit:
            fit = [node for node in self._nodes() if _places(product, node["Resources"])]
            if not fit:
                last = list(self._unfit.values())[-1]
                where = f"{last.where} does not see {last.path}"
                why = f"no node with room for it sees its files: {where}; mount it there"
                self._heard(self._place.fail(product.name, why))
                return
            node = min(fit, key=lambda node: self._given[node["NodeID"]])["NodeID"]
            self._given[node] += 1
            words["scheduling_strategy"] = _at(node)
        task = ray.remote(max_retries=RETRIES)(_fit).options(name=product.name, **words)
        self._waiting[task.remote(order, self._needed[product.name])] = order

    def _nodes(self) -> list[dict[str, Any]]:
        return [node for node in self._cluster.nodes() if node["NodeID"] not in self._unfit]

    def _ended(self, call: Any) -> None:
        import ray

        order = self._waiting.pop(call)
        name = order.product.name
        try:
            found: State | _Unfit = ray.get(call)
        except ray.exceptions.RayTaskError as error:
            self._heard(self._place.fail(name, _not_begun(of_the_work(error), self._place)))
        except ray.exceptions.RayError as error:
            why = f"its worker was lost {RETRIES + 1} times ({type(error).__name__})"
            self._heard(lost(self._place, name, why))
        else:
            if isinstance(found, State):
                self._heard(found)
            elif not Path(found.path).exists():
                self._heard(self._place.fail(name, f"{found.path} is no longer there"))
            else:
                self._go_elsewhere(order, found)

    def _go_elsewhere(self, order: Order, said: _Unfit) -> None:
        if said.node not in self._unfit:
            _log.warning(
                "The node on %s does not see %s and gets no more products; mount it there for the "
                "next command",
                said.where,
                said.path,
            )
            self._unfit[said.node] = said
        self._begin(order)

    def _say_who_finds_no_room(self) -> None:
        """Says once of each product that the nodes that are left cannot take it: Ray waits."""
        has = [node["Resources"] for node in self._nodes()]
        for order in self._waiting.values():
            if order.product.name not in self._without_room:
                try:
                    _refuse_more_than_there_is(order.product, has)
                except FleetError as error:
                    self._without_room.add(order.product.name)
                    _log.warning("%s. It waits for such nodes", error)


def _at(node: str) -> Any:
    """Returns how Ray is told to prefer a node, and to take another once that is gone."""
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    return NodeAffinitySchedulingStrategy(node, soft=True)


def _fit(order: Order, needed: Sequence[Path]) -> State | _Unfit:
    """Does one product on whichever node this runs, where that sees what is needed."""
    import ray

    from nfbmr.fleet.together import RayHelpers

    logging.getLogger("nfbmr").setLevel(logging.INFO)
    for path in needed:
        if not path.exists():
            node = ray.get_runtime_context().get_node_id()
            return _Unfit(node, socket.gethostname(), str(path))
    resources = order.product.resources
    # A process that a node still runs, though it was cut off, ends when it is heard of again.
    with alone(Place(order.models).folder(order.product.name) / "lock"):
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
    wanted = _wanted(resources)
    places = sum(_places(product, node) for node in nodes)
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


def _places(product: Product, node: Mapping[str, float]) -> int:
    """Returns how many workers of a product a node has room for."""
    wanted = _wanted(product.resources).items()
    return min(int(node.get(name, 0) // value) for name, value in wanted)


def _wanted(resources: Resources) -> dict[str, float]:
    wanted = {
        "CPU": resources.cpus,
        "GPU": resources.gpus,
        "memory": resources.memory_gb * _GB,
    }
    return {name: value for name, value in wanted.items() if value}
