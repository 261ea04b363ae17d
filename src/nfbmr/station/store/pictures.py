"""Inspected pictures on the disk, under names of the station's own: nothing that a request says.

YEAR/MONTH/DAY/32 random digits.ENDING      e.g. 2026/11/26/0f3a....jpg
"""

from __future__ import annotations

import logging
import re
import time
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

from nfbmr.errors import StationError
from nfbmr.system.files import flush_file, flush_folder, written_beside

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
_DAYS_SWEPT = 3
_YOUNG_SECONDS = 3600.0  # a file whose row may still come


class Pictures:
    """The folder of kept pictures."""

    def __init__(self, folder: Path) -> None:
        """Makes the folder.

        Raises:
            StationError: it cannot be made.
        """
        self.folder = folder
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise StationError(
                f"{folder}: no folder for pictures can be made ({error.strerror})"
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
            with written_beside(path) as beside:
                beside.write_bytes(data)
                flush_file(beside)
            flush_folder(path.parent)
        except OSError as error:
            raise StationError(
                f"the picture cannot be kept ({error.strerror}); free space on the disk of "
                f"{self.folder}, or check its permissions"
            ) from None
        return name

    def read(self, name: str) -> bytes | None:
        """Returns a kept picture's file; None where it is gone."""
        try:
            return self._path(name).read_bytes()
        except OSError:
            return None

    def delete(self, name: str) -> None:
        """Deletes a kept picture, if it is there."""
        try:
            self._path(name).unlink(missing_ok=True)
        except OSError as error:
            _log.warning("%s is not deleted: %s", name, error.strerror)

    def recent(self) -> Iterator[str]:
        """Yields the names of pictures of the last days that are old enough to have a row."""
        today, now = datetime.now(UTC), time.time()
        for back in range(_DAYS_SWEPT):
            day = (today - timedelta(days=back)).strftime("%Y/%m/%d")
            for path in sorted((self.folder / day).glob("*.*")):
                name = f"{day}/{path.name}"
                if _NAME.fullmatch(name) and now - path.stat().st_mtime > _YOUNG_SECONDS:
                    yield name

    def _path(self, name: str) -> Path:
        assert _NAME.fullmatch(name), name
        return self.folder / name
