"""What a node of a cluster has, said by a task that runs there."""

from __future__ import annotations

import os
import platform
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

from nfbmr.fleet.reach import why_unreached
from nfbmr.model.folder import MANIFEST
from nfbmr.system.files import sha256_of


@dataclass(frozen=True, kw_only=True)
class Asked:
    """What a node is asked for."""

    models: tuple[str, ...]
    """Model directories, absolute paths."""
    seen: tuple[str, ...]
    """Files and folders, absolute paths."""
    written: tuple[str, ...]
    """Folders, absolute paths."""
    read: tuple[str, ...]
    """Addresses in object stores, one of each."""
    packages: tuple[str, ...]
    """As pip calls them."""


@dataclass(frozen=True, kw_only=True)
class Node:
    """What a node answers."""

    asked: Asked
    versions: dict[str, str | None]
    """Of Python and the packages; None of one that is not installed."""
    sees: frozenset[str]
    """Of the files and folders."""
    writes: frozenset[str]
    """Of the folders: where it may make files."""
    unread: dict[str, str]
    """Of the addresses: why the store of one cannot be read."""
    models: dict[str, str | None]
    """sha256 of each model's list of parts, which holds the hash of each; None where it is not."""


def look_around(asked: Asked) -> Node:
    """Answers for the machine on which it runs."""
    versions: dict[str, str | None] = {"python": platform.python_version()}
    for package in asked.packages:
        try:
            versions[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            versions[package] = None
    manifests = {model: Path(model) / MANIFEST for model in asked.models}
    return Node(
        asked=asked,
        versions=versions,
        sees=frozenset(path for path in asked.seen if Path(path).exists()),
        writes=frozenset(path for path in asked.written if os.access(path, os.W_OK | os.X_OK)),
        unread={one: why for one in asked.read if (why := why_unreached([one], ()))},
        models={
            model: sha256_of(manifest) if manifest.is_file() else None
            for model, manifest in manifests.items()
        },
    )
