"""What lies in `examples/station`: programs run against a station, files hold what they say."""

from __future__ import annotations

import json
import os
import re
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
import yaml

from nfbmr.benchmark.served import served
from nfbmr.station.app import create_app
from nfbmr.station.auth import new_token
from nfbmr.station.settings import StationSettings
from nfbmr.station.station import Station

EXAMPLES = Path(__file__).parents[2] / "examples" / "station"
Settings = Callable[..., StationSettings]
Encoded = Callable[..., bytes]


@pytest.fixture
def surroundings(settings: Settings, tmp_path: Path) -> Iterator[dict[str, str]]:
    """The environment of a program that knows a live station and its token."""
    import uvicorn

    secret = new_token(tmp_path / "tokens", "line-1", "inspect")
    place = socket.create_server(("127.0.0.1", 0))
    with place, Station(settings(token_file=tmp_path / "tokens")) as station:
        server = uvicorn.Server(uvicorn.Config(create_app(station), log_config=None))
        thread = Thread(target=server.run, kwargs={"sockets": [place]})
        thread.start()
        address = f"http://127.0.0.1:{place.getsockname()[1]}"
        yield os.environ | {"STATION": address, "TOKEN": secret, "MODEL": "fitted"}
        station.live.ending = server.should_exit = True
        thread.join()


def run(
    surroundings: dict[str, str], *words: object, sound: bool = True
) -> subprocess.CompletedProcess[str]:
    result = subprocess.run(
        [str(word) for word in words], env=surroundings, capture_output=True, text=True, timeout=60
    )
    assert (result.returncode == 0) == sound, result.stderr
    return result


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")
def test_curl_sends_pictures(surroundings: dict[str, str], png: Encoded, tmp_path: Path) -> None:
    good, defect = tmp_path / "A 17.png", tmp_path / "A-18.png"
    good.write_bytes(png(1))
    defect.write_bytes(png(2, defect=True))
    said = run(surroundings, EXAMPLES / "send.sh", good, defect).stdout.splitlines()
    rows = [json.loads(line)["inspections"][0] for line in said]
    assert [row["part_id"] for row in rows] == ["A 17", "A-18"]
    assert rows[1]["verdict"] == "defect"
    assert rows[0]["actor"] == "line-1"
    refused = run(surroundings | {"TOKEN": "another"}, EXAMPLES / "send.sh", good, sound=False)
    assert "no such token" in refused.stdout
    nameless = {name: value for name, value in surroundings.items() if name != "MODEL"}
    assert "say which model" in run(nameless, EXAMPLES / "send.sh", good, sound=False).stderr


def test_ten_lines_of_python_send_a_picture(
    surroundings: dict[str, str], png: Encoded, tmp_path: Path
) -> None:
    picture = tmp_path / "A-18.png"
    picture.write_bytes(png(2, defect=True))
    result = run(surroundings, sys.executable, EXAMPLES / "send.py", "fitted", picture)
    assert re.fullmatch(r"A-18 defect score [\d.]+, no\. 1\n", result.stdout)


def options_in(words: list[str]) -> set[str]:
    return {word for word in words if word.startswith("--")}


def known_options() -> set[str]:
    from nfbmr.cli.serve import serve

    names = set(serve.__annotations__) - {"return", "models", "folder"}
    return {f"--{name.replace('_', '-')}" for name in names} | {"--models"}


def instructions() -> dict[str, list[str]]:
    """The Dockerfile's instructions with what each is given; lines that go on are joined."""
    text = re.sub(r"^#.*\n", "", (EXAMPLES / "Dockerfile").read_text("utf-8"), flags=re.M)
    found: dict[str, list[str]] = {}
    for line in text.replace("\\\n", " ").splitlines():
        name, _, rest = line.strip().partition(" ")
        if name:
            found.setdefault(name, []).append(rest.strip())
    return found


def test_the_image_runs_a_station_without_rights() -> None:
    found = instructions()
    assert set(found) <= {
        *("FROM", "WORKDIR", "COPY", "RUN", "ENV", "USER", "VOLUME", "EXPOSE"),
        *("HEALTHCHECK", "ENTRYPOINT", "CMD"),
    }
    assert found["USER"] == ["10001:10001"]
    assert json.loads(found["ENTRYPOINT"][0]) == ["nfbmr", "serve"]
    given = json.loads(found["CMD"][0])
    assert options_in(given) <= known_options()
    assert given[given.index("--host") + 1] == "0.0.0.0"
    check = json.loads(found["HEALTHCHECK"][0].partition(" CMD ")[2])
    compile(check[-1], "the health check", "exec")
    assert "/readyz" in check[-1]
    root = EXAMPLES.parents[1]
    for copied in found["COPY"]:
        *sources, _ = copied.split()
        if not sources[0].startswith("--from="):
            assert all((root / source).exists() for source in sources)
    assert "torch" not in " ".join(found["RUN"])


def test_the_composed_station_writes_to_its_data_alone() -> None:
    found = yaml.safe_load((EXAMPLES / "compose.yaml").read_text("utf-8"))
    station: dict[str, Any] = found["services"]["station"]
    assert station["read_only"] is True
    assert station["cap_drop"] == ["ALL"]
    assert station["security_opt"] == ["no-new-privileges:true"]
    assert station["ports"] == ["127.0.0.1:8000:8000"]
    assert [station["user"]] == instructions()["USER"]
    assert {one.partition(":")[2] for one in station["volumes"]} == {"/models", "/data"}
    assert set(station["secrets"]) == set(found["secrets"])
    place = EXAMPLES / station["build"]["context"] / station["build"]["dockerfile"]
    assert place.resolve() == EXAMPLES / "Dockerfile"


def unit() -> str:
    return (EXAMPLES / "nfbmr-station.service").read_text("utf-8")


def test_the_service_starts_a_station() -> None:
    (command,) = re.findall(r"^ExecStart=(.*)$", unit(), re.M)
    program, name, *words = command.split()
    assert (Path(program).name, name) == ("nfbmr", "serve")
    assert options_in(words) <= known_options()


def test_a_stop_is_no_failure_of_the_service(tmp_path: Path) -> None:
    words = ["--database", f"sqlite:///{tmp_path / 's.db'}", "--pictures", f"{tmp_path / 'p'}"]
    with served(None, *words) as station:
        pass  # it is told to stop as systemd does it
    (success,) = re.findall(r"^SuccessExitStatus=(.*)$", unit(), re.M)
    assert station.process.returncode == int(success)


@pytest.mark.skipif(
    shutil.which("systemd-analyze") is None, reason="systemd-analyze is not installed"
)
def test_the_service_is_one_of_systemd_and_hardened(tmp_path: Path) -> None:
    service = tmp_path / "nfbmr-station.service"
    service.write_text(unit().replace("/opt/nfbmr/bin/nfbmr", sys.executable), "utf-8")
    analyze = ["systemd-analyze", "--man=no", "verify", str(service)]
    result = subprocess.run(analyze, capture_output=True, text=True, timeout=60)
    assert (result.returncode, result.stderr) == (0, "")
    worst = ["--offline=true", "--threshold=20", "security", str(service)]  # 2.0 of 10
    exposed = subprocess.run(["systemd-analyze", *worst], capture_output=True, timeout=60)
    assert exposed.returncode == 0, exposed.stdout.decode()[-200:]
