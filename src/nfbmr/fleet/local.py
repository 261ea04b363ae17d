"""The plan's products by processes on this machine, as many at once as it has cores for."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from pathlib import Path
from threading import Event, Lock

from nfbmr.errors import NfbmrError
from nfbmr.fleet.machine import Machine
from nfbmr.fleet.parent import STOP_SECONDS
from nfbmr.fleet.place import Place, State
from nfbmr.fleet.product import Order

RETRIES = 2
"""How often a process that died is started again; a product that failed is not."""

COMMAND = (sys.executable, "-m", "nfbmr.fleet.product")
"""Does the order of a file, and ends with the process whose number is its last word."""


def run_here(
    orders: Sequence[Order],
    place: Place,
    machine: Machine,
    heard: Callable[[State], None],
) -> None:
    """Has each product done by a process of its own.

    Args:
        orders: what to do, in this order where the machine has no room for all at once.
        place: where their states lie.
        machine: what there is.
        heard: called with the last state of each, in the order in which they end.

    Raises:
        FleetError: more is wanted for one product than the machine has.
    """
    for order in orders:
        machine.refuse(order.product.resources)
    processes = _Processes()
    pool = ThreadPoolExecutor(max(1, min(len(orders), machine.cpus)), "nfbmr-fleet")
    try:
        left: set[Future[State]] = {
            pool.submit(_done, order, place, machine, processes) for order in orders
        }
        while left:
            ended, left = wait(left, return_when=FIRST_COMPLETED)
            for future in ended:
                heard(future.result())
    finally:
        processes.stop()
        pool.shutdown(cancel_futures=True)


def _done(order: Order, place: Place, machine: Machine, processes: _Processes) -> State:
    """Does one product; what keeps it from being done stops no other."""
    try:
        return _tried(order, place, machine, processes)
    except (NfbmrError, OSError) as error:
        return place.fail(order.product.name, error)


def _tried(order: Order, place: Place, machine: Machine, processes: _Processes) -> State:
    """Starts a process until one ends of itself; returns the state that it left."""
    name = order.product.name
    file = place.folder(name) / "order.json"
    order.write(file)
    died: list[str] = []
    while True:
        with machine.taken(order.product.resources) as variables:
            if processes.stopped.is_set():
                break
            status = processes.run(file, place.folder(name) / "log.txt", variables)
        state = place.read(name)
        if state is not None and state.status in ("done", "failed", "stopped"):
            return state
        if processes.stopped.is_set():
            break
        died.append(_how(status))
        if len(died) > RETRIES:
            return lost(place, name, f"its process ended {len(died)} times: {', '.join(died)}")
    return place.read(name) or State(product=name)


def lost(place: Place, name: str, why: str) -> State:
    """Keeps and returns that a product's workers were lost as often as is tried."""
    return place.fail(
        name,
        f"{why}; see {place.folder(name) / 'log.txt'}, and whether memory was short "
        "(memory_gb). The same command goes on from its last checkpoint",
    )


def _how(status: int) -> str:
    return signal.Signals(-status).name if status < 0 else f"exit {status}"


class _Processes:
    """The processes at work, all of which are stopped when the caller is."""

    def __init__(self) -> None:
        self.stopped = Event()
        self._lock = Lock()
        self._running: set[subprocess.Popen[bytes]] = set()

    def run(self, order: Path, log: Path, variables: dict[str, str]) -> int:
        """Runs one to its end; returns its exit status, negative where a signal ended it."""
        with log.open("ab") as stream:
            with self._lock:
                if self.stopped.is_set():
                    return 0
                process = subprocess.Popen(
                    [*COMMAND, str(order), str(os.getpid())],
                    stdin=subprocess.DEVNULL,
                    stdout=stream,
                    stderr=stream,
                    env=os.environ | variables,
                )
                self._running.add(process)
            try:
                return process.wait()
            finally:
                with self._lock:
                    self._running.discard(process)

    def stop(self) -> None:
        """Asks all to end, which keeps where they are; ends those that do not."""
        self.stopped.set()
        with self._lock:
            running = list(self._running)
        for process in running:
            process.terminate()
        for process in running:
            try:
                process.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
