"""From nothing to a verdict on a product of one's own: `python -m nfbmr.benchmark.own_product SET`.

A person at a station that knows no model yet, in real Chromium: they open its page, name a product,
drop good pictures on it, have them learnt, put what was learnt on the line, and drop a part that
the model never saw. A row says how many clicks, drops and typed letters that takes, and the seconds
of each step, as a person waits for them: until the page shows what came of it.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nfbmr.benchmark.child import say_row
from nfbmr.benchmark.served import served
from nfbmr.benchmark.station_picture import CHROMIUM
from nfbmr.data.layouts import read_data

if TYPE_CHECKING:
    from playwright.sync_api import Locator, Page

Row = dict[str, Any]

NAME = "my-product"
_SIZE = (1280, 800)
_MILLISECONDS = 30 * 60 * 1000.0  # for a step, on a machine that is slow


class Hand:
    """What a person does in a browser, counted, and how long each step takes."""

    def __init__(self, page: Page) -> None:
        """Takes a tab."""
        self._page = page
        self._began = time.monotonic()
        self.clicks = self.drops = self.letters = 0
        self.seconds: dict[str, float] = {}
        """Of each step, in their order."""

    def click(self, what: Locator) -> None:
        """Presses the mouse's button on something, once it can be pressed."""
        what.click()
        self.clicks += 1

    def type(self, text: str) -> None:
        """Types where the page put the cursor."""
        self._page.keyboard.type(text)
        self.letters += len(text)

    def drop(self, files: Sequence[Path], where: Locator) -> None:
        """Drags files from the machine's folders into the page, all at once."""
        box = where.bounding_box()
        assert box is not None, "there is no place to drop files on"
        at = {"x": box["x"] + box["width"] / 2, "y": box["y"] + box["height"] / 2}
        names = [str(path.absolute()) for path in files]
        data = {"items": [], "files": names, "dragOperationsMask": 1}
        hand = self._page.context.new_cdp_session(self._page)
        for kind in ("dragEnter", "dragOver", "drop"):
            hand.send("Input.dispatchDragEvent", {"type": kind, "data": data, **at})
        hand.detach()
        self.drops += 1

    def done(self, step: str) -> None:
        """Says that a step is over: the page shows what came of it."""
        now = time.monotonic()
        self.seconds[step] = round(now - self._began, 2)
        self._began = now


def walk(page: Page, address: str, pictures: Sequence[Path], part: Path) -> Row:
    """Goes from an empty station to a verdict.

    Args:
        page: an empty tab.
        address: of a station that knows no model.
        pictures: of good parts, files.
        part: a picture that is judged at the end, a file.

    Returns:
        `pictures`, `clicks`, `drops`, `letters`, `seconds` of each step and in all, and what the
        page says of the part: `verdict`, `says`.

    Raises:
        RuntimeError: nothing was learnt; the message says why.
    """
    from playwright.sync_api import expect

    hand = Hand(page)
    page.goto(address)
    expect(page.get_by_role("heading", name="No part yet")).to_be_visible()
    hand.done("opened")
    hand.click(page.get_by_role("link", name="Learn one"))
    expect(page.get_by_label("Its name")).to_be_focused()
    hand.type(NAME)
    hand.click(page.get_by_role("button", name="Begin"))
    expect(page.get_by_role("heading", name=NAME, level=1)).to_be_visible()
    hand.done("named")
    hand.drop(pictures, page.get_by_text("Drop pictures of good parts here"))
    following = page.get_by_role("region", name="What next")
    expect(following).to_contain_text(f"{len(pictures)} good pictures")
    hand.done("brought")
    hand.click(following.get_by_role("button", name="Start learning"))
    place = following.get_by_role("button", name="Put on the line")
    failed = page.get_by_role("alert").filter(has_text="Nothing was learnt")
    expect(place.or_(failed).first).to_be_visible(timeout=_MILLISECONDS)
    if failed.count():
        raise RuntimeError(failed.inner_text())
    hand.done("learnt")
    hand.click(place)
    expect(following).to_contain_text("On the line")
    hand.done("on the line")
    hand.click(following.get_by_role("link", name="Inspect a part"))
    expect(page.get_by_label("Model")).to_have_value(NAME)
    hand.drop([part], page.get_by_text("Drop pictures here"))
    card = page.get_by_role("region", name="Verdicts").get_by_role("article")
    expect(card).to_contain_text("good part")
    hand.done("judged")
    return {
        "pictures": len(pictures),
        "clicks": hand.clicks,
        "drops": hand.drops,
        "letters": hand.letters,
        "seconds": hand.seconds,
        "seconds_in_all": round(sum(hand.seconds.values()), 1),
        "verdict": card.get_by_role("heading").inner_text().split()[1].lower(),
        "says": card.get_by_text("good part").inner_text(),
    }


def measure(pictures: Sequence[Path], part: Path) -> Row:
    """Walks at a station of its own, with an empty record; arguments and row as for `walk`.

    Raises:
        RuntimeError: the station did not start, or nothing was learnt.
    """
    from playwright.sync_api import expect, sync_playwright

    with tempfile.TemporaryDirectory(prefix="nfbmr-station-") as made:
        options = ["--database", f"sqlite:///{made}/station.db", "--pictures", f"{made}/pictures"]
        with served(None, *options) as station, sync_playwright() as playwright:
            browser = playwright.chromium.launch(executable_path=CHROMIUM)
            page = browser.new_page(viewport={"width": _SIZE[0], "height": _SIZE[1]})
            page.set_default_timeout(_MILLISECONDS)
            expect.set_options(timeout=_MILLISECONDS)
            row = walk(page, f"http://127.0.0.1:{station.port}", pictures, part)
            browser.close()
    return {"row": "station own product", **row}


def chosen(folder: Path, count: int) -> tuple[list[Path], Path]:
    """Returns so many good pictures of a data set, from all over it, and a part with a defect.

    Raises:
        ValueError: it has fewer, or none with a defect.
    """
    found = read_data(folder)
    good = [sample.path for sample in found.train_good]
    defects = [sample.path for sample in found.test if sample.is_defect]
    if len(good) < count or not defects:
        raise ValueError(
            f"{folder}: {count} good pictures to learn from and one with a defect were expected, "
            f"found {len(good)} and {len(defects)}"
        )
    return [good[len(good) * place // count] for place in range(count)], defects[0]


def main() -> None:
    """Parses the command line, measures, and adds a row."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("set", type=Path, help="a data set with good pictures and defects")
    parser.add_argument("--pictures", type=int, default=25, help="good ones to learn from")
    parser.add_argument("-o", "--out", type=Path, help="JSONL that the row is added to")
    arguments = parser.parse_args()
    pictures, part = chosen(arguments.set, arguments.pictures)
    say_row(measure(pictures, part) | {"set": arguments.set.name}, arguments.out)


if __name__ == "__main__":
    main()
