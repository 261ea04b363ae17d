"""The HTML report: what it says, that it is inert, and that it is written whole or not at all."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from nfbmr.errors import MissingExtraError
from nfbmr.evaluation import metrics
from nfbmr.evaluation.report import plots
from nfbmr.evaluation.report.cards import GOOD_NAMES, Picture
from nfbmr.evaluation.report.page import (
    ReportContent,
    choose_pictures,
    render,
    write_report,
)
from nfbmr.inspection.regions import regions_of
from nfbmr.scoring.calibration import Verdict
from nfbmr.scoring.intervals import share_interval
from nfbmr.scoring.odd import Unlike
from nfbmr.scoring.odd_words import UNKNOWN

EVIL = "<script>alert('x')</script>\"><img src=http://evil.example/x onerror=alert(1)>"


@pytest.fixture(autouse=True, scope="module")
def _drawn_once() -> Iterator[None]:
    """The same scores give the same plot, and drawing it takes most of a page's time."""

    def once(draw: Callable[..., str]) -> Callable[..., str]:
        drawn: dict[str, str] = {}

        def plot(*given: Any) -> str:
            key = repr([np.asarray(one).tolist() for one in given])
            if key not in drawn:
                drawn[key] = draw(*given)
            return drawn[key]

        return plot

    with pytest.MonkeyPatch.context() as patch:
        for name in ("roc_plot", "score_plot", "p_value_plot"):
            patch.setattr(plots, name, once(getattr(plots, name)))
        yield


class Page(HTMLParser):
    """Collects tags, attributes and visible text."""

    def __init__(self, source: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self.feed(source)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.words.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.words).split())

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attrs for name, attrs in self.tags if name == tag]


def picture(defect: str, verdict: Verdict, score: float, name: str = "a.png") -> Picture:
    mask = np.zeros((24, 32), bool)
    mask[5:9, 5:9] = True
    return Picture(
        path_name=name,
        defect=defect,
        image=np.full((24, 32, 3), 90, np.uint8),
        heatmap=mask.astype(np.float32) * 3,
        mask=mask if defect not in GOOD_NAMES else None,
        score=score,
        p_value=0.02,
        verdict=verdict,
    )


def content(
    labels: Sequence[int] = (0, 0, 0, 1, 1), flags: Sequence[int] = (0, 0, 1, 0, 1), **changes: Any
) -> ReportContent:
    """Five pictures, of which one defect is missed and one good picture is flagged."""
    is_defect, predicted = np.array(labels, bool), np.array(flags, bool)
    scores = np.linspace(0.5, 2.5, len(labels))
    names = ["dent" if label else "good" for label in labels]
    p_values = np.linspace(0.9, 0.1, len(labels))
    summary = metrics.summarise(scores, p_values, is_defect, names, 1.4, predicted, None)
    shown = tuple(
        picture(name, "defect" if flag else "good", float(score), f"{name}/{index}.png")
        for index, (name, flag, score) in enumerate(zip(names, predicted, scores, strict=True))
    )
    made = ReportContent(
        title="Tiles",
        summary=summary,
        scores=scores,
        p_values=p_values,
        is_defect=is_defect,
        predicted=predicted,
        looked=np.zeros(len(labels), bool),
        threshold=1.4,
        look_threshold=1.4,
        settings={"stage": {"epochs": 3}, "preset": "fast"},
        pictures=shown,
    )
    return replace(made, **changes)


def test_what_a_person_is_to_look_at_is_neither_missed_nor_an_alarm() -> None:
    made = content(labels=(0, 0, 1, 1), flags=(0, 0, 0, 1))
    looked = np.array([0, 1, 1, 0], bool)
    shown = tuple(
        replace(one, verdict="look") if flag else one
        for one, flag in zip(made.pictures, looked, strict=True)
    )
    summary = {**made.summary, "n_good_to_look_at": 1, "n_defective_to_look_at": 1}
    text = Page(
        render(replace(made, looked=looked, pictures=shown, summary=summary, look_threshold=1.0))
    ).text
    for expected in (
        *("1 of 2 defective pictures was found, 1 more is for a person", "look 1"),
        *("1 defective, 1 good", "2 of 2 not passed as good", "for a person"),
        "None. Every defective picture was flagged, or left to a person.",
    ):
        assert expected in text


