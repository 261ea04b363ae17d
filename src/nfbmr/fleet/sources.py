"""Where an archive's pictures are: folders, globs, lists of paths, here or in object stores.

All is read as a stream: of a folder the names in it are held, of a list a few thousand rows.
"""

from __future__ import annotations

import csv
import io
import logging
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from functools import cache
from pathlib import Path
from typing import Any

from nfbmr.data.derived import DERIVED, derived_of_others
from nfbmr.data.folders import is_hidden, is_picture, walk_pictures
from nfbmr.errors import DataError, MissingExtraError
from nfbmr.fleet.overlap import refuse_overlap
from nfbmr.fleet.words import base_of, is_glob, is_stored, matcher, scheme_of
from nfbmr.system.files import printable
from nfbmr.system.packages import how_to_install

_log = logging.getLogger(__name__)

LISTS = (".txt", ".csv", ".tsv", ".parquet")
"""Endings of lists of paths."""

_ROWS = 4096  # of a Parquet list that are held at once


def pictures_of(sources: Sequence[str], firsts: list[str] | None = None) -> Iterator[str]:
    """Yields the pictures of all sources: absolute paths, and addresses in stores.

    Args:
        sources: each a picture, a folder, a glob (`*`, `?`, `[abc]`, and `**` for any folders), or
            a list of paths: text with one a line, or a table with a column `path` (CSV, TSV,
            Parquet). What a list names relatively lies beside it. Each may be in a store.
        firsts: gets the first picture of each source.

    Raises:
        DataError: one does not exist, holds no picture, or two hold the same ones.
    """
    refuse_overlap(sources)
    for word in sources:
        found = False
        for picture in _of_store(word) if is_stored(word) else _of_disk(word):
            if not found and firsts is not None:
                firsts.append(picture)
            found = True
            yield picture
        if not found:
            raise DataError(f"{word} holds no pictures; give pictures, or a folder with some")


def folders_of(sources: Sequence[str]) -> list[Path]:
    """Returns the folders and files on disks that the sources name, as absolute paths."""
    words = [word for word in sources if not is_stored(word)]
    paths = [Path(base_of(word)[0] if is_glob(word) else word).absolute() for word in words]
    return [path for path in paths if path.suffix.lower() not in LISTS or path.is_dir()]


def read_stored(address: str) -> bytes:
    """Reads a file of an object store.

    Raises:
        OSError: it is not there, or may not be read.
        MissingExtraError: nothing here knows this kind of store.
    """
    store, path = _store_of(address)
    with store.open_input_file(path) as stream:
        data: bytes = stream.read()
    return data


def _of_disk(word: str) -> Iterator[str]:
    path = Path(word).absolute()
    if path.is_dir():
        yield from _not_derived(_in_folder(path), word)
    elif path.exists():
        if path.suffix.lower() in LISTS:
            with path.open("rb") as stream:
                yield from _listed(stream, path.suffix.lower(), word, f"{path.parent}/")
        else:
            yield str(path)
    elif is_glob(word):
        base, pattern = base_of(str(path))
        if Path(base).is_dir():
            fits = matcher(pattern)
            inside = len(base.rstrip("/")) + 1
            all_in_it = (one for here in _in_folder(Path(base)) for one in here)
            yield from (one for one in all_in_it if fits(one[inside:]))
    else:
        raise DataError(f"{word} does not exist; give pictures, or a folder with some")


def _in_folder(folder: Path) -> Iterator[list[str]]:
    """Yields the pictures of each folder at and below one."""
    for here, names, _ in walk_pictures(folder, deep=True):
        yield [f"{here.rstrip('/')}/{name}" for name in names]


def _not_derived(folders: Iterable[list[str]], word: str) -> Iterator[str]:
    """Yields the pictures of folders, and warns of those left out that were made of others."""
    first, number = "", 0
    for pictures in folders:
        derived = {str(path) for path in derived_of_others(map(Path, pictures))}
        for picture in pictures:
            if picture in derived:
                first, number = first or picture, number + 1
            else:
                yield picture
    if number:
        text = f"{word}: {DERIVED}: {number}, the first {first}"
        _log.warning("%s", printable(text))


