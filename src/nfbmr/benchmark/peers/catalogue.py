"""The peers: which of anomalib's models race, with which options, and how they are trained.

Every peer whose network can be chosen gets the same EfficientNet-Lite0 and the same weights as
nfbmr's preset `fast`, cut at the stages whose strides are those of the ResNet layers that it cuts
by default. All other options, sizes and epochs are the peer's documented defaults. Those that are
tied to networks whose weights cannot be had offline run with random ones, for times alone.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

LITE0 = "tf_efficientnet_lite0"

CORESET = 0.1
"""Share of the positions that PatchCore keeps by default."""

# ResNet's layer1 to layer4 have strides 4, 8, 16 and 32.
_STRIDE_4, _STRIDE_8, _STRIDE_16, _STRIDE_32 = "blocks.1", "blocks.2", "blocks.4", "blocks.6"


@dataclass(frozen=True, kw_only=True)
class Peer:
    """One of anomalib's models, as it takes part."""

    key: str
    title: str
    model: str
    """The name of its class in `anomalib.models`."""
    options: dict[str, Any] = field(default_factory=dict)
    """Of the class, besides the backbone."""
    backbone: str | None = LITE0
    """None: its own, and then with random weights."""
    epochs: int = 1
    """As documented; fewer where the time is up before."""
    batch: int = 32
    size: tuple[int, int] = (256, 256)
    """(H, W)."""
    fits_coreset: bool = False
    """PatchCore: keep as large a coreset as the time allows, and at most its default."""
    patience: float = 1.0
    """Times the seconds that a peer may train; little where only its speed is measured."""
    note: str = ""

    @property
    def times_only(self) -> bool:
        """Whether its weights are random, so that only speed, memory and size mean anything."""
        return self.backbone is None


PEERS: tuple[Peer, ...] = (
    Peer(
        key="patchcore",
        title="PatchCore",
        model="Patchcore",
        options={"layers": [_STRIDE_8, _STRIDE_16]},
        fits_coreset=True,
        patience=2.0,
        note="coreset as large as twice the time allows, at most 10 %",
    ),
    Peer(
        key="padim",
        title="PaDiM",
        model="Padim",
        options={"layers": [_STRIDE_4, _STRIDE_8, _STRIDE_16], "n_features": 100},
        note="100 of the channels, as documented for ResNet-18",
    ),
    Peer(key="dfm", title="DFM", model="Dfm", options={"layer": _STRIDE_16}),
    Peer(key="fastflow", title="FastFlow", model="Fastflow", epochs=500),
    Peer(
        key="cflow",
        title="CFlow",
        model="Cflow",
        options={"layers": [_STRIDE_8, _STRIDE_16, _STRIDE_32]},
        epochs=50,
    ),
    Peer(
        key="stfpm",
        title="STFPM",
        model="Stfpm",
        options={"layers": [_STRIDE_4, _STRIDE_8, _STRIDE_16]},
        epochs=100,
    ),
    Peer(
        key="patchflow",
        title="PatchFlow",
        model="Patchflow",
        epochs=1000,
        batch=8,
        size=(768, 768),
        note="no number of epochs is documented for it: the trainer's 1000",
    ),
    Peer(
        key="reverse_distillation",
        title="Reverse Distillation",
        model="ReverseDistillation",
        backbone=None,
        epochs=200,
        patience=0.2,
        note="its decoder mirrors a Wide-ResNet-50",
    ),
    Peer(
        key="uflow",
        title="U-Flow",
        model="Uflow",
        options={"backbone": "resnet18"},
        backbone=None,
        epochs=200,
        batch=16,
        size=(448, 448),
        patience=0.2,
        note="knows three networks by name",
    ),
    Peer(
        key="efficientad",
        title="EfficientAD-S",
        model="EfficientAd",
        backbone=None,
        epochs=1000,
        batch=1,
        patience=0.2,
        note="its teacher comes by download alone, and so do the pictures beside it",
    ),
    Peer(
        key="csflow",
        title="CS-Flow",
        model="Csflow",
        backbone=None,
        epochs=240,
        batch=16,
        size=(768, 768),
        patience=0.2,
        note="needs EfficientNet-B5 from a hub",
    ),
)
"""In the order in which they run: the quick ones first."""

OURS = "nfbmr"

AT_OUR_SIZE = "@nfbmr"
"""Ends the key of a row in which a peer looks at pictures at nfbmr's (H, W), not at its own."""

SIZES = {"default": "", "nfbmr": AT_OUR_SIZE}
"""Which pictures a peer may look at -> what its key ends with."""


def peer(key: str) -> Peer:
    """Returns the peer of a key, one of `PEERS`, whatever size it looks at."""
    return next(one for one in PEERS if one.key == key.removesuffix(AT_OUR_SIZE))
