"""The README's picture of a page: `python -m nfbmr.benchmark.station_picture MODEL OUT PICTURE...`.

A station judges the pictures in their order; what its page *Line* then shows in Chromium, the last
of them large, is written as a PNG of few colours.
"""

from __future__ import annotations

import argparse
import io
import tempfile
from collections.abc import Sequence
from pathlib import Path

from PIL import Image

from nfbmr.benchmark.served import Client, served

CHROMIUM = Path("/usr/bin/chromium")
"""Where Debian has it."""

_SIZE = (1280, 1030)
_COLOURS = 256
_MILLISECONDS = 120_000  # for the page to be there


def draw(model: Path, pictures: Sequence[Path], out: Path) -> None:
    """Writes the page as a PNG.

    Args:
        model: a model directory; its folder's name is on the page.
        pictures: files, the last one is shown large; parts are called by their places.
        out: the PNG.

    Raises:
        RuntimeError: the station did not start.
    """
    with tempfile.TemporaryDirectory(prefix="nfbmr-station-") as made:
        options = ["--database", f"sqlite:///{made}/station.db", "--pictures", f"{made}/pictures"]
        with served(model, *options) as station:
            client = Client(station.port)
            for place, path in enumerate(pictures, 1):
                client.inspect(model.name, f"part-{place:02d}", path.read_bytes())
            client.close()
            shot = _photographed(f"http://127.0.0.1:{station.port}/")
    few = Image.open(io.BytesIO(shot)).convert("RGB").quantize(_COLOURS, Image.Quantize.MAXCOVERAGE)
    out.parent.mkdir(parents=True, exist_ok=True)
    few.save(out, optimize=True)


def _photographed(address: str) -> bytes:
    from playwright.sync_api import expect, sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM)
        page = browser.new_page(viewport={"width": _SIZE[0], "height": _SIZE[1]})
        page.set_default_timeout(_MILLISECONDS)
        page.goto(address, wait_until="load")
        expect(page.get_by_role("status")).to_have_text("live", timeout=_MILLISECONDS)
        for picture in page.locator("img").all():
            expect(picture).not_to_have_js_property("naturalWidth", 0, timeout=_MILLISECONDS)
        shot = page.screenshot()
        browser.close()
    return shot


def main() -> None:
    """Parses the command line and writes the picture."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", type=Path, help="a model directory")
    parser.add_argument("out", type=Path, help="the PNG")
    parser.add_argument("pictures", type=Path, nargs="+", help="in the order in which they come")
    arguments = parser.parse_args()
    draw(arguments.model, arguments.pictures, arguments.out)


if __name__ == "__main__":
    main()