def test_report_tells_the_figures_of_the_summary() -> None:
    made = content()
    asked = {"false_alarm_rate_asked": 0.01, "inspect_ms": 23.4, "fit_seconds": 412.0, "seed": 7}
    extra = {**asked, "settings_hash": "9f2c", "commit": "1a2b", "versions": {"torch": "2.9"}}
    text = Page(render(replace(made, summary={**made.summary, **extra}))).text
    for expected in (
        *("1 of 2 defective pictures was found.", "1 of 3 good pictures raised a false alarm"),
        *(
            "; so few cannot say whether that is the 1% asked for",
            "23 ms",
            "6 min 52 s",
            "9f2c",
            "1a2b",
            "torch 2.9",
        ),
        *("50.0%", "33.3%", "no masks", "stage.epochs 3", "preset fast", "AUROC 1.0000"),
    ):
        assert expected in text


@pytest.mark.parametrize(
    ("n_good", "rate", "said"),
    [
        (99, 1 / 99, "in line with the 1% asked for"),
        (98, 1 / 98, "so few cannot say whether that is the 1% asked for"),
        (6, 1 / 6, "so few cannot say"),
        (6, 0.0, "so few cannot say"),
        (200, 0.2, "more than the 1% asked for"),
    ],
)
def test_a_rate_is_in_line_only_where_so_many_pictures_could_show_it(
    n_good: int, rate: float, said: str
) -> None:
    made = content()
    interval = list(share_interval(round(rate * n_good), n_good))
    more = {"n_good": n_good, "false_alarm_rate_observed": rate, "false_alarm_interval": interval}
    summary = {**made.summary, **more, "false_alarm_rate_asked": 0.01}
    text = Page(render(replace(made, summary=summary))).text
    assert said in text
    assert ("in line with" in text) == ("in line" in said)


def test_misses_and_false_alarms_have_their_galleries() -> None:
    text = Page(render(content())).text
    missed = text.index("Defective pictures that were passed as good")
    alarms = text.index("Good pictures that were flagged")
    types = text.index("Examples of every type")
    assert "dent/3.png missed" in text[missed:alarms]
    assert "good/2.png false alarm" in text[alarms:types]
    assert "dent/4.png found" in text[types:]
    assert "good/0.png passed" in text[types:]


def test_a_faultless_run_is_told_in_friendly_words() -> None:
    text = Page(render(content(flags=(0, 0, 0, 1, 1)))).text
    assert "None. Every defective picture was flagged, or left to a person." in text
    assert "None of 3 good pictures." in text


@pytest.mark.parametrize("label", [0, 1])
def test_one_class_alone_still_makes_a_report(label: int) -> None:
    text = Page(render(content(labels=[label] * 3, flags=[label] * 3))).text
    assert "here one kind is missing" in text
    assert ("no good pictures" if label else "no defective pictures") in text


def test_more_misses_than_shown_are_counted() -> None:
    made = content(labels=[0, 1, 1, 1], flags=[0, 0, 0, 0])
    text = Page(render(replace(made, pictures=made.pictures[:2]))).text
    assert "1 of 3 are shown" in text


def test_untrusted_names_are_inert() -> None:
    made = content(title=EVIL, notes=[EVIL], warnings=[EVIL], settings={EVIL: EVIL})
    evil = tuple(picture(EVIL, verdict, 1.0, EVIL) for verdict in get_args(Verdict))
    summary = {**made.summary, "per_defect": {EVIL: made.summary["per_defect"]["dent"]}}
    summary |= {"commit": EVIL, "versions": {EVIL: EVIL}}
    page = Page(render(replace(made, pictures=evil, summary=summary)))
    assert not page.all("script")
    assert all(str(image["src"]).startswith("data:image/") for image in page.all("img"))
    assert not [attrs for _, attrs in page.tags if any(name.startswith("on") for name in attrs)]
    assert page.text.count("<script>") >= 10  # shown as text


def shown_tags(path_name: str, defect: str) -> list[str]:
    shown = (picture(defect, "good", 1.0, path_name),)
    return [tag for tag, _ in Page(render(content(pictures=shown))).tags]


@pytest.fixture(scope="module")
def plain_tags() -> list[str]:
    return shown_tags("plain", "plain")


# A page takes a while, so a failing example is reported as it was found, not made smaller.
@settings(max_examples=8, deadline=None, phases=(Phase.explicit, Phase.generate))
@given(name=st.text(max_size=40), defect=st.text(max_size=40))
def test_any_name_leaves_the_structure_of_the_page_alone(
    plain_tags: list[str], name: str, defect: str
) -> None:
    assert shown_tags(name, "x" + defect) == plain_tags


