"""One product: learnt, tested, and what its state says when something goes wrong."""

from __future__ import annotations

import logging
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from nfbmr.errors import TrainingError
from nfbmr.fleet import product as products
from nfbmr.fleet.place import Marks, Place, State
from nfbmr.fleet.plan import Product, Resources
from nfbmr.fleet.product import Order, fit_product
from nfbmr.learning.crew import HERE
from nfbmr.model.bundle import read_bundle
from nfbmr.settings.schema import Settings
from nfbmr.system.locks import locked_file


@pytest.fixture
def order(mvtec: Path, tiny: Settings, tmp_path: Path) -> Order:
    product = Product(
        name="widget",
        data=mvtec,
        test=mvtec,
        ignore=None,
        settings=tiny,
        resources=Resources(),
    )
    return Order(product=product, models=tmp_path / "models", own_features=True)


@pytest.fixture
def place(order: Order) -> Place:
    found = Place(order.models)
    marks = Marks(settings={}, pictures=16, learnt="a", tests=8, tested="b")
    found.write(State(product="widget", marks=marks))
    return found


def test_an_order_comes_back_from_its_file(order: Order, tmp_path: Path) -> None:
    given = replace(order, product=replace(order.product, ignore=tmp_path / "mask.png"))
    given.write(tmp_path / "order.json")
    assert Order.read(tmp_path / "order.json") == given


def test_a_product_ends_with_a_model_figures_and_what_it_said(
    order: Order, place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    heard: list[tuple[str, str]] = []
    original = Place.write

    def write(self: Place, state: State) -> State:
        heard.append((state.status, state.what))
        return original(self, state)

    monkeypatch.setattr(Place, "write", write)
    state = fit_product(order)
    assert place.read("widget") == state
    assert (state.status, state.attempts, state.error) == ("done", 1, "")
    assert state.fitted == read_bundle(place.model("widget")).identity.config
    assert state.marks is not None, "what the model rests on stays"
    assert (state.figures["n_train"], state.figures["n_held_out"]) == (11, 5)
    assert (state.figures["n_good"], state.figures["n_defective"]) == (4, 4)
    assert state.figures["image_auroc"] > 0.9
    assert (place.evaluation("widget") / "report.html").is_file()
    assert {"survey", "features", "flow", "mapping", "inspect"} <= {what for _, what in heard}
    assert not (place.folder("widget") / "features").exists(), "its features go with its fit"
    log = (place.folder("widget") / "log.txt").read_text("utf-8")
    assert "16 good to learn from" in log
    assert all(warning in log for warning in state.warnings)
    assert not any(
        isinstance(handler, logging.FileHandler) for handler in logging.getLogger("nfbmr").handlers
    )


def test_a_model_that_stands_is_not_learnt_again_where_its_test_was_broken_off(
    order: Order, place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: Any, **__: Any) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(products, "evaluate", broken)
        state = fit_product(order)
    assert state.status == "failed"
    assert "No space left on device" in state.error
    monkeypatch.setattr(products, "fit", None)
    left = place.folder("widget") / "features"
    left.mkdir()  # as a kill right behind the fit leaves them
    again = fit_product(order)
    assert not left.exists()
    assert (again.status, again.attempts) == ("done", 2)
    assert again.seconds > state.seconds
    assert set(state.warnings) <= set(again.warnings), "what its fit said is kept"


def test_a_product_that_cannot_be_learnt_says_why(order: Order, place: Place) -> None:
    for path in sorted((order.product.data / "train" / "good").iterdir())[9:]:
        path.unlink()
    state = fit_product(order)
    assert (state.status, state.fitted) == ("failed", "")
    assert "9 good pictures to learn from" in state.error
    assert not place.model("widget").exists()


def test_without_a_test_set_there_are_no_figures_of_one(
    order: Order, place: Place, good_folder: Path
) -> None:
    product = replace(order.product, data=good_folder, test=good_folder)
    state = fit_product(replace(order, product=product))
    assert state.status == "done"
    assert "image_auroc" not in state.figures
    assert not place.evaluation("widget").exists()


def test_who_is_asked_to_stop_says_so(
    order: Order, place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stopped(*_: Any, **__: Any) -> None:
        raise SystemExit(143)

    monkeypatch.setattr(products, "fit", stopped)
    with pytest.raises(SystemExit):
        fit_product(order)
    state = place.read("widget")
    assert state is not None
    assert state.status == "stopped"


def test_helpers_do_the_large_parts(order: Order, place: Place) -> None:
    called: list[str] = []

    class Helping:
        def build_features(self, *args: Any, **words: Any) -> Any:
            called.append("features")
            return HERE.build_features(*args, **words)

        def train(self, *args: Any, **words: Any) -> Any:
            called.append("train")
            raise TrainingError("a worker is lost")

    state = fit_product(order, Helping())
    assert called == ["features", "train"]
    assert (state.status, state.error) == ("failed", "a worker is lost")


def test_the_process_ends_with_its_parent_and_holds_the_product(
    order: Order, place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    order.write(tmp_path / "order.json")
    done: list[Order] = []
    ends: list[int] = []

    def fitted(given: Order) -> None:
        with locked_file(place.folder("widget") / "lock") as free:
            assert not free
        done.append(given)

    monkeypatch.setattr(products, "fit_product", fitted)
    monkeypatch.setattr(products, "end_with", ends.append)
    monkeypatch.setattr("signal.signal", lambda *_: None)
    monkeypatch.setattr(logging.getLogger("nfbmr"), "propagate", True)
    monkeypatch.setattr("sys.argv", ["product", str(tmp_path / "order.json"), "7"])
    products.main()
    assert (done, ends) == ([order], [7])
