"""Tokens, sessions, hosts, other sites, headers and limits."""

from __future__ import annotations

import stat
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from starlette.testclient import TestClient

from nfbmr.errors import SettingsError, StationError
from nfbmr.station.app import create_app
from nfbmr.station.auth import SESSION_SECONDS, Sessions, Tokens, new_token, read_tokens
from nfbmr.station.settings import StationSettings, is_local
from nfbmr.station.station import Station
from nfbmr.system.locks import locked_file

Encoded = Callable[..., bytes]
Settings = Callable[..., StationSettings]

INSPECT = "/v1/models/fitted/inspect"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "tokens"


@pytest.fixture
def guarded(settings: Settings, file: Path) -> Iterator[Station]:
    """A station with a token for each scope, listening to other machines."""
    new_token(file, "first", "admin")
    with Station(settings(host="0.0.0.0", token_file=file)) as station:
        yield station


def test_a_token_is_known_by_its_hash_alone(file: Path) -> None:
    secret, other = new_token(file, "line-1", "inspect"), new_token(file, "ann", "review")
    assert secret not in file.read_text()
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    tokens = Tokens(file)
    found = tokens.of_secret(other)
    assert found is not None
    assert (found.name, found.scope) == ("ann", "review")
    assert tokens.of_secret(other + "x") is None
    assert tokens.of_secret("") is None
    with pytest.raises(StationError, match="'ann' has a token"):
        new_token(file, "ann", "admin")
    assert tokens.of_secret(other) == found
    assert [token.name for token in read_tokens(file)] == ["line-1", "ann"]
    with pytest.raises(StationError, match="letters, digits"):
        new_token(file, "two words", "inspect")


def test_what_people_wrote_beside_the_tokens_stays(file: Path) -> None:
    new_token(file, "line-1", "inspect")
    notes = f"# the tablet of line 1\n{file.read_text()}\n# spare"
    file.write_text(notes)
    new_token(file, "ann", "review")
    assert file.read_text().startswith(f"{notes}\nann review ")
    assert [token.name for token in read_tokens(file)] == ["line-1", "ann"]


def test_tokens_that_are_made_at_once_are_all_kept(file: Path) -> None:
    names = [f"t{number}" for number in range(12)]
    with ThreadPoolExecutor(6) as makers:
        secrets = list(makers.map(lambda name: new_token(file, name, "inspect"), names))
    tokens = Tokens(file)
    found = [tokens.of_secret(secret) for secret in secrets]
    assert [token.name for token in found if token is not None] == names
    assert [one.name for one in file.parent.iterdir()] == [file.name]


