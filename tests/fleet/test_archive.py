"""On Ray every picture gets one row, whatever is killed when; what differs is said before."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from nfbmr.benchmark.ray_nodes import Cluster, Node, Place
from nfbmr.errors import BundleError, FleetError
from nfbmr.fleet import workers
from nfbmr.fleet.archive import Options, judge_archive
from nfbmr.fleet.scorer import Scorer

if TYPE_CHECKING:
    from nfbmr.inspection.inspector import Inspector

pytestmark = pytest.mark.fleet

Command = Callable[..., "subprocess.Popen[str]"]

_COUNT = 40


@pytest.fixture(scope="module")
def pictures(
    tmp_path_factory: pytest.TempPathFactory, draw: Callable[..., NDArray[np.uint8]]
) -> Path:
    """Pictures, every fourth with a defect, and one that is none."""
    folder = tmp_path_factory.mktemp("archive")
    for number in range(_COUNT):
        image = Image.fromarray(draw(500 + number, defect=number % 4 == 0))
        image.save(folder / f"{number:03d}.png")
    (folder / "broken.png").write_bytes(b"no picture")
    return folder


def rows_of(out: Path) -> list[dict[str, Any]]:
    from pyarrow import parquet

    found: list[dict[str, Any]] = parquet.read_table(out).to_pylist()
    return found


def assert_each_once(out: Path, pictures: Path) -> None:
    paths = Counter(row["path"] for row in rows_of(out))
    assert paths == Counter(str(path) for path in pictures.iterdir())


def options(cluster: Cluster, **changes: Any) -> Options:
    usual: dict[str, Any] = {"address": cluster.address, "runtime": "onnx", "per_part": 5}
    return Options(**(usual | changes))


def test_an_archive_is_judged_as_inspect_does_and_a_bad_picture_is_a_row(
    cluster: Cluster,
    light: Path,
    pictures: Path,
    tmp_path: Path,
    command: Command,
    judge: Inspector,
) -> None:
    out = tmp_path / "out"
    words = (
        light,
        pictures,
        "-o",
        out,
        "--engine",
        "ray",
        "--address",
        cluster.address,
        "--runtime",
        "onnx",
    )
    process = command("inspect", *words, "--part", 8, "--heatmaps", "--exit-code")
    said, _ = process.communicate()
    assert process.returncode == 3, said  # one is unreadable
    assert_each_once(out, pictures)
    rows = {row["path"]: row for row in rows_of(out)}
    assert [row["path"] for row in rows.values() if row["error"]] == [str(pictures / "broken.png")]
    readable = sorted(pictures.glob("0*.png"))
    for path, one in zip(readable, judge.inspect_many(readable), strict=True):
        assert rows[str(path)]["score"] == pytest.approx(getattr(one, "score", None), rel=1e-3)
        assert rows[str(path)]["bundle"] == rows[str(readable[0])]["bundle"]
    drawn = {path.stem.partition("_")[2] for path in out.glob("_heatmaps/*/*.png")}
    assert drawn == {Path(p).stem for p, row in rows.items() if row["verdict"] == "defect"}
    assert f"{_COUNT + 1} pictures" in said


def test_a_driver_that_is_killed_goes_on(
    cluster: Cluster, light: Path, pictures: Path, tmp_path: Path, command: Command
) -> None:
    out = tmp_path / "out"
    words = (
        light,
        pictures,
        "-o",
        out,
        "--engine",
        "ray",
        "--address",
        cluster.address,
        "--runtime",
        "onnx",
    )
    process = command("inspect", *words, "--part", 2)
    while not list(out.glob("part-*.parquet")):
        assert process.poll() is None, process.communicate()[0]
        time.sleep(0.05)
    process.kill()
    process.communicate()
    before = {path: path.stat().st_mtime_ns for path in out.glob("part-*.parquet")}
    assert before
    process = command("inspect", *words, "--part", 2)
    said, _ = process.communicate()
    assert process.returncode == 0, said
    assert_each_once(out, pictures)
    kept = [path for path, at in before.items() if path.stat().st_mtime_ns == at]
    assert kept  # what was finished is not judged again


def test_workers_that_are_killed_cost_no_picture(
    cluster: Cluster, light: Path, pictures: Path, tmp_path: Path
) -> None:
    killed: list[int] = []

    def hear(what: str, done: int, total: int, loss: float | None = None) -> None:
        workers = cluster.workers()
        if done and workers and len(killed) < 3:
            killed.append(workers[-1])
            os.kill(workers[-1], signal.SIGKILL)

    judged = judge_archive(light, [str(pictures)], tmp_path / "out", options(cluster), hear)
    assert len(killed) == 3
    assert_each_once(tmp_path / "out", pictures)
    assert judged.counts.total() == judged.pictures == _COUNT + 1
    assert judged.counts["unreadable"] == 1


def test_a_picture_that_workers_die_of_is_a_row_and_the_others_are_judged(
    cluster: Cluster, light: Path, pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Fragile(Scorer):
        def ready(self) -> str:
            from nfbmr.fleet import scorer

            read = scorer._read

            def deadly(picture: str) -> str | bytes:
                if picture.endswith("007.png"):
                    os._exit(1)
                return read(picture)

            scorer._read = deadly
            return super().ready()

    monkeypatch.setattr(workers, "Scorer", Fragile)
    judged = judge_archive(light, [str(pictures)], tmp_path / "out", options(cluster, workers=1))
    errors = {row["path"]: row["error"] for row in rows_of(tmp_path / "out") if row["error"]}
    assert set(errors) == {str(pictures / "007.png"), str(pictures / "broken.png")}
    assert "died" in errors[str(pictures / "007.png")]
    assert judged.counts["unreadable"] == 2


def test_a_model_that_cannot_be_opened_is_said_as_without_ray(
    cluster: Cluster, light: Path, pictures: Path, tmp_path: Path
) -> None:
    broken = Path(shutil.copytree(light, tmp_path / "broken"))
    (broken / "model.onnx").write_bytes((broken / "model.onnx").read_bytes()[:-1])
    with pytest.raises(BundleError, match=r"model\.onnx"):
        judge_archive(broken, [str(pictures)], tmp_path / "out", options(cluster))


def test_pictures_of_an_object_store_are_judged(
    cluster: Cluster, s3: str, light: Path, pictures: Path, tmp_path: Path
) -> None:
    from pyarrow import fs

    store, _ = fs.FileSystem.from_uri("s3://parts")
    for path in [*sorted(pictures.iterdir())[:6], pictures / "broken.png"]:
        for folder in ("line", "line/night"):
            with store.open_output_stream(f"parts/{folder}/{path.name}") as stream:
                stream.write(path.read_bytes())
    listed = "path,lot\nline/003.png,1\ns3://parts/line/absent.png,1\n"
    with store.open_output_stream("parts/list.csv") as stream:
        stream.write(listed.encode())
    sources = ["s3://parts/list.csv", "s3://parts/line/night", "s3://parts/line/00[12].png"]
    judge_archive(light, sources, tmp_path / "out", options(cluster))
    rows = {row["path"].removeprefix("s3://parts/line/"): row for row in rows_of(tmp_path / "out")}
    names = [*(f"{number:03d}.png" for number in range(6)), "broken.png"]
    night = {f"night/{name}" for name in names}
    assert set(rows) == night | {"003.png", "absent.png", "001.png", "002.png"}
    assert {name for name, row in rows.items() if row["error"]} == {
        "absent.png",
        "night/broken.png",
    }
    assert rows["001.png"]["score"] == pytest.approx(rows["night/001.png"]["score"], rel=1e-3)


def test_a_node_that_is_killed_costs_no_picture(
    cluster: Cluster, light: Path, pictures: Path, tmp_path: Path
) -> None:
    second, third = cluster.add(1), cluster.add(1)
    killed: list[Node] = []

    def hear(what: str, done: int, total: int, loss: float | None = None) -> None:
        if done and not killed and third.workers():
            killed.append(third)
            third.kill()

    try:
        judged = judge_archive(
            light, [str(pictures)], tmp_path / "out", options(cluster, per_part=2), hear
        )
    finally:
        second.kill()
    assert killed
    assert judged.counts.total() == _COUNT + 1
    assert_each_once(tmp_path / "out", pictures)


def test_a_node_with_another_version_is_refused(
    cluster: Cluster, light: Path, pictures: Path, tmp_path: Path
) -> None:
    said = tmp_path / "nfbmr-9.9.9.dist-info"
    said.mkdir()
    (said / "METADATA").write_text("Metadata-Version: 2.1\nName: nfbmr\nVersion: 9.9.9\n")
    node = cluster.add(1, PYTHONPATH=f"{tmp_path}:{cluster.env['PYTHONPATH']}")
    try:
        with pytest.raises(FleetError, match=r"has nfbmr 9\.9\.9, this machine 0"):
            judge_archive(light, [str(pictures)], tmp_path / "out", options(cluster))
    finally:
        node.kill()


@pytest.mark.parametrize("hidden", ["pictures", "model"])
def test_a_node_that_does_not_see_what_it_needs_is_refused(
    cluster: Cluster, light: Path, pictures: Path, tmp_path: Path, hidden: str
) -> None:
    place = {"pictures": pictures, "model": light}[hidden]
    hide = ("unshare", "-m", "sh", "-c", f"mount -t tmpfs none '{place}' && exec \"$@\"", "sh")
    if shutil.which("unshare") is None or subprocess.run([*hide, "true"], check=False).returncode:
        pytest.skip("a process cannot have mounts of its own here")
    node = cluster.add(1, Place(before=hide))
    said = {"pictures": "does not see .*storage that all nodes share", "model": "the model"}
    try:
        with pytest.raises(FleetError, match=said[hidden]):
            judge_archive(light, [str(pictures)], tmp_path / "out", options(cluster))
    finally:
        node.kill()