def test_page_asks_for_nothing_from_elsewhere() -> None:
    source = render(content())
    assert not re.search(r"https?:|@import|url\((?!#)|<link|<script|<iframe|<object", source)
    page = Page(source)
    assert all(str(a["href"]).startswith("#") for a in page.all("a"))
    (policy,) = [m["content"] for m in page.all("meta") if m.get("http-equiv")]
    assert policy == "default-src 'none'; img-src data:; style-src 'unsafe-inline'"


def test_page_is_accessible() -> None:
    page = Page(render(content()))
    assert all("alt" in image for image in page.all("img"))
    assert page.all("html") == [{"lang": "en"}]
    assert len(page.all("h1")) == 1
    ids = [str(attrs["id"]) for tag, attrs in page.tags if "id" in attrs and tag != "g"]
    targets = {str(a["href"])[1:] for a in page.all("a")}
    assert targets <= set(ids)
    named = [name for name in ids if re.match(r"(miss|alarm|type|good)-|quality|origin|odd", name)]
    assert len(named) == len(set(named))


def test_pictures_without_heatmap_or_mask_show_what_there_is() -> None:
    bare = replace(picture("dent", "good", 1.0), heatmap=None, mask=None)
    text = Page(render(content(pictures=(bare,)))).text
    assert "a.png missed" in text
    assert "True outline" not in text


def test_what_was_found_is_outlined_and_stands_beside_a_good_part() -> None:
    plain = picture("dent", "defect", 2.0)
    assert plain.heatmap is not None
    regions = regions_of(plain.heatmap, 1.0, (240, 320), [(plain.heatmap, (0.5,))])
    crops = np.full((4, 6, 3), 200, np.uint8), np.full((4, 6, 3), 20, np.uint8)
    found = replace(plain, regions=regions, size=(240, 320), pairs=(crops,))
    page = Page(render(content(pictures=(found,))))
    assert (
        "peak 3.00 , area 1600 px , at x 55, y 55; at most about one good picture in 2 has"
        in page.text
    )
    assert "Here Good part there" in page.text
    alts = [str(image["alt"]) for image in page.all("img")]
    assert "the place on the nearest good training picture" in alts
    heat = "heatmap over the picture with defect dent; highest level 3.0"
    assert f"{heat}, 1 outlined" in alts
    without = Page(render(content(pictures=(plain,))))
    assert "Here" not in without.text
    assert heat in [str(image["alt"]) for image in without.all("img")]
    sources = [
        {image["alt"]: image["src"] for image in one.all("img")}[alt]
        for one, alt in ((page, f"{heat}, 1 outlined"), (without, heat))
    ]
    assert sources[0] != sources[1], "the line is drawn"


def test_each_of_several_places_is_told_and_three_stand_beside_a_good_part() -> None:
    plain = picture("dent", "defect", 2.0)
    heat = np.zeros((24, 80), np.float32)
    for number in range(7):
        heat[5:9, 10 * number + 3 : 10 * number + 7] = 9 - number
    known = np.linspace(0, 5.5, 79).tolist()
    regions = regions_of(heat, 1.0, (240, 800), [(heat, known)], mm_per_pixel=0.1)
    crops = np.full((4, 6, 3), 200, np.uint8), np.full((4, 6, 3), 20, np.uint8)
    found = replace(
        plain,
        image=np.full((24, 80, 3), 90, np.uint8),
        heatmap=heat,
        mask=None,
        regions=regions,
        size=(240, 800),
        pairs=(crops,) * 3,
    )
    text = Page(render(content(pictures=(found,)))).text
    assert "peak 9.00 , area 1600 px (16 mm²) , at x 35, y 55; at most about one" in text
    assert "one good picture in 80 has such a place" in text
    assert [text.count(f"peak {9 - n}.00 ,") for n in range(7)] == [1] * 5 + [0] * 2
    assert "and 2 more places" in text
    assert "1 here Good part there 2 here Good part there 3 here" in text


def test_the_good_pictures_least_like_the_rest_are_named() -> None:
    one = Unlike(picture="0" * 64, name=EVIL, score=1.25, without=0.75, is_odd=True)
    learnt = replace(one, name="taught.png", without=None, is_odd=False)
    html = render(content(oddest=(one,), oddest_trained=(learnt,), without_odd=0.5))
    text = Page(html).text
    assert EVIL not in html
    assert "odd 1.250 0.750" in text
    assert "The threshold is 1.400, without all odd ones 0.500." in text
    assert "taught.png 1.250" in text
    assert f"{UNKNOWN}." in Page(render(content())).text


