"""The command `nfbmr cache`: kept features, shown or cleared."""

from __future__ import annotations

from typing import Annotated

import typer


def cache(
    clear: Annotated[bool, typer.Option("--clear", help="Delete all entries.")] = False,
) -> None:
    """Show the cached features, or clear them."""
    from nfbmr.features.compute import CacheEntry, FeatureCache

    kept = FeatureCache()
    if clear:
        freed = kept.size()
        kept.clear()
        print(f"{freed / 1e6:.1f} MB freed")
        return
    shelves: dict[str, list[CacheEntry]] = {}
    for entry in kept.entries():
        shelves.setdefault(entry.shelf, []).append(entry)
    for shelf, entries in shelves.items():
        megabytes = sum(entry.size_bytes for entry in entries) / 1e6
        n_pictures = sum(entry.n_pictures for entry in entries)
        one = entries[0]
        what = "picture " if n_pictures == 1 else "pictures"
        print(
            f"{shelf[:12]}  {megabytes:9.1f} MB  {n_pictures:6d} {what}  "
            f"{one.size[0]} x {one.size[1]}  {one.backbone}"
        )
    shown = sum(entry.size_bytes for entries in shelves.values() for entry in entries)
    if other := kept.size() - shown:
        print(f"{'':12}  {other / 1e6:9.1f} MB  that this version cannot read")
    print(f"{kept.size() / 1e6:.1f} MB of {kept.limit_bytes / 1e6:.0f} MB in {kept.root}")
