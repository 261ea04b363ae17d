"""Products on a cluster: what is refused, held and said, without Ray."""

from __future__ import annotations

import errno
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from PIL import Image

from nfbmr.errors import FleetError
from nfbmr.fleet import spread
from nfbmr.fleet.place import Place, State
from nfbmr.fleet.plan import Product, Resources
from nfbmr.fleet.product import Order
from nfbmr.fleet.spread import _refuse_more_than_there_is, _Unfit
from nfbmr.settings.schema import Settings

_GB = 10**9


def product_of(name: str = "widget", **resources: Any) -> Product:
    data = Path("/data") / name
    return Product(
        name=name,
        data=data,
        test=data,
        ignore=None,
        settings=Settings(),
        resources=Resources(**resources),
    )


def node(cpus: float, memory_gb: float = 64, gpus: float = 0) -> dict[str, float]:
    return {"CPU": cpus, "memory": memory_gb * _GB} | ({"GPU": gpus} if gpus else {})


@pytest.mark.parametrize(
    ("resources", "nodes", "said"),
    [
        ({"workers": 8}, [node(2)], "wants 8 workers .*room for 2"),
        ({"workers": 3, "cpus": 2}, [node(3), node(3)], "room for 2"),
        ({"workers": 2, "gpus": 1}, [node(8), node(8, gpus=1)], "room for 1"),
        ({"workers": 4, "memory_gb": 10}, [node(8, 25), node(8, 9)], "room for 2.*memory_gb"),
        ({"cpus": 7}, [node(2), node(4)], "wants 7 CPU.*the most are 4 CPU"),
        ({"workers": 2, "cpus": 7}, [node(4), node(4)], "wants 7 CPU.*the most are 4 CPU"),
    ],
)
def test_more_workers_than_the_nodes_have_room_for_are_refused(
    resources: dict[str, Any], nodes: list[dict[str, float]], said: str
) -> None:
    with pytest.raises(FleetError, match=said):
        _refuse_more_than_there_is(product_of(**resources), nodes)


def test_workers_that_the_nodes_have_room_for_are_taken() -> None:
    _refuse_more_than_there_is(product_of(workers=3, cpus=2), [node(4), node(3)])
    _refuse_more_than_there_is(product_of(gpus=0.5), [node(4), node(4, gpus=1)])


class RayError(Exception):
    """What Ray raises of a task whose worker was lost."""


class RayTaskError(RayError):
    """What it raises around an error of the task."""

    def __init__(self, cause: Exception) -> None:
        super().__init__(str(cause))
        self.cause = cause


@dataclass
class FakeRay:
    """Tasks that end in the order in which they were begun, each when it is waited for."""

    ends: Mapping[str, Exception | list[_Unfit]]
    """Of products that do not end well at once: an error, or what nodes say one after another."""
    begun: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    at_once: int = 0
    exceptions: Any = field(
        default_factory=lambda: SimpleNamespace(RayError=RayError, RayTaskError=RayTaskError)
    )

    def remote(self, **_: object) -> Callable[[object], SimpleNamespace]:
        return lambda _task: SimpleNamespace(options=self._options)

    def _options(self, *, name: str, **holds: Any) -> SimpleNamespace:
        def begin(order: Order, needed: Sequence[Path]) -> str:
            assert order.product.name == name
            assert all(isinstance(path, Path) for path in needed)
            self.begun.append((name, holds))
            return name

        return SimpleNamespace(remote=begin)

    def wait(self, calls: list[str], **_: object) -> tuple[list[str], list[str]]:
        self.at_once = max(self.at_once, len(calls))
        return calls[:1], calls[1:]

    def get(self, name: str) -> object:
        end = self.ends.get(name)
        if isinstance(end, Exception):
            raise end
        if isinstance(end, list) and end:
            return end.pop(0)
        return State(product=name, status="done")


@pytest.fixture
def done(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., dict[str, State]]:
    """Does products on a cluster of two nodes that is none."""

    @contextmanager
    def connected(*_: object, **__: object) -> Iterator[Any]:
        nodes = [{"Resources": node(4), "NodeID": name} for name in ("one", "two", "three")]
        yield SimpleNamespace(nodes=lambda: nodes)

    monkeypatch.setattr(spread, "connected", connected)
    monkeypatch.setattr(spread, "check_nodes", lambda **_: None)
    monkeypatch.setattr(spread, "_at", lambda node: node)

    def do(ray: FakeRay, *products: Product) -> dict[str, State]:
        monkeypatch.setitem(sys.modules, "ray", ray)
        place = Place(tmp_path / "models")
        place.lock.parent.mkdir(parents=True, exist_ok=True)
        heard: dict[str, State] = {}
        spread.run_on_ray(
            [Order(product=one, models=place.models, own_features=True) for one in products],
            place,
            lambda state: heard.update({state.product: state}),
        )
        return heard

    return do


