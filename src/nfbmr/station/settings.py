"""What a station is started with; each setting is described in docs/station.md, too."""

from __future__ import annotations

import ipaddress
import math
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, Literal, get_args

from nfbmr.errors import SettingsError

MEGABYTE = 10**6
GIGABYTE = 10**9

Tells = Literal["defect", "all"]

MAY_BE_SECRET = frozenset({"database", "camera", "webhook", "webhook_secret", "mqtt"})
"""Settings whose words a record is no place for."""


@dataclass(frozen=True, kw_only=True)
class StationSettings:
    """The station's settings; checked where it is made."""

    models: tuple[Path, ...] = ()
    """Model directories; each is called by its folder's name."""
    folder: Path | None = None
    """A folder of model directories, looked at again while the station runs."""
    host: str = "127.0.0.1"
    """Where it listens. Beyond this machine's own addresses tokens are demanded."""
    port: int = 8000
    """Likewise; 0 takes a free one."""
    database: str = "sqlite:///station.db"
    """SQLite's file, or the address of a PostgreSQL database."""
    pictures: Path = Path("station-pictures")
    """A folder for inspected pictures, under names of the station's own."""
    learning: Path | None = None
    """A folder for products that are learnt on the page; None: `learning` in `pictures`."""
    learning_gigabytes: float = 20.0
    """Of good pictures to learn from, all products together; what comes beyond is refused."""
    learning_days: float | None = None
    """After which a product goes, at a start, that is not learnt and that nobody did anything for.
    None: whatever its age."""
    token_file: Path | None = None
    """Who may do what; written by `nfbmr token`."""
    runtime: str = "auto"
    """What computes the models, as for `nfbmr inspect`."""
    waiting: int = 64
    """Pictures that may be in work at once; what comes beyond is told to come again."""
    waiting_megabytes: float = 1024.0
    """Of all requests that are in work."""
    batch: int = 8
    """Pictures that pass the network at once, at most."""
    most_pictures: int = 64
    """Pictures in one request."""
    most_megabytes: float = 64.0
    """Of a request's body."""
    most_megapixels: float = 100.0
    """Of a picture."""
    seconds: float = 30.0
    """From the first byte of a request to its answer."""
    keep_days: float | None = None
    """Older pictures are deleted; their rows stay. None: whatever their age."""
    keep_gigabytes: float = 50.0
    """Of pictures; beyond it the oldest good ones that nobody reviewed go first."""
    watch: tuple[str, ...] = ()
    """`MODEL=FOLDER`: pictures that come into the folder are judged by the model."""
    watch_move: bool = False
    """Whether those are moved into good/, look/, defect/ or error/ in their folder."""
    camera: tuple[str, ...] = field(default=(), repr=False)
    """`MODEL=NUMBER` or `MODEL=ADDRESS`: a camera whose pictures are judged by the model."""
    camera_every: float = 1.0
    """Seconds from one picture of a camera to the next."""
    webhook: str | None = field(default=None, repr=False)
    """An http or https address that is told of inspections; user and password may stand in it."""
    webhook_file: Path | None = None
    """A file with that address, as the words of a command are no secret."""
    webhook_secret: str | None = field(default=None, repr=False)
    """Shared with its receiver; signs what is sent."""
    webhook_secret_file: Path | None = None
    """A file with that secret."""
    mqtt: str | None = None
    """`mqtt://HOST/TOPIC` or, by TLS, `mqtts://HOST/TOPIC`: a broker that is told."""
    mqtt_login: Path | None = None
    """A file with `USER:PASSWORD` for it; else the environment's `NFBMR_MQTT_LOGIN`."""
    mqtt_ca: Path | None = None
    """Certificates that its TLS is checked by, instead of the system's."""
    outputs: Tells = "defect"
    """Which inspections are told: defects, or all."""
    outbox_most: int = 100_000
    """Messages that may wait for an output; beyond it the oldest are given up."""
    outbox_days: float = 7.0
    """For which they may wait."""
    keep_versions_gigabytes: float = 10.0
    """Of models that were on the line before, to put them back; what is there is kept besides."""

    def __post_init__(self) -> None:
        """Checks ranges.

        Raises:
            SettingsError: one is out of range.
        """
        least = {
            "waiting": 1,
            "batch": 1,
            "most_pictures": 1,
            "waiting_megabytes": 0.001,
            "most_megabytes": 0.001,
            "most_megapixels": 0.0001,
            "seconds": 0.01,
            "keep_gigabytes": 0.0,
            "camera_every": 0.0,
            "outbox_most": 1,
            "outbox_days": 0.001,
            "keep_versions_gigabytes": 0.0,
            "learning_gigabytes": 0.0,
        }
        for name, smallest in least.items():
            if not getattr(self, name) >= smallest:
                raise SettingsError(f"{name} {getattr(self, name)}: at least {smallest} is needed")
        for name in ("keep_days", "learning_days"):
            days = getattr(self, name)
            if days is not None and not days > 0:
                raise SettingsError(f"{name} {days}: a number above 0 was expected")
        if not 0 <= self.port <= 65535:
            raise SettingsError(f"port {self.port}: 0 to 65535 was expected")
        for name in ("webhook", "webhook_secret"):
            if getattr(self, name) is not None and getattr(self, f"{name}_file") is not None:
                raise SettingsError(
                    f"{name} and {name}_file: found both, one was expected; leave one out, also in "
                    f"the environment (NFBMR_{name.upper()})"
                )
        if self.outputs not in get_args(Tells):
            raise SettingsError(
                f"outputs {self.outputs}: {' or '.join(get_args(Tells))} was expected"
            )

    def said(self) -> dict[str, Any]:
        """Returns what an event says of them: all but what may hold a secret; paths are whole."""
        return {
            one.name: _plain(getattr(self, one.name))
            for one in fields(self)
            if one.name not in MAY_BE_SECRET
        }

    @property
    def learning_folder(self) -> Path:
        """Where products are learnt."""
        return self.pictures / "learning" if self.learning is None else self.learning

    @property
    def line_folder(self) -> Path:
        """Where models go that are put on the line."""
        return self.learning_folder / "models" if self.folder is None else self.folder

    @property
    def local(self) -> bool:
        """Whether only this machine reaches the station."""
        return is_local(self.host)


def _plain(value: object) -> object:
    """Returns a setting as JSON has it."""
    if isinstance(value, tuple):
        return [_plain(one) for one in value]
    if isinstance(value, Path):
        return str(value.absolute())
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    return value


def is_local(host: str) -> bool:
    """Whether a host's name or address is this machine's own, by what it says of itself."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False
