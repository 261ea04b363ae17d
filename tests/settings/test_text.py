"""The command line's words: lists, numbers, named values and weights."""

from __future__ import annotations

import pytest

from nfbmr.errors import SettingsError
from nfbmr.settings.text import (
    parse_changes,
    parse_number,
    parse_numbers,
    parse_pairs,
    parse_rate,
    parse_weights,
    parse_words,
)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("nf", ("nf",)),
        ("nf,nf-bmr-2", ("nf", "nf-bmr-2")),
        (" b , a,,b ", ("b", "a")),
        ("metal nut,a", ("metal nut", "a")),
        ("", ()),
        (" , ", ()),
    ],
)
def test_words_come_in_order_and_each_once(text: str, words: tuple[str, ...]) -> None:
    assert parse_words(text) == words


@pytest.mark.parametrize(
    ("text", "numbers"),
    [("0", (0,)), ("2,0,1", (2, 0, 1)), ("1, 01 ,1,", (1,)), ("123456789", (123_456_789,))],
)
def test_numbers_come_in_order_and_each_once(text: str, numbers: tuple[int, ...]) -> None:
    assert parse_numbers("--seeds", text) == numbers


@pytest.mark.parametrize("text", ["", ",", "a", "1,b", "-1", "1.5", "1 2", "1234567890", "²"])
def test_what_is_no_list_of_numbers_is_refused(text: str) -> None:
    with pytest.raises(SettingsError) as caught:
        parse_numbers("--tables", text)
    assert str(caught.value) == f"--tables {text}: expected whole numbers, such as 0,1,2"


def test_pairs_keep_their_order_and_everything_behind_the_first_sign() -> None:
    given = ["b=dir/b", "a=x=y.csv", "_1 a.b-c= ", "Maß=m"]
    expected = [("b", "dir/b"), ("a", "x=y.csv"), ("_1 a.b-c", " "), ("Maß", "m")]
    assert parse_pairs("--data", given) == expected
    assert parse_pairs("--data", []) == []


@pytest.mark.parametrize(
    "pair",
    [
        "a",
        "a=",
        "=x",
        "../a=x",
        ".a=x",
        "-a=x",
        "a/b=x",
        "a\\b=x",
        "a:b=x",
        "a\n=x",
        f"{'a' * 62}=x",
    ],
)
def test_a_name_that_is_none_for_a_file_is_refused(pair: str) -> None:
    with pytest.raises(SettingsError) as caught:
        parse_pairs("--data", [pair])
    assert str(caught.value).startswith(f"--data {pair}: expected NAME=VALUE, each name once")


def test_a_name_that_comes_twice_is_refused() -> None:
    assert parse_pairs("--data", [f"{'a' * 61}=x"]) == [("a" * 61, "x")]
    with pytest.raises(SettingsError, match="--data a=y: expected NAME=VALUE, each name once"):
        parse_pairs("--data", ["a=x", "b=x", "a=y"])


def test_weights_are_of_the_network_they_name_or_of_snn() -> None:
    given = ["dir/b5.pth", "resnet34.tv_in1k=hub", "tf_efficientnet_b3=a=b.pth"]
    assert parse_weights(given) == {
        "": "dir/b5.pth",
        "resnet34.tv_in1k": "hub",
        "tf_efficientnet_b3": "a=b.pth",
    }
    assert parse_weights(["=a.pth"]) == parse_weights(["a.pth"]) == {"": "a.pth"}
    assert parse_weights([]) == {}


@pytest.mark.parametrize("texts", [["a.pth", "b.pth"], ["n=a", "n=a"], ["n="], [""], ["a", "=a"]])
def test_weights_that_are_none_or_come_twice_are_refused(texts: list[str]) -> None:
    with pytest.raises(SettingsError) as caught:
        parse_weights(texts)
    assert str(caught.value) == (
        f"--weights {texts[-1]}: expected FILE or NETWORK=FILE, each network once"
    )


def test_changes_are_json_or_text_and_nest_at_dots() -> None:
    given = ["flow.hidden=256", "size=[64,96]", "pair.schedule=constant", "flow.clamp=2.5", "a=b=c"]
    assert parse_changes(given) == {
        "flow": {"hidden": 256, "clamp": 2.5},
        "size": [64, 96],
        "pair": {"schedule": "constant"},
        "a": "b=c",
    }


@pytest.mark.parametrize(
    ("text", "rate"), [("0.05", 0.05), ("5%", 0.05), (" 2.5 %", 0.025), ("1%", 0.01), ("7%", 0.07)]
)
def test_a_rate_may_be_in_percent(text: str, rate: float) -> None:
    assert parse_rate("--look-rate", text) == rate
    changes = parse_changes([f"calibration.look_rate={text.strip()}"])
    assert changes == {"calibration": {"look_rate": rate}}


@pytest.mark.parametrize(
    "text", ["5", "1", "100%", "five", "0,05", "5%%", "%", "", "nan", "nan%", "-5%", "-0.1", "-inf"]
)
def test_what_is_no_rate_is_refused(text: str) -> None:
    with pytest.raises(SettingsError, match=r"^--look-rate .*such as 0\.05, or 5%") as caught:
        parse_rate("--look-rate", text)
    assert ("the decimal sign is a point" in str(caught.value)) == ("," in text)


@pytest.mark.parametrize("text", ["0,05", "0,05%", "150%", "5%%", "x%"])
def test_a_rate_among_the_settings_is_read_as_one(text: str) -> None:
    for name in ("false_alarm_rate", "look_rate"):
        with pytest.raises(SettingsError, match=rf"^--set calibration.{name} {text}: expected"):
            parse_changes([f"calibration.{name}={text}"])
    assert parse_changes([f"stage_one.learning_rate={text}"]) == {
        "stage_one": {"learning_rate": text}
    }, "which is no rate of good pictures: what it may be is for the schema to say"


@pytest.mark.parametrize("text", ['["norm"', "[norm]", '{"hidden": 3', '"a', " [1, 2", "[1,,2]"])
def test_json_that_is_cut_off_is_said(text: str) -> None:
    with pytest.raises(SettingsError) as caught:
        parse_changes(["seed=1", f"scoring.maps={text}"])
    assert str(caught.value).startswith(f"--set scoring.maps={text}: found no whole JSON (")
    assert parse_changes(["a=norm]", "b=x[1"]) == {"a": "norm]", "b": "x[1"}


def test_blanks_around_a_settings_name_mean_nothing() -> None:
    assert parse_changes([" flow.hidden =3"]) == {"flow": {"hidden": 3}}


@pytest.mark.parametrize("text", ["nan", "-1", "2e6", "many", "", "0,5"])
def test_what_is_no_number_in_its_range_is_said(text: str) -> None:
    said = rf"^--most {text}: expected a number, at least 0\.001 and at most 1,000,000"
    with pytest.raises(SettingsError, match=said) as caught:
        parse_number("--most", text, 0.001, 1e6)
    assert str(caught.value).endswith("the decimal sign is a point") == ("," in text)
    assert parse_number("--most", "0.5", 0.001, 1e6) == 0.5
    assert parse_number("--settle", 0, 0) == 0
    with pytest.raises(SettingsError, match=r"^--settle nan: expected a number, at least 0$"):
        parse_number("--settle", "nan", 0)
