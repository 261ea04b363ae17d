"""What is known of a fit. No torch here."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from nfbmr.settings.schema import Settings, Side


class Facts(BaseModel):
    """What `config.json` says besides the settings; read from disk, so checked."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    name: str
    """What the model is called in reports: the data's name."""
    size: tuple[Side, Side] = Field(description="(H, W) in pixels that every image is resized to")
    whole: tuple[Side, Side] | None = None
    """(H, W) that every image is resized to before it is cut into tiles of `size`."""
    weights: str
    """Where the backbone's weights came from."""
    n_train: int = Field(ge=0)
    """Good images that were trained on."""
    n_held_out: int = Field(ge=0)
    """Good images that were held out."""
    trained_on: tuple[str, ...]
    """sha256 of the files that were trained on, to notice them in a test or a calibration."""
    held_out: tuple[str, ...]
    """sha256 of the files that were held out."""
    trained_pixels: tuple[str, ...] = ()
    """sha256 of the decoded pixels of those trained on; none in models of older versions."""
    held_out_pixels: tuple[str, ...] = ()
    """Likewise of those held out."""
    labelled: bool | None = None
    """Whether names, masks or a table said that they are good; None in models of older versions."""
    depth: Annotated[int, Field(ge=1)] | None = None
    """Most bits of a channel among the good images; None in models of older versions."""
    highest: Annotated[float, Field(ge=0)] | None = None
    """Their highest value as stored: up to 255, 65535, or 1 of floats; likewise."""
    ratio: Annotated[float, Field(gt=0)] | None = None
    """Median height over width of the good pictures; likewise."""
    fit_seconds: float = Field(ge=0)
    """Wall-clock time of the fit, features included."""
    created: str
    """UTC, ISO 8601."""
    commit: str | None
    """Of the program, where it ran from a checkout."""
    versions: dict[str, str]
    """Of Python and the packages that computed."""
    losses: dict[str, float]
    """Last training loss of each stage, per channel."""

    def trained(self, fingerprint: str, pixel_hash: str) -> bool:
        """Whether a picture was trained on, by the sha256 of its file or of its pixels."""
        return fingerprint in self.trained_on or pixel_hash in self.trained_pixels

    def everyone(self, settings: Settings) -> bool:
        """Whether every picture calibrates, and the Gaussians learnt from those held out, too."""
        return settings.calibration.everyone and self.whole is None

    def knows(self, fingerprint: str, pixel_hash: str) -> bool:
        """Whether a picture was trained on or held out."""
        held_out = fingerprint in self.held_out or pixel_hash in self.held_out_pixels
        return held_out or self.trained(fingerprint, pixel_hash)
