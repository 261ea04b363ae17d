"""MQTT, by Debian's mosquitto: acknowledged, kept while it is away, by TLS and with a password."""

from __future__ import annotations

import asyncio
import json
import shutil
import socket
import ssl
import subprocess
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from nfbmr.errors import SettingsError
from nfbmr.station.app import create_app
from nfbmr.station.outputs.mqtt import LOGIN, broker_of
from nfbmr.station.outputs.outbox import Outputs
from nfbmr.station.settings import StationSettings
from nfbmr.station.station import Station

aiomqtt = pytest.importorskip("aiomqtt", reason="aiomqtt is not installed")

Encoded = Callable[..., bytes]
Settings = Callable[..., StationSettings]
Until = Callable[[Callable[[], object]], None]

MOSQUITTO = Path("/usr/sbin/mosquitto")
INSPECT = "/v1/models/fitted/inspect"
PATIENCE = 60.0


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("nfbmr.station.station.Outputs", partial(Outputs, first_pause=0.05))


class Broker:
    """A mosquitto that can be ended and started again, on a port of its own."""

    def __init__(self, folder: Path, *lines: str) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.configuration = folder / "mosquitto.conf"
        said = [f"listener {self.port} 127.0.0.1", f"user {_user()}", *lines]
        self.configuration.write_text("\n".join(said) + "\n")
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        command = [str(MOSQUITTO), "-c", str(self.configuration)]
        self.process = subprocess.Popen(command, stderr=subprocess.DEVNULL)

    def end(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None


def _user() -> str:
    import getpass

    return getpass.getuser()


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Broker]:
    """One that lets everybody in."""
    if not MOSQUITTO.is_file():
        pytest.skip(f"no {MOSQUITTO}")
    found = Broker(tmp_path, "allow_anonymous true")
    found.start()
    yield found
    found.end()


def heard_by(port: int, wanted: int, **options: Any) -> Callable[[], list[tuple[str, bytes, int]]]:
    """Starts to listen to all topics; the answer waits for so many messages."""
    import threading

    found: list[tuple[str, bytes, int]] = []
    listening, trouble = threading.Event(), []

    async def listen() -> None:
        async with aiomqtt.Client("127.0.0.1", port, **options) as client:
            await client.subscribe("#", qos=1)
            listening.set()
            async for message in client.messages:
                found.append((str(message.topic), message.payload, message.qos))
                if len(found) == wanted:
                    return

    def work() -> None:
        for _ in range(600):
            try:
                asyncio.run(asyncio.wait_for(listen(), PATIENCE))
            except aiomqtt.MqttError as error:  # it starts
                trouble.append(error)
                threading.Event().wait(0.1)
            else:
                return

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    assert listening.wait(PATIENCE), trouble

    def result() -> list[tuple[str, bytes, int]]:
        thread.join(PATIENCE)
        assert len(found) == wanted, found
        return found

    return result


def send(station: Station, picture: bytes) -> None:
    client = TestClient(create_app(station), base_url="http://127.0.0.1")
    assert client.post(INSPECT, content=picture).status_code == 200


def test_verdicts_are_published_below_the_topic_with_qos_1_and_the_availability_is_kept(
    settings: Settings, png: Encoded, broker: Broker
) -> None:
    result = heard_by(broker.port, 3)
    made = settings(mqtt=f"mqtt://127.0.0.1:{broker.port}/hall/1", outputs="all")
    with Station(made) as station:
        until_connected(station)
        send(station, png(1))
        after = heard_by(broker.port, 1)
    (first, verdict, last) = result()
    assert (first[:2], last[:2]) == (
        ("hall/1/availability", b"online"),
        ("hall/1/availability", b"offline"),
    )
    assert after()[0][:2] == ("hall/1/availability", b"online"), "it is retained"
    assert (verdict[0], verdict[2]) == ("hall/1/inspections/fitted", 1)
    body = json.loads(verdict[1])
    assert (body["kind"], body["inspection"]["id"]) == ("inspection", 1)


def until_connected(station: Station) -> None:
    import threading

    receiver = station.outputs._couriers["mqtt"]._deliver.__self__  # type: ignore[attr-defined]
    for _ in range(6000):
        if receiver._client is not None:
            return
        threading.Event().wait(0.01)
    raise AssertionError("there is no connection")


def test_what_a_broker_misses_is_published_once_it_is_back(
    settings: Settings, png: Encoded, broker: Broker, until: Until
) -> None:
    broker.end()
    with Station(settings(mqtt=f"mqtt://127.0.0.1:{broker.port}/t")) as station:
        send(station, png(1, defect=True))
        until(lambda: station.outputs.states()[0].failing)
        assert station.outputs.states()[0].waiting == 1
        broker.start()
        until(lambda: station.outputs.states()[0].waiting == 0)
        assert not station.outputs.states()[0].failing
        broker.end()
        until(lambda: station.outputs.states()[0].failing)
        send(station, png(2, defect=True))
        broker.start()
        until(lambda: station.outputs.states()[0].waiting == 0)


