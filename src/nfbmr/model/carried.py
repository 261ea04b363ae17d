"""A threshold that travels alone: the calibration of a model in a file, for copies of that model.

{"nfbmr calibration": 1,        version of the form
 "model": {name, tensors, config, graph},   which fit and graph it is of, by sha256
 "calibration": {...}}          as `calibration.json` has it, every digit
"""

from __future__ import annotations

import json
from dataclasses import asdict, fields, replace
from pathlib import Path

from nfbmr.errors import BundleError, BundleTamperedError, CalibrationError
from nfbmr.model.bundle import (
    Bundle,
    Identity,
    for_export,
    identity_of,
    read_bundle,
    replace_calibration,
)
from nfbmr.model.exports import CALIBRATION
from nfbmr.model.folder import read_json, to_json, write_text
from nfbmr.scoring.calibration import Calibration
from nfbmr.scoring.calibration_json import calibration_from_dict, calibration_to_dict, checked
from nfbmr.system.files import written_beside

KIND = "nfbmr calibration"
_FORMAT = 1
_LONGEST = 60  # letters of a wrong value that are said


def write_calibration(file: Path, bundle: Bundle) -> None:
    """Writes the calibration of a model that was read from a directory into a file of its own.

    Raises:
        OSError: the file cannot be written.
    """
    model = {"name": bundle.facts.name, **asdict(bundle.identity)}
    said = {
        KIND: _FORMAT,
        "model": model,
        "calibration": calibration_to_dict(bundle.calibration),
    }
    with written_beside(file) as beside:
        write_text(beside, to_json(said))


def bring_calibration(path: Path, file: Path) -> tuple[Calibration, Calibration]:
    """Gives a model the calibration of a file that `write_calibration` wrote.

    Returns:
        The calibration that was in force, and the one that is now.

    Raises:
        CalibrationError: the file is no calibration, that of another model or graph, or does
            not fit the settings; the model stays as it was.
        BundleError: the model cannot be read or written.
    """
    values, of, name = _read(file)
    bundle = read_bundle(path, tensors=False)
    if of == bundle.identity:
        mine = bundle
    else:
        own = next((e for e in bundle.exports if identity_of(bundle, e.calibration) == of), None)
        if own is None or own.calibration == CALIBRATION:
            raise CalibrationError(
                f"{file} is the calibration of '{name}', {_difference(bundle, of)}; scores of "
                f"one mean nothing to another. Expected one that was exported from a copy of "
                f"{path}: nfbmr calibrate COPY --export FILE"
            )
        mine = for_export(path, bundle, own)
    try:
        scoring = bundle.settings.scoring
        found = checked(calibration_from_dict(values, scoring), scoring)
    except BundleTamperedError as error:
        raise CalibrationError(f"{file}: {error}") from None
    replace_calibration(path, replace(mine, calibration=found))
    return mine.calibration, found


def _read(file: Path) -> tuple[dict[str, object], Identity, str]:
    try:
        said = read_json(file)
    except BundleError as error:
        why = str(error).removeprefix(f"{file} ").removesuffix("; restore it")
        raise _no_calibration(file, why) from None
    if said.get(KIND) != _FORMAT:
        found = f"version {_shown(said[KIND])}" if KIND in said else "no version"
        raise _no_calibration(file, f"found {found} of its form, {_FORMAT} was expected")
    for part in ("model", "calibration"):
        if not isinstance(said.get(part), dict):
            found = _shown(said[part]) if part in said else "nothing"
            raise _no_calibration(file, f"'{part}': found {found}, an object was expected")
    model = said["model"]
    names = [one.name for one in fields(Identity)]
    wanted = {"name", *names}
    if strange := sorted({*model} - wanted) or sorted(wanted - {*model}):
        what = "an unknown key" if strange[0] in model else "no key"
        raise _no_calibration(
            file,
            f"'model': found {what} '{strange[0]}', name, {', '.join(names)} were expected",
        )
    for key, value in model.items():
        if not (isinstance(value, str) or (key == "graph" and value is None)):
            raise _no_calibration(
                file, f"'model.{key}': found {_shown(value)}, a text was expected"
            )
    of = Identity(**{name: model[name] for name in names})
    return said["calibration"], of, model["name"]


def _no_calibration(file: Path, why: str) -> CalibrationError:
    return CalibrationError(
        f"{file} is no calibration that nfbmr exported ({why}); make one with: "
        "nfbmr calibrate MODEL --export FILE"
    )


def _shown(value: object) -> str:
    return json.dumps(value)[:_LONGEST]


def _difference(bundle: Bundle, of: Identity) -> str:
    here = bundle.identity
    if of.tensors != here.tensors:
        return f"learnt in another fit than '{bundle.facts.name}' here"
    if of.config != here.config:
        return "of the same tensors as here but of other settings"
    return "of a graph in coarse precision that is not here, or was exported anew since"
