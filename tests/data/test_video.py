"""Frames of a video, in RGB and in order."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from nfbmr.data.video import frames, named
from nfbmr.errors import DataError, MissingExtraError

LEVELS = (10, 60, 110, 160, 210)


@pytest.fixture
def video(tmp_path: Path) -> Path:
    cv2 = pytest.importorskip("cv2", reason="OpenCV is not installed")
    path = tmp_path / "line.avi"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"MJPG"), 10, (64, 48))
    for level in LEVELS:
        frame = np.zeros((48, 64, 3), np.uint8)
        frame[..., 2] = level  # red, in OpenCV's order
        writer.write(frame)
    writer.release()
    return path


@pytest.mark.parametrize("every", [1, 2])
def test_frames_come_in_order_and_in_rgb(video: Path, every: int) -> None:
    found = list(frames(video, every=every))
    assert [frame.shape for frame in found] == [(48, 64, 3)] * len(LEVELS[::every])
    for frame, level in zip(found, LEVELS[::every], strict=True):
        assert frame.dtype == np.uint8
        assert frame.flags.c_contiguous
        assert abs(float(frame[..., 0].mean()) - level) < 6
        assert float(frame[..., 1:].mean()) < 6


def test_a_file_that_is_no_video_is_refused(tmp_path: Path) -> None:
    pytest.importorskip("cv2", reason="OpenCV is not installed")
    (tmp_path / "no.avi").write_bytes(b"no video")
    with pytest.raises(DataError, match=r"no\.avi cannot be opened as a video"):
        list(frames(tmp_path / "no.avi"))


def test_without_opencv_it_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "cv2", None)
    with pytest.raises(MissingExtraError, match=r"pip install -e .\.\[video\]"):
        next(frames(0))


# ---- cameras and streams, without hardware


def camera(
    monkeypatch: pytest.MonkeyPatch, shown: list[NDArray[Any] | None], *, opens: bool = True
) -> list[str]:
    """Lets OpenCV give these frames, None for one that cannot be decoded; hears what is called."""
    cv2 = pytest.importorskip("cv2", reason="OpenCV is not installed")
    heard: list[str] = []
    waiting = iter(shown)

    class Capture:
        def __init__(self, source: object) -> None:
            self.frame: NDArray[Any] | None = None
            heard.append(str(source))

        def isOpened(self) -> bool:  # noqa: N802, as OpenCV calls it
            return opens

        def grab(self) -> bool:
            try:
                self.frame = next(waiting)
            except StopIteration:
                return False
            return True

        def retrieve(self) -> tuple[bool, NDArray[Any] | None]:
            return self.frame is not None, self.frame

        def release(self) -> None:
            heard.append("released")

    monkeypatch.setattr(cv2, "VideoCapture", Capture)
    return heard


@pytest.mark.parametrize(
    ("address", "shown"),
    [
        ("rtsp://h", "rtsp://h"),
        ("rtsp://h:554/", "rtsp://h:554/"),
        (
            "rtsp://192.168.1.10:554/user=admin&password=hidden&channel=1",
            "rtsp://192.168.1.10:554/...",
        ),
        ("rtsp://h?user=hidden", "rtsp://h/..."),
        ("srt://h:9#hidden", "srt://h:9/..."),
        ("rtsp://u:hidden@[fe80::1]:554/x", "rtsp://[fe80::1]:554/..."),
        ("rtsp://u:hid@den@h/x", "rtsp://h/..."),
        ("rtsp://u:hid/den@h/x", "rtsp://..."),
        ("rtsp://u:hid?den@h/x", "rtsp://..."),
        ("rtsp://u:hidden", "rtsp://..."),
        ("rtsp://u:hid ! den@h/x", "rtsp://h/..."),
        ("rtsp://h/x\nhidden", "rtsp://h/..."),
        (
            "rtspsrc location=rtsp://h user-id=a user-pw=hidden ! decodebin ! appsink",
            "rtspsrc !...",
        ),
        ("rtspsrc location=rtsp://u:hidden@h/x", "rtspsrc !..."),
        ("location=hidden ! appsink", "!..."),
        ("v4l2src device=/dev/video0 ! appsink", "v4l2src !..."),
    ],
)
def test_of_a_stream_nothing_is_shown_that_may_be_a_secret(address: str, shown: str) -> None:
    assert named(address) == (shown, True)
    assert "hid" not in named(address)[0]


@pytest.mark.parametrize("path", ["a?b.avi", "x/me@home.avi", "file:///data/line.avi"])
def test_a_file_is_shown_whole(path: str) -> None:
    assert named(path) == (path, False)


BGR = np.arange(24, dtype=np.uint8).reshape(2, 4, 3)


@pytest.mark.parametrize(
    ("source", "what"),
    [
        (0, "camera 0"),
        (3, "camera 3"),
        ("rtsp://10.0.0.7/line", "rtsp://10.0.0.7/..."),
        ("http://me:secret@cam/mjpeg", "http://cam/..."),
        ("/dev/video2", "/dev/video2"),
    ],
)
def test_a_camera_or_stream_that_stops_is_an_error(
    monkeypatch: pytest.MonkeyPatch, source: str | int, what: str
) -> None:
    heard = camera(monkeypatch, [BGR] * 3)
    found: list[NDArray[np.uint8]] = []
    with pytest.raises(DataError, match=f"^{what} stopped after 3 frames.*cable and network"):
        found.extend(frames(source))
    assert len(found) == 3
    assert heard == [str(source), "released"]


def test_a_file_that_ends_is_an_end(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    camera(monkeypatch, [BGR] * 3)
    assert len(list(frames(tmp_path / "line.avi"))) == 3
    camera(monkeypatch, [BGR] * 3)
    assert len(list(frames("file:///data/line.avi"))) == 3


@pytest.mark.parametrize("source", [0, "line.avi", "http://camera/mjpeg"])
def test_what_gives_nothing_is_an_error(monkeypatch: pytest.MonkeyPatch, source: str | int) -> None:
    camera(monkeypatch, [])
    with pytest.raises(DataError, match="gives no frames"):
        list(frames(source))
    camera(monkeypatch, [], opens=False)
    with pytest.raises(DataError, match="cannot be opened"):
        list(frames(source))


def test_leaving_early_is_no_error_and_gives_the_camera_back(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    heard = camera(monkeypatch, [BGR] * 3)
    stream = frames(0)
    next(stream)
    stream.close()  # type: ignore[attr-defined]
    assert heard == ["0", "released"]


MONO = np.arange(12, dtype=np.uint8).reshape(3, 4)


@pytest.mark.parametrize(
    ("frame", "expected"),
    [
        (MONO, np.repeat(MONO[..., None], 3, axis=2)),
        (MONO[..., None], np.repeat(MONO[..., None], 3, axis=2)),
        (BGR, BGR[..., ::-1]),
        (np.dstack([BGR, np.full((2, 4), 9, np.uint8)]), BGR[..., ::-1]),
    ],
    ids=["mono", "mono with an axis", "BGR", "BGRA"],
)
def test_every_form_becomes_rgb(
    monkeypatch: pytest.MonkeyPatch, frame: NDArray[np.uint8], expected: NDArray[np.uint8]
) -> None:
    camera(monkeypatch, [frame])
    (found,) = frames("line.avi")
    np.testing.assert_array_equal(found, expected)
    assert found.flags.c_contiguous
    assert found.dtype == np.uint8


@pytest.mark.parametrize("frame", [MONO.astype(np.uint16), BGR[..., :2], BGR[None, None]])
def test_other_forms_are_refused(monkeypatch: pytest.MonkeyPatch, frame: NDArray[Any]) -> None:
    camera(monkeypatch, [frame])
    with pytest.raises(
        DataError, match=r"line\.avi: found a frame of .*expected gray, BGR or BGRA"
    ):
        list(frames("line.avi"))


def test_frames_that_cannot_be_decoded_are_counted_and_said(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    camera(monkeypatch, [BGR, None, BGR, None, None])
    assert len(list(frames("line.avi"))) == 2
    assert [record.getMessage() for record in caplog.records] == [
        "line.avi: frame 1 cannot be decoded, left out",
        "line.avi: 3 frames could not be decoded and were left out",
    ]
    caplog.clear()
    camera(monkeypatch, [BGR, None, BGR, None])
    assert len(list(frames("line.avi", every=2))) == 2
    assert not caplog.records, "what nobody asked for is not decoded"


def test_a_file_of_which_no_frame_can_be_decoded_is_an_error(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    camera(monkeypatch, [None] * 5)
    with pytest.raises(DataError, match="no frame that can be decoded among 3"):
        list(frames("line.avi", every=2))
