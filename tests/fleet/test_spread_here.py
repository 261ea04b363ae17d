"""Products on a cluster: what is refused, held and said, without Ray."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from nfbmr.errors import FleetError
from nfbmr.fleet.plan import Product, Resources
from nfbmr.fleet.spread import _refuse_more_than_there_is
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


def test_ray_gives_up_waiting_for_workers_that_find_no_room() -> None:
    """Its own default is to wait without end."""
    train = pytest.importorskip("ray.train")
    from nfbmr.fleet.together import _limits

    config = train.FailureConfig(**_limits(train.FailureConfig))
    assert config.max_failures == 2
    assert 0 < getattr(config, "controller_failure_limit", 1) < 100
