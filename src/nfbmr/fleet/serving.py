"""A station's models on Ray: networks run on workers, queue and verdicts stay with the station.

Workers give raw maps. What follows, and so the thresholds in force, is computed by the station's
own inspector, so a changed threshold need not reach them.
"""

from __future__ import annotations

import logging
import math
import threading
from collections.abc import Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from weakref import WeakValueDictionary

from nfbmr.errors import FleetError
from nfbmr.fleet.cluster import Cluster, of_the_work
from nfbmr.inspection.decoding import Named
from nfbmr.inspection.inspector import Inspector, load
from nfbmr.inspection.result import About, Failure, Inspection
from nfbmr.inspection.stream import Stream
from nfbmr.model.bundle import Identity
from nfbmr.scoring.maps import Maps
from nfbmr.station.engine.batcher import Batcher

_log = logging.getLogger(__name__)

_TRIES = 3  # of a picture, or a model to load, that workers die of
_LOAD_SECONDS = 300.0
_GROUPS = 3  # that a `Stream` is ahead


@dataclass(frozen=True)
class Raw:
    """What a worker says of a picture."""

    maps: Maps
    """(K, H', W')."""
    about: About


class Network:
    """A worker: what waits at it goes through the network together."""

    def __init__(self, model: Path, runtime: str, batch: int, expected: Identity) -> None:
        """Loads the model; errors as of `load`.

        Raises:
            FleetError: it is another one than is expected.
        """
        self._inspector = load(model, runtime=runtime, device="cpu", threads=1)
        if self._inspector.identity != expected:
            raise FleetError(
                f"{model} is another model where the workers are; put it on storage that all nodes "
                "share under the same path"
            )
        self._batcher = Batcher(self._inspector, batch)

    def identity(self) -> Identity:
        """Returns which fit it is, and which of its graphs."""
        return self._inspector.identity

    def raw(self, data: bytes | Named) -> Raw | Failure:
        """Computes the raw maps of a picture's file; several threads may ask at once.

        Raises:
            RuntimeError: the network failed.
        """
        found = self._batcher.submit(data).result()
        return found if isinstance(found, Failure) else Raw(found.maps, found.about)


@dataclass(eq=False)
class _Place:
    """A worker's place: another comes to it when one dies."""

    actor: Any
    loaded: Any
    """What Ray calls the answer that it has loaded."""
    ready: bool = False
    """Whether that answer came."""
    inside: int = 0
    """Pictures that are with it."""


