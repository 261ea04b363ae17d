"""Products that are learnt here: named, given good pictures, started, stopped, put on the line."""

from __future__ import annotations

import asyncio
import hashlib
import logging
import shutil
import threading
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

from nfbmr.data.survey import look
from nfbmr.errors import ImageError, NfbmrError, SettingsError, StationError
from nfbmr.learning.plan import FEWEST_IMAGES
from nfbmr.model.copies import copy_model
from nfbmr.station.audit import now
from nfbmr.station.engine.pool import Loaded, Pool
from nfbmr.station.services import placed
from nfbmr.station.services.judge import LONGEST_NAME, PictureError, form_of
from nfbmr.station.services.learner import Learner
from nfbmr.station.settings import GIGABYTE, StationSettings
from nfbmr.station.store import learnings
from nfbmr.station.store.database import Store
from nfbmr.station.store.learnings import (
    AT_REST,
    Brought,
    GoodPicture,
    Learning,
    NotNowError,
)
from nfbmr.station.store.pictures import ENDINGS, write_picture
from nfbmr.station.worker.place import Place
from nfbmr.system.files import made_folder, printable
from nfbmr.system.packages import TO_LEARN, how_to_install, lacking
from nfbmr.system.words import counted

_log = logging.getLogger(__name__)

Preset = Literal["fast", "accurate"]
PRESETS: tuple[Preset, ...] = get_args(Preset)

FEWEST = FEWEST_IMAGES
"""Pictures without which nothing can be learnt."""
WANTED = 25
"""Pictures that people are asked for, at least."""
MOST_PICTURES = 5000
"""Of a product."""

_AT_ONCE = 2  # pictures that are decoded at the same time: each needs its full size in memory


@dataclass(frozen=True, kw_only=True)
class Shown:
    """A learning with its pictures and its place among those that wait."""

    learning: Learning
    pictures: list[GoodPicture]
    before: int
    """Learnings that come first, while it waits."""
    on_line: bool = False
    """Whether what was learnt is on the line now, with whatever calibration."""

    @property
    def startable(self) -> bool:
        """Whether it may be started as it is."""
        return self.learning.state in AT_REST and len(self.pictures) >= FEWEST


