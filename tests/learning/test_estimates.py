"""How long a fit will take: counted by hand from parts, and parts measured on tiny networks."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
import torch

from nfbmr.learning import estimates
from nfbmr.learning.estimates import Parts, duration, measure_parts, noise, seconds, step_seconds
from nfbmr.networks.source import SourceNetwork
from nfbmr.settings.changes import with_changes
from nfbmr.settings.schema import Settings, StageSettings

CPU = torch.device("cpu")


def test_a_fit_is_pictures_and_steps(tiny: Settings) -> None:
    parts = Parts(image_seconds=2.0, flow_step=10.0, mapping_step=100.0, grid=(3, 5))
    assert parts.fit_seconds(tiny, 16, 11) == 2 * 16 + 10 * 30 + 100 * 15
    changes = {
        "stage_one": {"epochs": 2, "batch": 50, "least_steps": 1, "most_steps": None},
        "stage_two": {"epochs": 3, "batch": 4},
    }
    by_epochs = with_changes(tiny, changes)  # 11 x 15 positions, and 11 pictures
    assert parts.fit_seconds(by_epochs, 16, 11) == 2 * 16 + 10 * 2 * 4 + 100 * 3 * 3
    one_picture_less = parts.fit_seconds(by_epochs, 15, 10)
    assert one_picture_less == 2 * 15 + 10 * 2 * 3 + 100 * 3 * 3


def test_few_pictures_train_models_of_the_others_as_well(tiny: Settings) -> None:
    parts = Parts(image_seconds=2.0, flow_step=10.0, mapping_step=100.0, grid=(3, 5))
    folded = with_changes(tiny, {"calibration": {"folded_below": 17}})
    assert parts.fit_seconds(folded, 16, 11) == 2 * 16 + 5 * (10 * 30 + 100 * 15)
    assert parts.fit_seconds(folded, 17, 12) == 2 * 17 + 10 * 30 + 100 * 15


@pytest.fixture(scope="module")
def network() -> SourceNetwork:
    return SourceNetwork("tf_efficientnet_lite0", (3, 2))


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"stage_one": {"batch_of": "images", "batch": 3}, "flow": {"kernel": 3}},
        {"mapping": {"kind": "b-pfm"}},
    ],
    ids=["positions", "images", "b-pfm"],
)
def test_parts_are_measured_where_the_network_is(
    changes: dict[str, object], tiny: Settings, network: SourceNetwork
) -> None:
    before = {name: value.clone() for name, value in network.state_dict().items()}
    parts = measure_parts(network, with_changes(tiny, changes), (64, 96))
    assert parts.grid == (8, 12)
    for value in (parts.image_seconds, parts.flow_step, parts.mapping_step):
        assert 0 < value < math.inf
    after = network.state_dict()
    assert all(torch.equal(after[name], value) for name, value in before.items())


def test_parts_of_a_network_with_detail_have_the_grid_of_y(tiny: Settings) -> None:
    network = SourceNetwork.of(tiny.backbone)
    assert network.detail_channels
    for waves in (0, 6):
        settings = with_changes(tiny, {"flow": {"position": waves}})
        parts = measure_parts(network, settings, (64, 96))
        assert parts.grid == (8, 12)
        assert 0 < parts.flow_step < math.inf


def test_a_flow_that_judges_alone_has_no_steps_of_a_mapping(
    tiny: Settings, network: SourceNetwork
) -> None:
    alone = with_changes(tiny, {"mapping": {"kind": "none"}, "scoring": {"maps": ["norm"]}})
    parts = measure_parts(network, alone, (64, 64))
    assert parts.mapping_step < 0.1 * parts.flow_step


def test_a_call_is_timed_after_the_first_one_and_by_default_without_gradients() -> None:
    seen: list[bool] = []

    def run() -> None:
        seen.append(torch.is_grad_enabled())

    assert 0 <= seconds(run, CPU) < 1
    assert seen == [False] * 3
    seen.clear()
    seconds(run, CPU, gradients=True)
    assert seen == [True] * 3
    assert torch.is_grad_enabled()


@pytest.mark.parametrize(
    ("how", "each", "batches", "expected"),
    [
        (StageSettings(steps=1, batch=64, batch_of="positions"), 9.0, [64], 9.0),
        (StageSettings(steps=1, batch=8), 0.5, [2, 8], 0.5),
        (StageSettings(steps=1, batch=8), 9.0, [2], 9.0 * 4),
        (StageSettings(steps=1, batch=2), 0.5, [2], 0.5),
        (StageSettings(steps=1, batch=1), 9.0, [1], 9.0),
    ],
)
def test_a_long_step_is_measured_on_few_images(
    how: StageSettings,
    each: float,
    batches: list[int],
    expected: float,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    seen: list[int] = []

    def timed(run: Callable[[], object], device: torch.device, *, gradients: bool) -> float:
        assert gradients
        run()
        return each

    monkeypatch.setattr(estimates, "seconds", timed)
    assert step_seconds(seen.append, how, CPU) == pytest.approx(1.25 * expected)
    assert seen == batches


def test_noise_is_the_same_every_time_and_no_flat_picture() -> None:
    found = noise((2, 8, 9, 3))
    assert found.shape == (2, 8, 9, 3)
    assert found.dtype == np.uint8
    np.testing.assert_array_equal(found, noise((2, 8, 9, 3)))
    assert len(np.unique(found)) > 100
    assert not np.array_equal(found[0], found[1])


@pytest.mark.parametrize(
    ("spent", "said"),
    [
        (0.0, "0 s"),
        (119.4, "119 s"),
        (120.0, "2 min"),
        (7199.0, "120 min"),
        (7200.0, "2.0 h"),
        (2 * 86400 - 1, "48.0 h"),
        (2 * 86400, "2.0 days"),
        (36 * 86400, "36.0 days"),
    ],
)
def test_times_are_said_in_the_unit_that_suits_them(spent: float, said: str) -> None:
    assert duration(spent) == said
