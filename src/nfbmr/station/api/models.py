"""`GET /v1/models`: what is on the line."""

from __future__ import annotations

from fastapi import APIRouter

from nfbmr.station.api.forms import PROBLEMS, ModelForm, Models
from nfbmr.station.deps import Inspecting, StationDep
from nfbmr.station.engine.pool import Loaded

router = APIRouter(tags=["models"], responses=PROBLEMS)


@router.get("/v1/models", summary="The models on the line")
def models(station: StationDep, _: Inspecting) -> Models:
    """Returns each model with its thresholds, and why others are not on the line."""
    return Models(
        models=[_form(loaded) for loaded in station.pool.all()], troubles=station.pool.troubles
    )


def _form(loaded: Loaded) -> ModelForm:
    calibration = loaded.inspector.calibration
    return ModelForm(
        name=loaded.name,
        product=loaded.inspector.facts.name,
        bundle=loaded.bundle,
        calibration=loaded.calibration,
        runtime=loaded.runtime,
        threshold=calibration.threshold,
        look_threshold=calibration.look_threshold,
        false_alarm_rate=calibration.false_alarm_rate,
        look_rate=calibration.look_rate,
        good_pictures=len(calibration.scores),
        size=loaded.inspector.size,
    )
