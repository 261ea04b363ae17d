"""What answers look like, as OpenAPI describes it."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, Field

from nfbmr.station.store.queries import Inspected, Recorded


class Problem(BaseModel):
    """Why there is no such answer."""

    detail: str


class Verdict(BaseModel):
    """What was found of a picture."""

    time: str = Field(description="UTC, ISO 8601, of the answer.")
    model: str
    product: str
    part_id: str
    source: str
    actor: str
    name: str = Field(description="What the sender called the picture.")
    picture: str = Field(description="SHA-256 of the picture's file.")
    height: int
    width: int
    bundle: str = Field(description="SHA-256 that names what the model learnt.")
    calibration: str = Field(description="SHA-256 of the calibration in force.")
    runtime: str
    threshold: float = Field(description="A score above it is a defect.")
    look_threshold: float = Field(description="A score above it is for a person.")
    score: float = Field(description="0 is typical, 1 where the asked share of good parts ends.")
    p_value: float = Field(description="How often a good part looks this unusual.")
    verdict: Literal["good", "look", "defect"]
    regions: list[dict[str, Any]] = Field(description="The places that made it, highest first.")
    milliseconds: float

    @classmethod
    def of(cls, found: Inspected) -> Verdict:
        """Returns what is said of it."""
        return cls(**{name: value for name, value in vars(found).items() if name in _OF_VERDICT})


_OF_VERDICT = set(Verdict.model_fields)


class InspectionForm(Verdict):
    """A recorded inspection."""

    id: int
    picture_kept: bool = Field(description="Whether the picture itself can still be looked at.")
    label: Literal["good", "defect"] | None = Field(description="What a person says it is.")
    note: str
    labelled_by: str | None
    labelled_at: str | None
    trouble: str | None = Field(None, description="Why the picture itself is not kept.")
    heatmap_png: str | None = Field(
        None, description="Where it was asked for: a PNG to lay over the picture, as base64."
    )

    @classmethod
    def of_row(
        cls, row: Recorded, trouble: str | None = None, heatmap_png: str | None = None
    ) -> InspectionForm:
        """Returns a row of the record."""
        own = {name: value for name, value in vars(row).items() if name in _OF_INSPECTION}
        kept = row.file is not None
        return cls(**own, picture_kept=kept, trouble=trouble, heatmap_png=heatmap_png)


_OF_INSPECTION = set(InspectionForm.model_fields) - {"picture_kept", "trouble", "heatmap_png"}


class Refused(BaseModel):
    """A picture among others that got no verdict, or none that is in the record."""

    name: str
    error: str
    status: int = Field(description="What its answer would have been, had it come alone.")
    unrecorded: Verdict | None = Field(
        None, description="Of status 507: the verdict, where there is one, which is in no record."
    )


class Inspections(BaseModel):
    """Outcomes in the order of the pictures."""

    inspections: list[InspectionForm | Refused]


class Unrecorded(Problem):
    """The database or the disk took nothing."""

    unrecorded: Verdict | None = Field(
        None, description="The verdict, where there is one, which is in no record."
    )


class Page(BaseModel):
    """Rows of the record, the newest first."""

    inspections: list[InspectionForm]
    next: int | None = Field(description="Give it as `before` for the following page.")


class ModelForm(BaseModel):
    """A model on the line."""

    name: str
    product: str
    bundle: str
    calibration: str
    runtime: str
    threshold: float
    look_threshold: float
    false_alarm_rate: float = Field(description="That was asked for.")
    look_rate: float
    good_pictures: int = Field(description="How many calibrate it.")
    size: tuple[int, int] = Field(description="(H, W) in pixels that pictures are brought to.")


class Models(BaseModel):
    """The models on the line, and those that cannot be."""

    models: list[ModelForm]
    troubles: dict[str, str] = Field(description="Why a model directory is not on the line.")


class State(BaseModel):
    """Whether the station can work."""

    ready: bool
    troubles: list[str]
    notes: list[str] = Field(description="Sources and outputs in trouble: they hinder no verdict.")


PROBLEMS: dict[int | str, dict[str, Any]] = {
    400: {"model": Problem, "description": "The request cannot be read"},
    401: {"model": Problem, "description": "No token, or none that is known"},
    403: {"model": Problem, "description": "The token's scope does not suffice"},
    404: {"model": Problem, "description": "There is no such thing"},
    413: {"model": Problem, "description": "The body is too large"},
    422: {"model": Problem, "description": "Something given is not as expected"},
    503: {"model": Problem, "description": "Too much is in work; see Retry-After"},
    507: {"model": Unrecorded, "description": "The database or the disk took nothing"},
}
"""Answers that any route may give."""