def test_a_file_that_another_program_changes_for_long_is_left_alone(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("nfbmr.station.auth._PATIENCE", 0.0)
    with locked_file(file.with_name(f".{file.name}.lock")) as free:
        assert free
        with pytest.raises(StationError, match="being changed by another program"):
            new_token(file, "ann", "review")
    assert not file.exists()


def test_all_tokens_are_compared_in_constant_time(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    secrets = [new_token(file, f"t{n}", "inspect") for n in range(5)]
    compared = []

    def compare(one: str, other: str) -> bool:
        compared.append(one)
        return one == other

    monkeypatch.setattr("nfbmr.station.auth.hmac.compare_digest", compare)
    tokens = Tokens(file)
    for secret in (secrets[0], secrets[4], "unknown"):
        compared.clear()
        tokens.of_secret(secret)
        assert len(compared) == 5


def test_a_file_of_another_kind_is_refused(file: Path) -> None:
    with pytest.raises(StationError, match="nfbmr token"):
        Tokens(file)
    file.write_text("# mine\n\nann review secret\n")
    with pytest.raises(StationError, match="line 3"):
        Tokens(file)
    file.write_bytes(b"\xff\xfe")
    with pytest.raises(StationError, match="other bytes than UTF-8"):
        Tokens(file)


@pytest.mark.parametrize("content", [b"\xff\xfe", b"half a li"])
def test_a_file_that_cannot_be_read_any_more_locks_nobody_out(file: Path, content: bytes) -> None:
    secret = new_token(file, "ann", "review")
    tokens = Tokens(file)
    before = file.read_bytes()
    file.write_bytes(content)
    assert tokens.of_secret(secret) is not None
    assert tokens.of_name("ann") is not None
    file.write_bytes(before.replace(b"ann", b"bob"))
    assert tokens.of_name("ann") is None
    assert tokens.of_name("bob") is not None


def test_a_token_file_is_never_open_to_others(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    modes = []
    replace = Path.replace

    def seen(beside: Path, target: Path) -> Path:
        modes.append(stat.S_IMODE(beside.stat().st_mode))
        return replace(beside, target)

    monkeypatch.setattr(Path, "replace", seen)
    new_token(file, "ann", "review")
    assert modes == [0o600]


def test_beyond_this_machine_tokens_are_demanded(settings: Settings) -> None:
    assert [host for host in ("127.0.0.1", "::1", "[::1]", "localhost") if not is_local(host)] == []
    for host in ("0.0.0.0", "192.168.1.2", "::", "station.example", "localhost.example"):
        assert not is_local(host)
        with pytest.raises(StationError, match="tokens are demanded"):
            Station(settings(host=host))


def test_a_session_dies_with_its_time_its_token_and_any_change(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    new_token(file, "ann", "review")
    new_token(file, "bob", "admin")
    tokens, sessions = Tokens(file), Sessions(b"secret")
    (ann, _) = read_tokens(file)
    cookie = sessions.cookie(ann)
    actor = sessions.actor(cookie, tokens)
    assert actor is not None
    assert (actor.name, actor.scope) == ("ann", "review")
    for changed in (cookie.replace("ann", "bob"), cookie[:-1], "", "..", "ann.9" + cookie[4:]):
        assert sessions.actor(changed, tokens) is None
    assert Sessions(b"another").actor(cookie, tokens) is None
    assert sessions.is_form_key(actor, sessions.form_key(actor))
    assert not sessions.is_form_key(actor, Sessions(b"another").form_key(actor))
    now = time.time()
    monkeypatch.setattr("nfbmr.station.auth.time.time", lambda: now + SESSION_SECONDS + 1)
    assert sessions.actor(cookie, tokens) is None
    monkeypatch.undo()
    _, bobs = file.read_text().splitlines()
    file.write_text(f"{bobs}\n")
    new_token(file, "ann", "review")
    assert sessions.actor(cookie, tokens) is None


def test_another_sites_page_changes_nothing(client: TestClient, png: Encoded) -> None:
    for headers in (
        {"Origin": "http://evil.example"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Origin": "null"},
        {"Origin": "http://["},
    ):
        assert client.post(INSPECT, content=png(1), headers=headers).status_code == 403
    same = {"Origin": "http://127.0.0.1", "Sec-Fetch-Site": "same-origin"}
    assert client.post(INSPECT, content=png(1), headers=same).status_code == 200


def test_without_tokens_another_hosts_name_leads_nowhere(client: TestClient) -> None:
    for host in ("evil.example", "127.0.0.1.evil.example", "", "[", "127.0.0.2.example:8000"):
        assert client.get("/v1/inspections", headers={"Host": host}).status_code == 400
    for host in ("localhost:8000", "127.0.0.1", "[::1]:8000"):
        assert client.get("/v1/inspections", headers={"Host": host}).status_code == 200


def test_every_answer_has_the_headers(station: Station, monkeypatch: pytest.MonkeyPatch) -> None:
    def failing() -> None:
        raise ZeroDivisionError

    app = create_app(station)
    client = TestClient(app, base_url="http://127.0.0.1", raise_server_exceptions=False)
    monkeypatch.setattr(station.pool, "all", failing)
    expected = {
        "/healthz": 200,
        "/v1/inspections/9": 404,
        "/nowhere": 404,
        "/openapi.json": 200,
        "/v1/models": 500,
    }
    for path, status in expected.items():
        answer = client.get(path)
        assert answer.status_code == status
        headers = answer.headers
        policy = headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy
        assert "http" not in policy
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["x-frame-options"] == "DENY"
        assert headers["referrer-policy"] == "same-origin"
        assert headers["cache-control"] == "no-store"
    assert client.get("/v1/models").json() == {"detail": "the station failed; its log says where"}


def test_limits_are_kept(settings: Settings, png: Encoded) -> None:
    small = settings(most_megabytes=0.1, most_megapixels=0.01, most_pictures=2)
    with Station(small) as station:
        client = TestClient(create_app(station), base_url="http://127.0.0.1")
        large = b"x" * 100_001
        assert client.post(INSPECT, content=large).status_code == 413
        assert client.post(INSPECT, content=iter([large[:60_000]] * 2)).status_code == 413
        assert client.post(INSPECT).status_code == 422
        text = client.get("/metrics").text
        assert 'nfbmr_refused_total{why="too large"} 2' in text
        assert 'nfbmr_refused_total{why="picture"} 1' in text
        answer = client.post(INSPECT, content=png(1, size=(101, 100)))
        assert answer.status_code == 422
        assert "at most 0.01 megapixels" in answer.json()["detail"]
        assert client.post(INSPECT, content=png(1, size=(100, 100))).status_code == 200
        three = [("files", (f"{n}.png", png(n), "image/png")) for n in range(3)]
        assert client.post(INSPECT, files=three).status_code == 400
        assert client.post(INSPECT, files=three[:2]).status_code == 200
        long_name = client.post(INSPECT, files=three[:1], data={"part_id": "x" * 201})
        assert long_name.status_code == 422
        assert client.post(f"{INSPECT}?part_id=%1b[0m", content=png(1)).status_code == 422


def test_a_request_has_its_time(
    settings: Settings, png: Encoded, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Station(settings(seconds=0.05)) as station:
        client = TestClient(create_app(station), base_url="http://127.0.0.1")
        (loaded,) = station.pool.all()
        from concurrent.futures import Future

        never: Future[None] = Future()
        monkeypatch.setattr(loaded.batcher, "submit", lambda data: never)
        answer = client.post(INSPECT, content=png(1))
        assert answer.status_code == 503
        assert "no verdict within 0.05 s" in answer.json()["detail"]
        assert answer.headers["retry-after"] == "1"
        assert never.cancelled()
        assert client.get("/v1/inspections").json()["inspections"] == []
        assert not [path for path in station.pictures.folder.glob("????/**/*") if path.is_file()]


def test_names_from_outside_touch_no_file(
    client: TestClient, station: Station, png: Encoded
) -> None:
    for name in ("../../evil.png", "/etc/passwd", "a\x00b.png", "x" * 5000):
        client.post(INSPECT, files=[("files", (name, png(1), "image/png"))])
    for path in ("/v1/models/..%2f..%2ffitted/inspect", "/static/..%2fapp.py", "/static/../app.py"):
        assert client.post(path, content=png(1)).status_code in (404, 405)
        assert client.get(path).status_code in (404, 405)
    files = [path for path in station.pictures.folder.glob("????/**/*") if path.is_file()]
    assert files
    folder = station.pictures.folder
    for file in files:
        year, month, day, name = file.relative_to(folder).parts
        assert (year + month + day).isdecimal()
        assert len(name) == len("0" * 32 + ".png")


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"waiting": 0}, "waiting 0"),
        ({"seconds": 0}, "seconds 0"),
        ({"keep_days": 0}, "keep_days 0"),
        ({"port": 70000}, "port 70000"),
    ],
)
def test_settings_out_of_range_are_refused(
    settings: Settings, changes: dict[str, int], said: str
) -> None:
    with pytest.raises(SettingsError, match=said):
        settings(**changes)


def test_a_session_serves_the_page_and_a_token_the_api(guarded: Station, file: Path) -> None:
    client = TestClient(create_app(guarded), base_url="https://station.example")
    (token,) = read_tokens(file)
    client.cookies.set("nfbmr_session", guarded.sessions.cookie(token))
    assert client.get("/v1/inspections").status_code == 200
    answer = client.post("/v1/inspections/1/feedback", json={"label": None})
    assert answer.status_code == 403
    assert "show a token" in answer.json()["detail"]
