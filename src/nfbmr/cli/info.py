"""The command `nfbmr info`: what a model is."""

from __future__ import annotations

from nfbmr.cli.arguments import ModelPath
from nfbmr.system.files import printable


def info(model: ModelPath) -> None:
    """Show what a model is: its data, settings, threshold and origin."""
    from nfbmr.model.bundle import read_bundle
    from nfbmr.settings.changes import settings_hash

    bundle = read_bundle(model)
    print(bundle.card())
    parameters = sum(v.size for v in bundle.tensors.values())
    print(f"parameters {parameters / 1e6:.1f} M; settings {settings_hash(bundle.settings)}")
    versions = ", ".join(f"{name} {version}" for name, version in bundle.facts.versions.items())
    print(printable(f"commit {bundle.facts.commit or 'unknown'}; {versions}"))