class Learn:
    """What page and API call."""

    def __init__(
        self, settings: StationSettings, store: Store, pool: Pool, learner: Learner
    ) -> None:
        """Joins what it needs."""
        self._settings, self._store, self._pool = settings, store, pool
        self._learner = learner
        self._turns = asyncio.Semaphore(_AT_ONCE)
        self._placing = threading.Lock()

    @staticmethod
    def trouble() -> str | None:
        """Says why this machine cannot learn at all; None where it can."""
        without = lacking(*TO_LEARN)
        if not without:
            return None
        return (
            f"This machine does not learn, for {', '.join(without)} is not installed; to learn "
            f"here, {how_to_install('train')}, then start the station again"
        )

    def everything(self) -> list[tuple[Learning, int]]:
        """Returns the newest learnings, the newest first, with how many pictures each has."""
        return self._store.read(learnings.everything)

    def get(self, number: int) -> Learning:
        """Returns one of them without its pictures.

        Raises:
            NoSuchLearningError: there is none of this number.
        """
        return self._store.read(learnings.learning, number)

    def shown(self, number: int) -> Shown:
        """Returns one of them, with what is known of its pictures.

        Raises:
            NoSuchLearningError: there is none of this number.
        """
        found = self.get(number)
        pictures = self._store.read(learnings.pictures, number)
        before = 0
        if found.state == "waiting":
            line = [one.id for one in self._store.read(learnings.waiting)]
            ahead = line.index(number) if number in line else 0
            before = ahead + (self._store.read(learnings.at_work) is not None)
        on_line = self.is_on_line(found)
        return Shown(learning=found, pictures=pictures, before=before, on_line=on_line)

    def create(self, name: str, preset: str, actor: str) -> Learning:
        """Writes down a product, by a name that a model on the line may have.

        Raises:
            NotNowError: a model of this name was given when the station was started.
            StationError: there is no room for it.
        """
        self._refuse_given(name)
        made = self._store.write(learnings.create, uuid.uuid4().hex, name, preset, actor).result()
        self._learner.wake()
        return made

    def _refuse_given(self, name: str) -> None:
        if self._pool.was_given(name):
            raise NotNowError(
                f"the model '{name}' was given when the station was started, so none from here can "
                "take its place; choose another name"
            )

    async def add(self, number: int, name: str, data: bytes, actor: str) -> GoodPicture:
        """Keeps a good picture, once it is known that it can be read.

        Raises:
            PictureError: it cannot be, or is there already.
            NoSuchLearningError: there is no such learning.
            NotNowError: it is being learnt, or has as many as may be.
            NoRoomError: all products together have as much as may be.
        """
        async with self._turns:
            return await asyncio.to_thread(self._added, number, name, data, actor)

    def _added(self, number: int, name: str, data: bytes, actor: str) -> GoodPicture:
        form = form_of(data, self._settings.most_megapixels)
        shown = printable(name).strip()[:LONGEST_NAME] or "picture"
        try:
            seen = look(data, shown)
        except ImageError as error:
            raise PictureError(str(error)) from None
        found = self._store.read(learnings.learning, number)
        brought = Brought(
            file=f"{uuid.uuid4().hex}.{ENDINGS[form]}",
            name=shown,
            picture=seen.fingerprint,
            pixels=seen.pixel_hash,
            bytes=len(data),
            height=seen.size[0],
            width=seen.size[1],
            actor=actor,
        )
        path = self.place(found).pictures / brought.file
        try:
            made_folder(path.parent, 0o700)
            write_picture(path, data)
            most_bytes = int(self._settings.learning_gigabytes * GIGABYTE)
            kept = self._store.write(
                learnings.add_picture, number, brought, MOST_PICTURES, most_bytes
            ).result()
        except BaseException:
            path.unlink(missing_ok=True)
            raise
        if isinstance(kept, str):
            path.unlink(missing_ok=True)
            raise PictureError(f"it shows the same as '{kept}', which is there already")
        return kept

    def place(self, found: Learning) -> Place:
        """Returns the files of a learning."""
        return Place(self._settings.learning_folder / found.folder)

    def read(self, found: Learning, picture: GoodPicture) -> bytes | None:
        """Returns a picture's file; None where it is gone."""
        try:
            return (self.place(found).pictures / picture.file).read_bytes()
        except OSError:
            return None

    def heat(self, number: int, which: int) -> bytes | None:
        """Returns a picture's heatmap as it is kept."""
        return self._store.read(learnings.heat, number, which)

    def picture(self, number: int, which: int) -> tuple[Learning, GoodPicture]:
        """Returns a picture with its learning.

        Raises:
            NoSuchLearningError: there is none.
        """
        found = self._store.read(learnings.learning, number)
        return found, self._store.read(learnings.picture, number, which)

    def drop(self, number: int, which: int, actor: str) -> None:
        """Takes a picture out, with an event.

        Raises:
            NoSuchLearningError: there is none.
            NotNowError: it is being learnt.
        """
        found = self._store.read(learnings.learning, number)
        gone = self._store.write(learnings.drop_picture, number, which, actor).result()
        (self.place(found).pictures / gone.file).unlink(missing_ok=True)

    def remove(self, number: int, actor: str) -> None:
        """Deletes a learning with its pictures; what was put on the line stays there.

        Raises:
            NoSuchLearningError: there is none.
            NotNowError: it is being learnt.
            OSError: files cannot be deleted; the learning is gone all the same.
        """
        found = self._store.read(learnings.learning, number)
        self._store.write(learnings.remove, number, actor).result()  # decides, before files go
        if self.place(found).folder.exists():
            shutil.rmtree(self.place(found).folder)

    def start(self, number: int, actor: str) -> Learning:
        """Has it learnt when its turn comes.

        Raises:
            NoSuchLearningError: there is none.
            NotNowError: it is being learnt, has too few pictures, or this machine cannot learn.
        """
        trouble = self.trouble()
        if trouble is not None:
            raise NotNowError(trouble)
        found = self.get(number)
        pictures = self._store.read(learnings.pictures, number)
        if len(pictures) < FEWEST:
            raise NotNowError(
                f"{counted(len(pictures), 'good picture')}; at least {FEWEST} are needed, and "
                f"{WANTED} or more are better. Add some, of different good parts"
            )
        change = learnings.change_of(
            found,
            "waiting",
            actor,
            pictures=len(pictures),
            pictures_sha256=_digest(pictures),
            preset=found.preset,
        )
        asked = self._store.write(
            learnings.move,
            number,
            AT_REST,
            "waiting",
            change,
            asked=now(),
            starts=0,
            trouble="",
            progress=None,
            result=None,
            placed=None,
        ).result()
        self._learner.wake()
        return asked

    def cancel(self, number: int, actor: str) -> Learning:
        """Stops it, or takes it out of those that wait; what was learnt so far is thrown away.

        Raises:
            NoSuchLearningError: there is none.
            NotNowError: it is neither learnt now nor waiting.
        """
        found = self._store.read(learnings.learning, number)
        change = learnings.change_of(found, "cancelled", actor)
        if found.state == "waiting":
            try:
                return self._store.write(
                    learnings.move, number, ("waiting",), "cancelled", change
                ).result()
            except NotNowError:  # its turn came this very moment
                pass
        stopping = self._store.write(
            learnings.move, number, ("learning",), "stopping", change
        ).result()
        self._learner.wake()
        return stopping

    def learnt(self, number: int) -> tuple[Learning, Path]:
        """Returns what was learnt, with the directory of its model.

        Raises:
            NoSuchLearningError: there is none of this number.
            NotNowError: nothing is learnt.
        """
        found = self.get(number)
        learnings.refuse_others(found, ("learnt",))
        return found, self.place(found).model(found.name)

    def put_on_line(self, number: int, actor: str, reason: str = "") -> Loaded:
        """Puts what was learnt on the line, instead of the model of this name that may be there.

        Args:
            number: of the learning.
            actor: who asks.
            reason: and why; demanded where a model gives way.

        Raises:
            NoSuchLearningError: there is none.
            SettingsError: a model gives way, and there is no reason.
            NotNowError: nothing is learnt, or the name is of a model given at the start.
            BundleError: it is damaged, or cannot be written to the folder of models, or loaded.
            StationError: the database takes nothing.
        """
        with self._placing:
            found, model = self.learnt(number)
            self._refuse_given(found.name)
            if not reason and self._pool.get(found.name) is not None:
                raise SettingsError(
                    f"a model '{found.name}' is on the line and would give way: a reason was "
                    "expected; compare both, then say why"
                )
            names = placed.names_of(model)
            bundles = list(names.bundles)
            change = learnings.change_of(found, placed.ON_LINE, actor, reason, bundles=bundles)
            result = (found.result or {}) | {placed.FIT: names.fit}
            self._store.write(
                learnings.move, number, ("learnt",), "learnt", change, placed=now(), result=result
            ).result()
            try:
                copy_model(model, self._settings.line_folder / found.name, names.identity)
                return self._pool.reload(found.name)
            except BaseException as error:
                self._take_back(found, error)
                raise

    def is_on_line(self, found: Learning) -> bool:
        """Whether what was learnt is on the line now, with whatever calibration."""
        there = self._pool.get(found.name)
        if found.placed is None or there is None:
            return False
        return placed.fit_hash(there.inspector.identity) == (found.result or {}).get(placed.FIT)

    def reconcile(self) -> None:
        """Takes back in the record what a kill kept from the line; to be called at a start.

        Raises:
            StationError: the database does not answer.
        """
        placed.reconcile(
            self._store, self._settings.line_folder, lambda one: self.place(one).model(one.name)
        )

    def _take_back(self, found: Learning, error: BaseException) -> None:
        """Records that a model did not come on the line."""
        why = str(error) if isinstance(error, NfbmrError | OSError) else type(error).__name__
        try:
            placed.take_back(self._store, found, why)
        except StationError:
            _log.exception("%s did not come on the line, and the record cannot say so", found.name)


def _digest(pictures: Sequence[GoodPicture]) -> str:
    """Names a set of pictures: sha256 of their files' hashes, sorted, one a line."""
    text = "".join(f"{one}\n" for one in sorted(one.picture for one in pictures))
    return hashlib.sha256(text.encode()).hexdigest()


def made_line_folder(settings: StationSettings) -> Path:
    """Returns the folder of models, made where it is the station's own.

    Raises:
        StationError: it cannot be made.
    """
    folder = settings.line_folder
    if settings.folder is None:
        try:
            made_folder(folder, 0o700)
        except OSError as error:
            raise StationError(
                f"{folder}: no folder for models can be made ({error.strerror}); name another with "
                "--learning, or give this user the right to it"
            ) from None
    return folder
