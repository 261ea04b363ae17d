"""Inspected pictures on the disk, under names of the station's own: nothing that a request says.

YEAR/MONTH/DAY/32 random digits.ENDING      e.g. 2026/11/26/0f3a....jpg
"""

from __future__ import annotations

import logging
import re
import threading
import time
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryFile

from nfbmr.errors import StationError
from nfbmr.system.files import flushed_beside, made_folder

_log = logging.getLogger(__name__)

ENDINGS = {"JPEG": "jpg", "PNG": "png", "BMP": "bmp", "TIFF": "tif", "WEBP": "webp"}
"""Pillow's names of the formats that are taken, and their files' endings."""

MEDIA = {
    "jpg": "image/jpeg",
    "png": "image/png",
    "bmp": "image/bmp",
    "tif": "image/tiff",
    "webp": "image/webp",
}

_NAME = re.compile(rf"\d{{4}}/\d\d/\d\d/[0-9a-f]{{32}}\.({'|'.join(ENDINGS.values())})")
_DAYS = "[0-9][0-9][0-9][0-9]/[0-9][0-9]/[0-9][0-9]"
_YOUNG_SECONDS = 3600.0  # a file whose row may still come


class Pictures:
    """The folder of kept pictures."""

    def __init__(self, folder: Path) -> None:
        """Makes the folder.

        Raises:
            StationError: it cannot be made.
        """
        self.folder = folder
        self._making = threading.Lock()  # nobody writes to a folder before its name is kept
        try:
            made_folder(folder, 0o700)
        except OSError as error:
            raise StationError(
                f"{folder}: no folder for pictures can be made ({error.strerror}); name another "
                "with --pictures, or give this user the right to it"
            ) from None

    def refuse_unwritable(self) -> None:
        """Says at a start that no picture can be kept.

        Raises:
            StationError: the folder is not to be written.
        """
        try:
            with TemporaryFile(dir=self.folder):
                pass
        except OSError as error:
            raise StationError(
                f"{self.folder}: no pictures can be kept there ({error.strerror}); name another "
                "folder with --pictures, or give this user the right to it"
            ) from None

    def keep(self, data: bytes, form: str) -> str:
        """Brings a picture to the disk; returns its name below the folder.

        Raises:
            StationError: it cannot be written.
        """
        day = datetime.now(UTC).strftime("%Y/%m/%d")
        name = f"{day}/{uuid.uuid4().hex}.{ENDINGS[form]}"
        path = self._path(name)
        try:
            with self._making:
                made_folder(path.parent, 0o700)
            write_picture(path, data)
        except OSError as error:
            raise StationError(
                f"the picture cannot be kept ({error.strerror}); free space on the disk of "
                f"{self.folder}, or check its permissions"
            ) from None
        return name

    def read(self, name: str) -> bytes | None:
        """Returns a kept picture's file; None where it is gone.

        Raises:
            StationError: it is no name of a picture.
        """
        try:
            return self._path(name).read_bytes()
        except OSError:
            return None

    def delete(self, name: str) -> None:
        """Deletes a kept picture, if it is there.

        Raises:
            StationError: it is no name of a picture.
        """
        try:
            self._path(name).unlink(missing_ok=True)
        except OSError as error:
            _log.warning("%s is not deleted: %s", name, error.strerror)

    def names(self) -> Iterator[str]:
        """Yields the names of all pictures."""
        for day in self._days():
            for path in sorted(day.glob("*.*")):
                name = path.relative_to(self.folder).as_posix()
                if _NAME.fullmatch(name):
                    yield name

    def settled(self) -> Iterator[str]:
        """Yields the names of all pictures that are old enough to have a row."""
        return (name for name in self.names() if _is_settled(self.folder / name))

    def delete_halves(self) -> int:
        """Deletes pictures whose writing was cut off; returns how many."""
        deleted = 0
        for day in self._days():
            for path in day.glob(".*.part"):
                if _is_settled(path):
                    path.unlink(missing_ok=True)
                    deleted += 1
        return deleted

    def _days(self) -> list[Path]:
        return sorted(self.folder.glob(_DAYS))

    def _path(self, name: str) -> Path:
        if not _NAME.fullmatch(name):
            raise StationError(f"{name!r} is no name of a kept picture; the record was damaged")
        return self.folder / name


def write_picture(path: Path, data: bytes) -> None:
    """Brings a picture to the disk, whole or not at all, for the station's user alone.

    Raises:
        OSError: it cannot be written.
    """
    with flushed_beside(path, 0o600) as beside:
        beside.write_bytes(data)


def _is_settled(path: Path) -> bool:
    try:
        return time.time() - path.stat().st_mtime > _YOUNG_SECONDS
    except OSError:  # gone meanwhile
        return False
