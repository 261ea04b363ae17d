"""What the figures are drawn from: shapes, the choice of pictures, masks or none."""

from __future__ import annotations

import csv
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image

from nfbmr.data.images import load_image
from nfbmr.data.layouts import Sample, read_data
from nfbmr.inspection.inspector import Inspector
from nfbmr.networks.source import SourceNetwork
from nfbmr.networks.weights import load_weights
from nfbmr.paper import exhibits as exhibits_module
from nfbmr.paper.exhibits import _chosen, write_exhibits
from nfbmr.paper.ledger import Key
from nfbmr.paper.plan import Request, Task
from nfbmr.paper.product import Learnt, Product
from nfbmr.runtimes.torch import TorchRuntime
from nfbmr.settings.schema import DataSettings

Arrays = dict[str, NDArray[Any]]
C, OTHER_C = 40 + 24 + 40, 208  # stages 3 and 2 of Lite0 with neighbours; stage 6 of Lite2
CATEGORIES = {"bottle": "mvtec", "Class2": "dagm"}


def read(path: Path) -> Arrays:
    with np.load(path, allow_pickle=False) as file:
        return {name: file[name] for name in file.files}


@pytest.fixture(scope="module")
def exhibits(results: Path) -> dict[str, Arrays]:
    return {
        name: read(results / "exhibits" / dataset / f"{name}.npz")
        for name, dataset in CATEGORIES.items()
    }


@pytest.mark.parametrize(("category", "side", "m"), [("bottle", 80, 8), ("Class2", 64, 16)])
def test_arrays_have_their_shapes(
    category: str, side: int, m: int, exhibits: dict[str, Arrays]
) -> None:
    found = {name: (array.shape, array.dtype.kind) for name, array in exhibits[category].items()}
    areas = {name: found.pop(name) for name in ("areas_good", "areas_defective")}
    assert {(len(shape), kind) for shape, kind in areas.values()} == {(1, "f")}
    names = {name: found.pop(name) for name in ("names", "defects", "other_name")}
    assert {name: shape for name, (shape, _) in names.items()} == {
        "names": (2,),
        "defects": (2,),
        "other_name": (),
    }
    assert found == {
        "images": ((2, side, side, 3), "u"),
        "masks": ((2, side, side), "b"),
        "heatmaps": ((2, side, side), "f"),
        "has_mask": ((2,), "b"),
        "is_defect": ((2,), "b"),
        "other": ((2, 2, 2), "f"),
        "tnf": ((2, 8, 8), "f"),
        "vectors_source": ((m, C), "f"),
        "vectors_target": ((m, C), "f"),
        "vectors_other": ((m, OTHER_C), "f"),
        "vectors_is_defect": ((m,), "b"),
    }
    for array in exhibits[category].values():
        assert array.dtype.kind != "f" or np.isfinite(array).all()