def test_asked_rate_outside_the_interval_is_said() -> None:
    summary = dict(content().summary, n_good=1000, false_alarm_rate_observed=0.05)
    summary |= {"false_alarm_interval": [0.04, 0.07], "false_alarm_rate_asked": 0.01}
    assert "more than the 1% asked for" in Page(render(content(summary=summary))).text
    summary["false_alarm_rate_asked"] = 0.2
    assert "fewer than the 20.0% asked for" in Page(render(content(summary=summary))).text


def test_threshold_without_end_draws_no_line() -> None:
    assert "threshold" in render(content(threshold=1.0))
    assert "threshold inf" not in render(content(threshold=float("inf")))


# --- writing -------------------------------------------------------------------------------------


def test_report_is_written_into_a_new_folder_and_replaces_an_older_one(tmp_path: Path) -> None:
    path = tmp_path / "new" / "page.html"
    write_report(path, content(title="first"))
    write_report(path, content(title="second"))
    assert "second" in path.read_text(encoding="utf-8")
    assert list(path.parent.iterdir()) == [path]


def test_failure_leaves_the_old_report_and_no_partial_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "page.html"
    path.write_text("old")

    def fail(self: Path, target: Path) -> Path:
        assert self.stat().st_size > 1000  # it was written beside
        raise OSError("disk trouble")

    monkeypatch.setattr(Path, "replace", fail)
    with pytest.raises(OSError, match="disk trouble"):
        write_report(path, content())
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_file_name_that_is_not_unicode_is_written(tmp_path: Path) -> None:
    path = tmp_path / "page.html"
    write_report(path, content(pictures=(picture("dent", "good", 1.0, "bad\udcff.png"),)))
    assert "bad\\udcff.png" in path.read_text(encoding="utf-8")


@pytest.mark.parametrize("package", ["jinja2", "matplotlib", "sklearn"])
def test_missing_extra_says_what_to_install(
    package: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = content(scores=np.linspace(1, 2, 5))  # of no plot that was drawn before
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(MissingExtraError, match=r'pip install -e "\.\[report\]"'):
        write_report(tmp_path / "page.html", made)
    assert not list(tmp_path.iterdir())


# --- choice of pictures --------------------------------------------------------------------------


def test_choice_by_hand() -> None:
    #                 0    1    2    3    4    5    6    7    8    9
    scores = np.array([0.1, 0.2, 0.3, 0.9, 0.8, 0.4, 0.5, 1.0, 1.1, 1.2])
    is_defect = np.arange(10) >= 5
    predicted = scores > 0.6
    names = ["good"] * 5 + ["dent", "scratch", "dent", "dent", "dent"]
    none = np.zeros(10, bool)
    chosen = choose_pictures(scores, is_defect, predicted, names, none, per_type=2, worst=1)
    # worst miss; worst alarm; dent lowest (seen) and highest; scratch; good lowest and highest
    assert chosen == [5, 3, 9, 6, 0, 2]
    looked = (scores > 0.25) & ~predicted
    chosen = choose_pictures(scores, is_defect, predicted, names, looked, per_type=2, worst=1)
    # no miss; worst alarm; the highest for a person; dent lowest and highest; good ones
    assert chosen == [3, 6, 5, 9, 0, 1]


@given(st.integers(0, 2**32 - 1), st.integers(0, 60), st.integers(1, 6), st.integers(0, 9))
def test_choice_is_small_valid_and_covers_every_type(
    seed: int, n: int, per_type: int, worst: int
) -> None:
    rng = np.random.default_rng(seed)
    is_defect, predicted = rng.random(n) < 0.5, rng.random(n) < 0.5
    looked = (rng.random(n) < 0.3) & ~predicted
    names = [str(kind) for kind in rng.integers(0, 4, n)]
    scores = rng.normal(size=n)
    chosen = choose_pictures(scores, is_defect, predicted, names, looked, per_type, worst)
    assert len(chosen) == len(set(chosen)) <= 3 * worst + 5 * per_type
    assert all(type(index) is int and 0 <= index < n for index in chosen)
    covered = {names[index] for index in chosen if is_defect[index]}
    assert covered == {name for name, label in zip(names, is_defect, strict=True) if label}


def test_choice_shows_all_misses_when_they_are_few() -> None:
    scores = np.arange(30.0)
    is_defect = np.arange(30) % 2 == 1
    predicted = np.arange(30) > 8
    chosen = choose_pictures(scores, is_defect, predicted, ["d"] * 30, np.zeros(30, bool))
    assert {1, 3, 5, 7} <= set(chosen)
    assert chosen[:4] == [1, 3, 5, 7]
