"""The command `nfbmr cache`: kept features, shown or cleared."""

from __future__ import annotations

from typing import Annotated

import typer


def cache(
    clear: Annotated[bool, typer.Option("--clear", help="Delete all entries.")] = False,
) -> None:
    """Show the cached features, or clear them."""
    from nfbmr.features.compute import FeatureCache

    kept = FeatureCache()
    if clear:
        freed = kept.size()
        kept.clear()
        print(f"{freed / 1e6:.1f} MB freed")
        return
    for entry in kept.entries():
        megabytes = entry.size_bytes / 1e6
        print(
            f"{entry.key[:12]}  {megabytes:9.1f} MB  {entry.n_images:6d} images  {entry.backbone}"
        )
    print(f"{kept.size() / 1e6:.1f} MB of {kept.limit_bytes / 1e6:.0f} MB in {kept.root}")