class Crew:
    """The workers of one model; they end when nobody holds it any more."""

    def __init__(
        self, model: Path, expected: Identity, runtime: str, workers: int, batch: int
    ) -> None:
        """Starts the workers, none of which takes another model than the expected one."""
        import ray

        self._ray = ray
        # They take turns with those of other models, so they reserve nothing.
        made = ray.remote(num_cpus=0, max_concurrency=2 * batch, scheduling_strategy="SPREAD")
        self._made, self._words = made(Network), (model, runtime, batch, expected)
        self._lock = threading.Lock()
        self._places = [_Place(*self._hired()) for _ in range(workers)]
        self.workers = workers

    def wait(self) -> None:
        """Waits until the first worker has loaded the model.

        Raises:
            NfbmrError: it cannot be loaded there.
            FleetError: it was not in time, or the workers die.
        """
        place = self._places[0]
        for _ in range(_TRIES):
            actor = place.actor
            try:
                self._ray.get(place.loaded, timeout=_LOAD_SECONDS)
            except self._ray.exceptions.RayTaskError as error:
                raise of_the_work(error) from None
            except self._ray.exceptions.GetTimeoutError:
                raise FleetError(
                    f"no worker loaded the model within {_LOAD_SECONDS:.0f} s; see 'ray status'"
                ) from None
            except self._ray.exceptions.RayError as error:
                # Ray sends work to a node that is gone until it has missed it for a while.
                died = error
                self._replace(place, actor, error)
            else:
                return
        raise FleetError(f"workers died while they loaded the model: {died}")

    def raw(self, data: bytes | Named) -> Raw | Failure:
        """Has the least busy worker compute a picture's raw maps; one that dies is replaced.

        Raises:
            FleetError: workers died of it again and again.
            Exception: the network failed, as it was raised there.
        """
        for _ in range(_TRIES):
            with self._lock:
                place = self._least_busy()
                place.inside += 1
                actor = place.actor
            try:
                found: Raw | Failure = self._ray.get(actor.raw.remote(data))
            except self._ray.exceptions.RayTaskError:
                raise
            except self._ray.exceptions.RayError as error:
                self._replace(place, actor, error)
            else:
                return found
            finally:
                with self._lock:
                    place.inside -= 1
        raise FleetError("workers died while they judged this picture; see 'ray status'")

    def _least_busy(self) -> _Place:
        """Returns the place with the fewest pictures, of those that are ready if any is."""
        for place in self._places:
            if not place.ready and self._ray.wait([place.loaded], timeout=0)[0]:
                self._look_at(place)
        ready = [place for place in self._places if place.ready]
        return min(ready or self._places, key=lambda place: place.inside)

    def _look_at(self, place: _Place) -> None:
        """Notes that a worker has loaded; one that died of it is replaced."""
        try:
            self._ray.get(place.loaded)
        except self._ray.exceptions.RayTaskError:
            return  # what it was says whoever has no other place
        except self._ray.exceptions.RayError as error:
            self._hire_again(place, error)
        else:
            place.ready = True

    def _replace(self, place: _Place, actor: Any, error: Exception) -> None:
        with self._lock:
            if place.actor is actor:
                self._hire_again(place, error)

    def _hire_again(self, place: _Place, error: Exception) -> None:
        _log.warning("A worker died; its pictures go to another (%s)", type(error).__name__)
        place.actor, place.loaded = self._hired()
        place.ready = False

    def _hired(self) -> tuple[Any, Any]:
        actor = self._made.remote(*self._words)
        return actor, actor.identity.remote()


class OnRay:
    """Stands before a network for an inspector: judges streams as that does."""

    def __init__(self, inspector: Inspector, crew: Crew) -> None:
        """Joins what computes verdicts and what computes maps."""
        self._inspector, self._crew = inspector, crew

    def inspect_many(
        self,
        images: Iterable[bytes | Named],
        *,
        batch: int,
        workers: int,  # noqa: ARG002 - each decodes as many as it computes
    ) -> Iterator[Inspection | Failure]:
        """Judges files in order, as `Inspector.inspect_many` does.

        Args:
            images: the files' bytes, with names where they have some.
            batch: pictures that are with each worker at once.
            workers: passed over.
        """
        room = self._crew.workers * batch
        with closing(
            Stream(
                images,
                self._crew.raw,
                self._judged,
                most=math.ceil(room / _GROUPS),
                full=False,
                workers=room,
            )
        ) as stream:
            for _, results in stream:
                yield from results

    def _judged(self, group: list[Raw | Failure]) -> list[Inspection | Failure]:
        return [one for found in group for one in self._judge(found)]

    def _judge(self, found: Raw | Failure) -> list[Inspection | Failure]:
        if isinstance(found, Failure):
            return [found]
        return self._inspector.judge(found.maps[None], [found.about])


class RayJudges:
    """Gives each model of a station its workers; a model with other thresholds keeps them."""

    def __init__(self, cluster: Cluster, runtime: str, workers: int | None, batch: int) -> None:
        """Takes the words.

        Args:
            cluster: that is joined.
            runtime: as for `load`.
            workers: of each model; None: one for each CPU of the cluster.
            batch: pictures that pass a network at once, at most.
        """
        self._runtime, self._batch = runtime, batch
        self._workers = workers or cluster.cpus
        self._crews: WeakValueDictionary[tuple[Path, Identity], Crew] = WeakValueDictionary()

    def __call__(self, inspector: Inspector) -> OnRay:
        """Returns what judges in an inspector's place.

        Raises:
            FleetError: the workers do not see the same model.
            NfbmrError: they cannot load it.
        """
        assert inspector.path is not None
        key = (inspector.path.absolute(), inspector.identity)
        crew = self._crews.get(key)
        if crew is None:
            crew = Crew(*key, self._runtime, self._workers, self._batch)
            crew.wait()
            self._crews[key] = crew
        return OnRay(inspector, crew)