def test_a_message_that_makes_the_broker_hang_up_holds_up_no_other(
    settings: Settings,
    png: Encoded,
    tmp_path: Path,
    until: Until,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    if not MOSQUITTO.is_file():
        pytest.skip(f"no {MOSQUITTO}")
    monkeypatch.setattr("nfbmr.station.outputs.mqtt._SECONDS", 0.5)
    for module in ("inspection.courier", "station.outputs.mqtt"):
        monkeypatch.setattr(f"nfbmr.{module}._LONGEST_PAUSE", 0.2)
    broker = Broker(tmp_path, "allow_anonymous true")
    with Station(settings(mqtt=f"mqtt://127.0.0.1:{broker.port}/t")) as station:
        client = TestClient(create_app(station), base_url="http://127.0.0.1")
        large: dict[str, Any] = {
            "files": ("x" * 250, png(1, defect=True)),
            "part_id": (None, "y" * 200),
        }
        assert client.post(INSPECT, files=large).status_code == 200
        send(station, png(1, defect=True))
        first, second = (len(one.body) for one in station.outputs.waiting("mqtt"))
        assert first > second + 400
        with broker.configuration.open("a") as more:
            more.write(f"\nmax_packet_size {second + 200}\n")
        broker.start()
        until(lambda: station.outputs.states()[0].delivered_at is not None)
        (left,) = station.outputs.waiting("mqtt")
        assert len(left.body) == first
    broker.end()


def test_by_tls_with_a_password(
    settings: Settings, png: Encoded, tmp_path: Path, until: Until
) -> None:
    if not (MOSQUITTO.is_file() and shutil.which("mosquitto_passwd") and shutil.which("openssl")):
        pytest.skip("mosquitto, mosquitto_passwd and openssl are not all there")
    key, certificate, users = tmp_path / "key", tmp_path / "certificate", tmp_path / "users"
    words = ["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=localhost"]
    words += ["-addext", "subjectAltName=DNS:localhost", "-keyout", str(key)]
    subprocess.run(
        ["openssl", *words, "-out", str(certificate)], check=True, capture_output=True, timeout=60
    )
    users.touch(0o600)
    password = ["mosquitto_passwd", "-b", str(users), "line", "a:b"]
    subprocess.run(password, check=True, capture_output=True, timeout=60)
    login = tmp_path / "login"
    lines = (f"certfile {certificate}", f"keyfile {key}", f"password_file {users}")
    broker = Broker(tmp_path, "allow_anonymous false", *lines)
    broker.start()
    made = settings(
        mqtt=f"mqtts://localhost:{broker.port}/t", mqtt_login=login, mqtt_ca=certificate
    )
    try:
        login.write_text("line:wrong\n")
        with Station(made) as station:
            send(station, png(1, defect=True))
            until(lambda: "ot authori" in station.outputs.states()[0].error)
            assert station.outputs.states()[0].waiting == 1
        login.write_text("line:a:b\n")
        with Station(made) as station:
            until(lambda: station.outputs.states()[0].waiting == 0)
            assert station.outputs.states()[0].address == f"mqtts://localhost:{broker.port}/t"
    finally:
        broker.end()


@pytest.mark.parametrize(
    "address",
    ["http://h/t", "mqtt://h", "mqtt://h/", "mqtt:///t", "h/t", "mqtt://h/a/+/b", "mqtt://h:x/t"],
)
def test_other_addresses_are_refused(address: str) -> None:
    with pytest.raises(SettingsError, match="mqtt://HOST/TOPIC or mqtts://HOST/TOPIC"):
        broker_of(address)


def test_a_password_comes_from_a_file_or_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(SettingsError, match="--mqtt-login") as caught:
        broker_of("mqtt://u:hidden@h/t")
    assert "hidden" not in str(caught.value)
    assert broker_of("mqtt://h/t").login is None
    monkeypatch.setenv(LOGIN, "u:p:q")
    assert broker_of("mqtt://h/t/").login == ("u", "p:q")
    (tmp_path / "login").write_text("u:other\n")
    found = broker_of("mqtt://[::1]/a/b", tmp_path / "login")
    assert (found.login, found.port, found.address) == (
        ("u", "other"),
        1883,
        "mqtt://[::1]:1883/a/b",
    )
    (tmp_path / "login").write_text("u\n")
    with pytest.raises(SettingsError, match="one line USER:PASSWORD"):
        broker_of("mqtt://h/t", tmp_path / "login")
    with pytest.raises(SettingsError, match="cannot be read"):
        broker_of("mqtt://h/t", tmp_path / "none")


def test_certificates_are_for_tls_alone(tmp_path: Path) -> None:
    (tmp_path / "ca").write_text("none")
    with pytest.raises(SettingsError, match="no certificates"):
        broker_of("mqtts://h/t", None, tmp_path / "ca")
    with pytest.raises(SettingsError, match="has no TLS"):
        broker_of("mqtt://h/t", None, tmp_path / "ca")
    found = broker_of("mqtts://h/t").tls
    assert found is not None
    assert found.verify_mode == ssl.CERT_REQUIRED
    assert found.check_hostname