def _of_store(word: str) -> Iterator[str]:
    with _blamed(word):
        scheme, _ = scheme_of(word)
        base, pattern = base_of(word) if is_glob(word) else (word, None)
        store, root = _store_of(base)
        from pyarrow import fs

        found = store.get_file_info(root.rstrip("/"))
        if found.type == fs.FileType.Directory:
            fits = matcher(pattern) if pattern is not None else None
            root = root.rstrip("/")
            for path in _in_store(store, root):
                if fits is None or fits(path[len(root) + 1 :]):
                    yield f"{scheme}://{path}"
        elif found.type == fs.FileType.NotFound or pattern is not None:
            raise DataError(f"{word} does not exist; give pictures, or a folder with some")
        elif (ending := Path(root).suffix.lower()) in LISTS:
            with store.open_input_file(root) as stream:
                yield from _listed(stream, ending, word, word.rpartition("/")[0] + "/")
        else:
            yield word


def _in_store(store: Any, root: str) -> Iterator[str]:
    """Yields the pictures below a folder of a store, a folder's own before those deeper.

    Their paths begin as the folder's: some of fsspec's stores put a / before all.
    """
    from pyarrow import fs

    waiting = [root]
    while waiting:
        items = store.get_file_info(fs.FileSelector(waiting.pop(), recursive=False))
        shown = sorted((i for i in items if not is_hidden(i.base_name)), key=lambda i: str(i.path))
        for one in shown:
            if one.type == fs.FileType.File and is_picture(one.path):
                yield one.path if root.startswith("/") else one.path.lstrip("/")
        waiting.extend(i.path for i in reversed(shown) if i.type == fs.FileType.Directory)


def _listed(stream: Any, ending: str, name: str, beside: str) -> Iterator[str]:
    """Yields what a list names; `beside` is what stands before a relative path."""
    paths = _of_parquet(stream, name) if ending == ".parquet" else _of_text(stream, ending, name)
    for path in paths:
        if path:
            yield path if path.startswith("/") or is_stored(path) else f"{beside}{path}"


def _of_text(stream: Any, ending: str, name: str) -> Iterator[str]:
    with io.TextIOWrapper(stream, encoding="utf-8-sig", newline="") as lines:
        try:
            if ending == ".txt":
                yield from (line.rstrip("\r\n") for line in lines)
                return
            first = lines.readline()
            separator = "\t" if ending == ".tsv" else max(",;\t", key=first.count)
            column = _column(next(csv.reader([first], delimiter=separator), []), name)
            for cells in csv.reader(lines, delimiter=separator, strict=True):
                yield cells[column].strip() if column < len(cells) else ""
        except (csv.Error, UnicodeDecodeError) as error:
            raise DataError(
                f"{name}: cannot be read as a list of pictures ({error}); expected UTF-8 text with "
                "one path a line, or a table with a column 'path'"
            ) from None


def _of_parquet(stream: Any, name: str) -> Iterator[str]:
    import pyarrow as pa
    from pyarrow import parquet

    try:
        with closing(parquet.ParquetFile(stream)) as table:
            names = table.schema_arrow.names
            column = names[_column(names, name)]
            for batch in table.iter_batches(_ROWS, columns=[column]):
                yield from (str(value or "") for value in batch.column(0).to_pylist())
    except pa.ArrowInvalid as error:
        raise DataError(f"{name}: cannot be read as Parquet ({error}); export it again") from None


def _column(names: Iterable[str], name: str) -> int:
    there = [one.strip().lower() for one in names]
    if there.count("path") != 1:
        raise DataError(
            f"{name}: found the columns {', '.join(there) or '(none)'}; expected one called 'path'"
        )
    return there.index("path")


def _store_of(address: str) -> tuple[Any, str]:
    """Returns the file system of an address, one for each bucket, and the path in it."""
    scheme, rest = scheme_of(address)
    return _opened(scheme, rest.partition("/")[0]), rest


@cache
def _opened(scheme: str, bucket: str) -> Any:
    try:
        import pyarrow as pa
        from pyarrow import fs
    except ModuleNotFoundError:
        raise MissingExtraError(
            f"pyarrow is not installed, and {scheme}:// needs it; {how_to_install('fleet')}"
        ) from None
    try:
        return fs.FileSystem.from_uri(f"{scheme}://{bucket}")[0]
    except pa.ArrowInvalid:
        pass  # one of fsspec's
    try:
        import fsspec

        return fs.PyFileSystem(fs.FSSpecHandler(fsspec.filesystem(scheme)))
    except (ImportError, ValueError) as error:
        raise MissingExtraError(
            f"{scheme}:// is no store that is known here ({error}); s3, gs and hdfs are, and what "
            "fsspec has a package for"
        ) from None


@contextmanager
def _blamed(word: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise DataError(
            f"{word} cannot be read ({error}); check the address, the credentials (for s3:// "
            "AWS_ACCESS_KEY_ID and the like) and AWS_ENDPOINT_URL where it is not Amazon's"
        ) from None