def test_each_type_of_defect_shows_its_median_picture_and_a_good_one_follows(
    exhibits: dict[str, Arrays], tasks: list[Task], results: Path
) -> None:
    for category, found in exhibits.items():
        key = Key(CATEGORIES[category], category, "nf-bmr-2", 0)
        path = results / "scores" / key.dataset / category / "nf-bmr-2-0.csv"
        with path.open(newline="", encoding="utf-8") as stream:
            rows = list(csv.DictReader(stream))
        kinds = [*sorted({row["label"] for row in rows} - {"good"}), "good"]
        assert found["defects"].tolist() == kinds
        assert found["is_defect"].tolist() == found["has_mask"].tolist() == [True, False]
        test = next(t.source.found.test for t in tasks if t.key == key)
        for place, kind in enumerate(kinds):
            own = sorted(
                (row for row in rows if row["label"] == kind), key=lambda r: float(r["score"])
            )
            chosen = Path(own[len(own) // 2]["path"])
            assert found["names"][place] == chosen.name
            size = found["images"].shape[1:3]
            np.testing.assert_array_equal(found["images"][place], load_image(chosen, size))
            assert chosen in {sample.path for sample in test}


def test_masks_and_heatmaps_lie_over_the_pictures(exhibits: dict[str, Arrays]) -> None:
    found = exhibits["bottle"]
    expected = np.zeros((80, 80), dtype=bool)
    expected[20:50, 20:50] = True
    np.testing.assert_array_equal(found["masks"][0], expected)
    assert (found["images"][0][expected] == 240).all()
    assert not found["masks"][1].any()
    heat, calm = found["heatmaps"]
    assert heat[expected].mean() > heat[~expected].mean() + calm.std()


def test_areas_are_told_apart_by_the_mask(exhibits: dict[str, Arrays]) -> None:
    """The mask goes from 20 to 50 of 80 pixels, an area is 10 wide: 3 x 3 areas of 64."""
    found = exhibits["bottle"]
    assert found["areas_defective"].shape == (4 * 9,)
    assert found["areas_good"].shape == (4 * 64 + 4 * (64 - 9),)
    ours, others = (np.median(found[f"areas_{kind}"]) for kind in ("defective", "good"))
    assert ours < others, "a defect is less likely"


# ---- cover


def test_cover_is_the_share_of_each_area_under_the_mask() -> None:
    mask = np.zeros((6, 10), np.bool_)
    mask[1:4, 2:9] = True
    fine = np.repeat(np.repeat(mask, 4, axis=0), 3, axis=1)  # so that no area cuts a pixel
    expected = fine.reshape(4, 6, 3, 10).mean(axis=(1, 3))
    np.testing.assert_allclose(exhibits_module._cover(mask, (4, 3)), expected, atol=1e-12)
    assert exhibits_module._cover(np.ones((7, 5), np.bool_), (3, 2)) == pytest.approx(1)


def samples(**kinds: int) -> tuple[list[Sample], list[float]]:
    """So many pictures of each kind, and scores that rise with their numbers."""
    every = [
        Sample(path=Path(f"{kind}{number}.png"), split="test", defect=kind)
        for kind, count in kinds.items()
        for number in range(count)
    ]
    return every, [float(i) for i in range(len(every))]


def test_the_first_five_types_are_shown_and_of_each_the_median() -> None:
    every, scores = samples(good=4, g=1, f=2, e=1, d=1, c=1, b=3, a=5)
    shown = [every[i].path.name for i in _chosen(every, scores)]
    assert shown == ["a2.png", "b1.png", "c0.png", "d0.png", "e0.png", "good2.png"]
    shown = [every[i].path.name for i in _chosen(every, scores[::-1])]
    assert shown == ["a2.png", "b1.png", "c0.png", "d0.png", "e0.png", "good1.png"]


# ---- one category, shown in other ways


@pytest.fixture(scope="module")
def learnt(
    tasks: list[Task],
    ask: Callable[..., Request],
    tmp_path_factory: pytest.TempPathFactory,
) -> Learnt:
    folder = tmp_path_factory.mktemp("shown")
    product = Product(tasks[0].source.found, "fast", folder / "work", torch.device("cpu"))
    return product.learn(ask().system("nf", 0))


@pytest.fixture
def shown(mvtec: Path, learnt: Learnt, tmp_path: Path) -> Callable[..., tuple[Arrays, Product]]:
    """Exhibits of a category whose files may have changed, with some weights."""

    def write(**weights: str) -> tuple[Arrays, Product]:
        product = Product(read_data(mvtec), "fast", tmp_path / "work", torch.device("cpu"))
        write_exhibits(product, learnt, tmp_path / "deep" / "a.npz", weights)
        return read(tmp_path / "deep" / "a.npz"), product

    return write


def features(learnt: Learnt, sample: Sample) -> tuple[NDArray[Any], NDArray[Any]]:
    """y and z of a picture, (H', W', C) each; y as it leaves SNN."""
    runtime = learnt.inspector.runtime
    assert isinstance(runtime, TorchRuntime)
    pixels = torch.from_numpy(load_image(sample.path, (64, 64))[None])
    with torch.inference_mode():
        y = runtime.detector.source(pixels).permute(0, 2, 3, 1)
        z, _ = runtime.detector.flow(runtime.detector.standardisation(y), runtime.detector.where(y))
    return y[0].numpy(), z[0].numpy()


def of_kind(product: Product, *, is_defect: bool) -> list[Sample]:
    return [sample for sample in product.test if sample.is_defect == is_defect]


def test_with_masks_a_defect_gives_the_vector_under_its_mask(
    learnt: Learnt, shown: Callable[..., tuple[Arrays, Product]]
) -> None:
    found, product = shown()
    assert found["vectors_is_defect"].tolist() == [False] * 4 + [True] * 4
    assert found["other_name"] == "tf_efficientnet_lite2"
    for number, sample in enumerate(of_kind(product, is_defect=True), start=4):
        y, z = features(learnt, sample)
        inside = y[2:5, 2:5].reshape(-1, C)  # the mask: 20 to 50 of 80 pixels, 8 cells
        distances = np.abs(inside - found["vectors_source"][number]).max(axis=1)
        place = divmod(int(distances.argmin()), 3)
        assert distances.min() < 1e-4
        np.testing.assert_allclose(
            found["vectors_target"][number], z[2:5, 2:5][place], rtol=1e-3, atol=1e-4
        )
    for number, sample in enumerate(of_kind(product, is_defect=False)):
        y, _ = features(learnt, sample)
        distances = np.abs(y - found["vectors_source"][number]).max(axis=2)
        assert distances.min() < 1e-4, "some position of the good picture"


def test_without_masks_every_picture_gives_its_mean_vector(
    learnt: Learnt, mvtec: Path, shown: Callable[..., tuple[Arrays, Product]]
) -> None:
    shutil.rmtree(mvtec / "ground_truth")
    found, product = shown()
    assert not found["has_mask"].any()
    assert not found["masks"].any()
    assert found["is_defect"].tolist() == [True, False]
    every = of_kind(product, is_defect=False) + of_kind(product, is_defect=True)
    assert found["vectors_is_defect"].tolist() == [sample.is_defect for sample in every]
    for number, sample in enumerate(every):
        y, z = (grid.mean(axis=(0, 1)) for grid in features(learnt, sample))
        np.testing.assert_allclose(found["vectors_source"][number], y, rtol=1e-3, atol=1e-4)
        np.testing.assert_allclose(found["vectors_target"][number], z, rtol=1e-3, atol=1e-4)


def test_a_defect_without_a_mask_among_others_gives_no_vector(
    mvtec: Path, shown: Callable[..., tuple[Arrays, Product]]
) -> None:
    (mvtec / "ground_truth" / "blob" / "002_mask.png").unlink()
    found, _ = shown()
    assert found["vectors_is_defect"].tolist() == [False] * 4 + [True] * 3


def likelihoods(learnt: Learnt, sample: Sample) -> NDArray[Any]:
    """log p of each area of a picture up to a constant, by eq. 8, (H', W')."""
    runtime = learnt.inspector.runtime
    assert isinstance(runtime, TorchRuntime)
    pixels = torch.from_numpy(load_image(sample.path, (64, 64))[None])
    with torch.inference_mode():
        y = runtime.detector.standardisation(runtime.detector.source(pixels).permute(0, 2, 3, 1))
        z, log_det = runtime.detector.flow(y, runtime.detector.where(y))
    return np.asarray((log_det - z.square().sum(dim=-1) / 2)[0])


def draw_mask(path: Path, box: tuple[int, int, int, int]) -> None:
    """Left, top, right, lower."""
    mask = Image.new("L", (80, 80))
    mask.paste(255, box)
    mask.save(path)


def test_areas_at_a_masks_edge_and_pictures_without_one_are_left_out(
    mvtec: Path, learnt: Learnt, shown: Callable[..., tuple[Arrays, Product]]
) -> None:
    masks = sorted((mvtec / "ground_truth" / "blob").iterdir())
    draw_mask(masks[0], (10, 10, 33, 22))  # 30 % and 20 % of the outermost areas
    draw_mask(masks[1], (10, 10, 20, 12))  # 20 % of one area
    draw_mask(masks[2], (0, 0, 0, 0))
    masks[3].unlink()
    found, product = shown()
    defects, good = of_kind(product, is_defect=True), of_kind(product, is_defect=False)
    first, second = (likelihoods(learnt, sample) for sample in defects[:2])
    touched = np.zeros((2, 8, 8), np.bool_)
    touched[0, 1:3, 1:4] = True
    touched[1, 1, 1] = True
    clear = [likelihoods(learnt, sample).ravel() for sample in good]
    clear += [first[~touched[0]], second[~touched[1]]]
    expected = np.sort(np.concatenate(clear))
    np.testing.assert_allclose(np.sort(found["areas_good"]), expected, rtol=1e-3)
    np.testing.assert_allclose(found["areas_defective"], first[1, 1:4], rtol=1e-3)


def test_without_masks_no_area_is_defective(
    mvtec: Path, shown: Callable[..., tuple[Arrays, Product]]
) -> None:
    shutil.rmtree(mvtec / "ground_truth")
    found, _ = shown()
    assert found["areas_defective"].shape == (0,)
    assert found["areas_good"].shape == (4 * 64,)


def test_of_many_areas_some_are_drawn_and_the_same_ones_each_time(
    shown: Callable[..., tuple[Arrays, Product]], monkeypatch: pytest.MonkeyPatch
) -> None:
    every, _ = shown()
    monkeypatch.setattr(exhibits_module, "_AREAS", 30)
    some, again = shown()[0], shown()[0]
    for kind in ("areas_good", "areas_defective"):
        assert len(some[kind]) == 30
        np.testing.assert_array_equal(some[kind], again[kind])
        assert set(some[kind]) <= set(every[kind])


def test_responses_are_half_the_squared_norm_each_on_its_own_grid(
    learnt: Learnt, shown: Callable[..., tuple[Arrays, Product]]
) -> None:
    found, product = shown()
    other = SourceNetwork("tf_efficientnet_lite2", (6,))
    load_weights(other, "embedded")
    for place, name in enumerate(found["names"]):
        (sample,) = (
            s
            for s in product.test
            if s.path.name == name and s.is_defect == found["is_defect"][place]
        )
        f = other(torch.from_numpy(load_image(sample.path, (64, 64))[None]))[0].permute(1, 2, 0)
        z = features(learnt, sample)[1]
        for shown_map, vectors in ((found["other"], f.numpy()), (found["tnf"], z)):
            expected = (vectors.astype(np.float64) ** 2).sum(axis=-1) / 2
            assert shown_map[place].shape == expected.shape
            np.testing.assert_allclose(shown_map[place], expected, rtol=1e-2)


def test_pictures_are_read_as_the_model_reads_them(
    learnt: Learnt, mvtec: Path, shown: Callable[..., tuple[Arrays, Product]]
) -> None:
    """Where 12 bits lie in 16, thumbnails and the other network see what white makes of them."""
    pictures = {
        path: load_image(path, (80, 80))[..., 0] for path in (mvtec / "test").rglob("*.png")
    }
    for path, levels in pictures.items():
        Image.fromarray(levels).save(path)
    eight, product = shown()
    for path, levels in pictures.items():
        Image.fromarray(16 * levels.astype(np.uint16)).save(path)
    inspector = learnt.inspector
    settings = replace(inspector.settings, data=DataSettings(white=16 * 255))
    bundle = replace(inspector._bundle, settings=settings)
    deep = replace(learnt, inspector=Inspector(bundle, inspector.runtime))
    path = product.work / "deep.npz"
    write_exhibits(product, deep, path, {})
    found = read(path)
    for name in ("images", "other", "vectors_source", "vectors_other"):
        np.testing.assert_array_equal(found[name], eight[name])


def test_without_the_other_networks_weights_what_is_of_it_is_left_out(
    shown: Callable[..., tuple[Arrays, Product]], caplog: pytest.LogCaptureFixture
) -> None:
    found, _ = shown(tf_efficientnet_lite2="/nowhere/absent.pth")
    assert found["vectors_other"].shape == (8, 0)
    assert found["other"].shape == (2, 0, 0)
    assert "Figs. 2b and 7 lack tf_efficientnet_lite2" in caplog.text
    assert found["vectors_source"].shape == (8, C)


def test_the_other_network_takes_random_weights_as_snn_does(
    shown: Callable[..., tuple[Arrays, Product]],
) -> None:
    embedded, _ = shown()
    random, _ = shown(**{"": "random"})
    for name in ("vectors_other", "other"):
        assert not np.allclose(embedded[name], random[name])
    named, _ = shown(**{"": "random", "tf_efficientnet_lite2": "embedded"})
    np.testing.assert_array_equal(named["vectors_other"], embedded["vectors_other"])
