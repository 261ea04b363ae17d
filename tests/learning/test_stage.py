"""A stage's schedule: the rate of each step, and how many steps there are."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from nfbmr.learning.stage import batch_of_images, learning_rate, total_steps
from nfbmr.settings.schema import StageSettings


def test_one_cycle_by_hand() -> None:
    how = StageSettings(steps=101, learning_rate=1.0)
    rates = [learning_rate(how, step, 101) for step in range(101)]
    peak = 0.3 * 101 - 1
    assert rates[0] == pytest.approx(1 / 25)
    assert rates[10] == pytest.approx(1 - (1 - 1 / 25) * (1 + math.cos(math.pi * 10 / peak)) / 2)
    assert max(rates) == pytest.approx(1, abs=1e-2)
    assert abs(rates.index(max(rates)) - peak) <= 1
    assert rates[-1] == pytest.approx(1 / 250_000)
    assert np.all(np.diff(rates[:29]) > 0)
    assert np.all(np.diff(rates[30:]) < 0)


def test_one_cycle_is_torchs() -> None:
    parameter = torch.nn.Parameter(torch.zeros(1))
    optimiser = torch.optim.SGD([parameter], lr=1.0)
    cycle = torch.optim.lr_scheduler.OneCycleLR(optimiser, max_lr=0.01, total_steps=50)
    how = StageSettings(steps=50, learning_rate=0.01)
    for step in range(50):
        assert learning_rate(how, step, 50) == pytest.approx(optimiser.param_groups[0]["lr"])
        optimiser.step()
        if step < 49:
            cycle.step()


@pytest.mark.parametrize("steps", [1, 2, 3, 4, 7])
def test_few_steps_have_rates_too(steps: int) -> None:
    how = StageSettings(steps=steps, learning_rate=0.5)
    rates = [learning_rate(how, step, steps) for step in range(steps)]
    assert all(0 < rate <= 0.5 for rate in rates)


def test_constant_schedule_and_steps_of_epochs() -> None:
    how = StageSettings(epochs=3, batch=4, learning_rate=0.1, schedule="constant")
    assert {learning_rate(how, step, 9) for step in range(9)} == {0.1}
    assert total_steps(how, 9, (2, 2)) == 9
    assert total_steps(how, 8, (2, 2)) == 6
    assert total_steps(replace(how, batch_of="positions"), 9, (2, 2)) == 27
    assert total_steps(replace(how, least_steps=20), 9, (2, 2)) == 20
    assert total_steps(replace(how, most_steps=5), 9, (2, 2)) == 5
    assert total_steps(StageSettings(steps=5), 9, (2, 2)) == 5


def test_epochs_visit_every_image_once_and_steps_draw_without_repeats() -> None:
    epochs = StageSettings(epochs=2, batch=4)
    drawn = [batch_of_images(epochs, 10, (0, 2), step) for step in range(6)]
    assert [len(batch) for batch in drawn] == [4, 4, 2] * 2
    first, second = np.concatenate(drawn[:3]), np.concatenate(drawn[3:])
    assert sorted(first) == sorted(second) == list(range(10))
    assert list(first) != list(second)
    steps = StageSettings(steps=5, batch=4)
    one = batch_of_images(steps, 10, (0, 2), 3)
    assert len(set(one)) == 4
    assert list(one) == list(batch_of_images(steps, 10, (0, 2), 3))
    assert list(one) != list(batch_of_images(steps, 10, (1, 2), 3))
    assert len(batch_of_images(steps, 3, (0, 2), 0)) == 3