def test_a_node_that_cannot_write_is_not_told_as_a_lost_worker(
    tmp_path: Path, done: Callable[..., dict[str, State]]
) -> None:
    log = tmp_path / "models" / ".fleet" / "fig" / "log.txt"
    ends: dict[str, Exception | list[_Unfit]] = {
        "fig": RayTaskError(OSError(errno.EROFS, "Read-only file system", str(log))),
        "elm": RayError("the worker died"),
    }
    found = done(FakeRay(ends), *(product_of(name) for name in ("fig", "elm", "ash")))
    assert {name: state.status for name, state in found.items()} == {
        "fig": "failed",
        "elm": "failed",
        "ash": "done",
    }
    assert f"{log}: Read-only file system; each node has to be able to write" in found["fig"].error
    assert "memory" not in found["fig"].error
    assert "its worker was lost 3 times" in found["elm"].error


def test_a_node_that_came_back_without_its_mounts_gets_no_more_products(
    tmp_path: Path, done: Callable[..., dict[str, State]], caplog: pytest.LogCaptureFixture
) -> None:
    models = str(tmp_path / "models")
    ray = FakeRay({name: [_Unfit("two", "host-2", models)] for name in ("fig", "elm", "ash")})
    found = done(ray, *(product_of(name) for name in ("fig", "elm", "ash")))
    assert {state.status for state in found.values()} == {"done"}
    assert caplog.text.count(f"The node on host-2 does not see {models}") == 1
    again = [holds["scheduling_strategy"] for _, holds in ray.begun[3:]]
    assert sorted(again) == ["one", "one", "three"] or sorted(again) == ["one", "three", "three"]


def test_a_product_whose_files_no_node_sees_fails_by_itself_and_so_does_one_whose_files_went(
    tmp_path: Path, done: Callable[..., dict[str, State]]
) -> None:
    mask = tmp_path / "mask.png"
    mask.touch()
    gone = str(tmp_path / "gone")
    ends = {
        "fig": [_Unfit("one", "host-1", gone)],
        "elm": [_Unfit(f"{n}", f"host {n}", f"{mask}") for n in ("one", "two", "three")],
    }
    found = done(FakeRay(ends), *(product_of(name) for name in ("fig", "ash", "elm")))
    assert found["fig"].error == f"{gone} is no longer there"
    assert found["ash"].status == "done"
    assert found["elm"].error == (
        f"no node with room for it sees its files: host three does not see {mask}; mount it there"
    )


def test_products_of_several_workers_come_last_one_at_a_time_and_hold_memory(
    done: Callable[..., dict[str, State]],
) -> None:
    """A thousand of them at once would be a thousand processes, none of which finds its workers."""
    many = [product_of(f"many {number}", workers=2, memory_gb=3) for number in range(5)]
    ray = FakeRay({})
    found = done(ray, *many, product_of("one", cpus=2), product_of("two"))
    assert {state.status for state in found.values()} == {"done"}
    assert [name for name, _ in ray.begun] == ["one", "two", *(one.name for one in many)]
    assert ray.at_once == 2
    for name, holds in ray.begun:
        assert holds["memory"] == (3 if "many" in name else 2) * _GB
    assert [holds["num_cpus"] for _, holds in ray.begun] == [2, 1, 0, 0, 0, 0, 0]


def test_nodes_are_asked_for_masks_pictures_of_tables_and_a_fresh_file(
    tmp_path: Path, done: Callable[..., dict[str, State]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A folder of the same name on a node's own disk has none of this command's files."""
    asked: dict[str, Any] = {}
    fresh: list[bool] = []

    def check_nodes(**words: Any) -> None:
        asked.update(words)
        fresh.append(words["seen"][-1].is_file())

    monkeypatch.setattr(spread, "check_nodes", check_nodes)
    pictures = tmp_path / "elsewhere"
    pictures.mkdir()
    for number in range(3):
        Image.new("L", (8, 8), number).save(pictures / f"{number}.png")
    table = tmp_path / "parts.csv"
    rows = "".join(
        f"{pictures}/{n}.png,good,{s}\n" for n, s in enumerate(("train", "test", "test"))
    )
    table.write_text(f"path,label,split\n{rows}")
    models = tmp_path / "models"
    mask = tmp_path / "mask.png"
    done(FakeRay({}), replace(product_of(), data=table, test=table, ignore=mask))
    *seen, token = asked["seen"]
    assert set(seen) == {models, table, mask, pictures / "0.png", pictures / "1.png"}
    assert asked["written"] == [models, models / ".fleet"]
    assert fresh == [True]
    assert not token.exists()


def test_ray_gives_up_waiting_for_workers_that_find_no_room() -> None:
    """Its own default is to wait without end."""
    train = pytest.importorskip("ray.train")
    from nfbmr.fleet.together import _limits

    config = train.FailureConfig(**_limits(train.FailureConfig))
    assert config.max_failures == 2
    assert 0 < getattr(config, "controller_failure_limit", 1) < 100
