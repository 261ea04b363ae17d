"""A stage: the rate of each step, how many steps there are, and a loop that is cut short."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from nfbmr.learning.stage import Optimiser, Stage, batch_of_images, learning_rate, total_steps
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


# ---- the loop


def stage_of(network: torch.nn.Module, steps: int) -> Stage:
    """Learns numbers to be 1."""
    return Stage(
        name="small",
        key="k",
        how=StageSettings(steps=steps, learning_rate=0.1),
        setting="stage_one",
        steps=steps,
        seed=0,
        network=network,
        state=network,
        batch=lambda step: (torch.full((4, 3), 1.0 + step),),
        loss=lambda x: (network(x) - 1).square().mean(),
    )


def linear() -> torch.nn.Module:
    network = torch.nn.Linear(3, 3)
    torch.nn.init.eye_(network.weight)
    torch.nn.init.zeros_(network.bias)
    return network


def optimiser(
    work: Path,
    stop_at: int | None = None,
    every: float = 0,
    end: type[BaseException] = KeyboardInterrupt,
) -> Optimiser:
    def hear(what: str, done: int, total: int, loss: float | None = None) -> None:
        if done == stop_at:
            raise end

    return Optimiser(work=work, device=torch.device("cpu"), progress=hear, checkpoint_seconds=every)


def test_a_finished_stage_is_neither_trained_nor_saved_again(tmp_path: Path) -> None:
    trained = linear()
    position = optimiser(tmp_path).run(stage_of(trained, 5))
    assert (position.step, trained.training) == (5, False)
    (file,) = tmp_path.iterdir()
    before = file.stat().st_mtime_ns, file.read_bytes()
    assert b"adam" not in before[1]
    again = linear()
    runs, stage = optimiser(tmp_path, stop_at=1), stage_of(again, 5)
    at = runs.restore(stage)
    assert at is not None
    assert runs.run(stage, at) == position
    assert not again.training
    assert (file.stat().st_mtime_ns, file.read_bytes()) == before
    for one, other in zip(trained.parameters(), again.parameters(), strict=True):
        assert torch.equal(one, other)


def test_ctrl_c_after_a_step_keeps_the_step_and_the_time_adds_up(tmp_path: Path) -> None:
    seconds = [0.0]
    for stop in (2, 4, 5):
        runs, stage = optimiser(tmp_path, stop, every=math.inf), stage_of(linear(), 5)
        at = runs.restore(stage)
        with pytest.raises(KeyboardInterrupt):
            runs.run(stage, at)
        at = runs.restore(stage)
        assert at is not None
        assert at[0].step == stop
        assert at[0].seconds > seconds[-1]
        seconds.append(at[0].seconds)
        assert sorted(at[1]) == sorted(
            f"adam.{part}.{name}"
            for part in ("step", "exp_avg", "exp_avg_sq")
            for name in ("weight", "bias")
        )
    undisturbed, resumed = linear(), linear()
    optimiser(tmp_path / "other").run(stage_of(undisturbed, 5))
    runs, stage = optimiser(tmp_path), stage_of(resumed, 5)
    position = runs.run(stage, runs.restore(stage))
    assert (position.step, position.seconds) == (5, seconds[-1]), "nothing was left to do"
    for one, other in zip(undisturbed.parameters(), resumed.parameters(), strict=True):
        assert torch.equal(one, other)
    assert runs.restore(stage) == (position, {})


def test_ctrl_c_within_a_step_keeps_the_step_before(tmp_path: Path) -> None:
    network = linear()
    stage = stage_of(network, 5)

    def loss(x: torch.Tensor) -> torch.Tensor:
        if x[0, 0] == 4:
            raise KeyboardInterrupt
        return stage.loss(x)

    with pytest.raises(KeyboardInterrupt):
        optimiser(tmp_path, every=math.inf).run(replace(stage, loss=loss))
    assert list(tmp_path.iterdir()) == [], "no checkpoint was due, and none of half a step is kept"
    with pytest.raises(KeyboardInterrupt):
        optimiser(tmp_path, every=0).run(replace(stage, loss=loss))
    at = optimiser(tmp_path).restore(stage)
    assert at is not None
    assert at[0].step == 3


def test_a_service_managers_stop_keeps_the_step_too(tmp_path: Path) -> None:
    with pytest.raises(SystemExit):
        optimiser(tmp_path, 3, every=math.inf, end=SystemExit).run(stage_of(linear(), 5))
    at = optimiser(tmp_path).restore(stage_of(linear(), 5))
    assert at is not None
    assert at[0].step == 3


def test_saving_in_the_background_changes_no_bit(tmp_path: Path) -> None:
    always, never = linear(), linear()
    optimiser(tmp_path / "always", every=0).run(stage_of(always, 40))
    optimiser(tmp_path / "never", every=math.inf).run(stage_of(never, 40))
    for one, other in zip(always.parameters(), never.parameters(), strict=True):
        assert torch.equal(one, other)
