"""Plans: what a file or a folder says is to be learnt, and what is refused."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

from nfbmr.errors import DataError, SettingsError
from nfbmr.fleet.plan import FleetPlan, Resources, read_plan

PLAN = """
preset = "accurate"
cpus = 2
memory_gb = 3

[base]
examples = 0
flow = { hidden = 64 }

[products]
bottle = "data/bottle"

[products.cable]
data = "/elsewhere/cable"
test = "labelled/cable"
ignore = "masks/cable.png"
preset = "fast"
cpus = 4
workers = 3
set = { seed = 5, flow = { blocks = 2 } }
"""


def plan_of(folder: Path, text: str) -> FleetPlan:
    path = folder / "plan.toml"
    path.write_text(text)
    return read_plan(path)


def test_a_file_gives_each_product_its_own_words_over_those_of_all(tmp_path: Path) -> None:
    bottle, cable = plan_of(tmp_path, PLAN).products
    assert (bottle.name, bottle.data, bottle.test) == (
        "bottle",
        tmp_path / "data/bottle",
        tmp_path / "data/bottle",
    )
    assert bottle.resources == Resources(cpus=2, memory_gb=3)
    assert (bottle.settings.preset, bottle.settings.flow.hidden) == ("accurate", 64)
    assert bottle.ignore is None
    assert (cable.data, cable.test) == (Path("/elsewhere/cable"), tmp_path / "labelled/cable")
    assert cable.ignore == tmp_path / "masks/cable.png"
    assert cable.resources == Resources(cpus=4, memory_gb=3, workers=3)
    assert (cable.settings.preset, cable.settings.seed) == ("fast", 5)
    assert (cable.settings.flow.hidden, cable.settings.flow.blocks) == (64, 2)
    assert cable.settings.examples == 0


def test_words_of_the_command_stand_below_those_of_the_file(tmp_path: Path) -> None:
    path = tmp_path / "plan.toml"
    path.write_text('cpus = 2\n[products]\na = "a"\n')
    (product,) = read_plan(path, {"cpus": 8, "gpus": 1.0, "preset": None}).products
    assert product.resources == Resources(cpus=2, gpus=1.0)
    assert product.device == "cuda"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "products"),
        ('[products]\na = "a"\n[more]\n', "more"),
        ('[products.a]\ndata = "a"\nseed = 1\n', "seed"),
        ('[products.a]\ntest = "a"\n', "data"),
        ('cpus = 0\n[products]\na = "a"\n', "cpus 0"),
        ('gpus = 0.5\nworkers = 2\n[products]\na = "a"\n', "a share of a GPU is for one worker"),
        ('[products]\n"../a" = "a"\n', "its model is a folder of this name"),
        ('[products]\n".a" = "a"\n', "its model is a folder of this name"),
        ('[products]\nLock = "a"\n', "not 'lock'"),
        (
            'workers = 2\n[base]\nmapping.kind = "b-pfm"\n[products]\na = "a"\n',
            "product 'a': .*batch-norm looks at a whole batch",
        ),
        ('[base]\nflow = { hiden = 1 }\n[products]\na = "a"\n', "did you mean"),
        ('preset = "quick"\n[products]\na = "a"\n', "preset 'quick' is unknown"),
    ],
)
def test_what_a_file_may_not_say_is_named(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(SettingsError, match=said) as raised:
        plan_of(tmp_path, text)
    assert str(tmp_path / "plan.toml") in str(raised.value)


def test_a_file_that_is_none_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"expected a TOML file with \[products\]"):
        plan_of(tmp_path, "[products")
    with pytest.raises(DataError, match="cannot be read as a plan"):
        read_plan(tmp_path / "absent.toml")


def test_a_folder_gives_its_categories_and_its_plain_folders(
    tmp_path: Path, mvtec_tree: Callable[..., Path]
) -> None:
    mvtec_tree(tmp_path / "root", categories=("bottle", "zip"))
    plain = tmp_path / "root" / "screws" / "line 2"
    plain.mkdir(parents=True)
    Image.new("L", (8, 8)).save(plain / "1.png")
    (tmp_path / "root" / "notes").mkdir()
    (tmp_path / "root" / "notes" / "read.txt").write_text("nothing")
    found = {product.name: product for product in read_plan(tmp_path / "root").products}
    assert set(found) == {"bottle", "zip", "screws"}
    assert found["bottle"].data == tmp_path / "root" / "bottle"
    assert found["screws"].settings.preset == "fast"


def test_a_folder_without_products_is_refused(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="found no product in it"):
        read_plan(tmp_path)
