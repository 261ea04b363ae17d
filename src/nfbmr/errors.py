"""Everything nfbmr raises on purpose when the user, the data or a file is to blame.

    NfbmrError
    ├── SettingsError          a setting is unknown, out of range, or clashes with another
    ├── DataError
    │   ├── ImageError         one picture cannot be decoded or has an unusable form
    │   └── LayoutError        a folder or table is not a data set that we can read
    ├── WeightsError           backbone weights cannot be reached or do not fit the network
    ├── TrainingError          learning cannot start or cannot go on
    ├── CalibrationError       scores of good images are too few or unusable
    ├── ExportError            an exported graph does not answer as torch does, or cannot be made
    ├── MissingExtraError      an optional dependency is not installed
    ├── StationError           the inspection station's database, pictures or tokens are unusable
    ├── FleetError             a cluster cannot be used, or a run on it cannot go on
    └── BundleError            a model directory cannot be used
        ├── BundleNotFoundError    there is none at this path
        ├── BundleTamperedError    a part is missing, truncated, or not the one that was written
        └── BundleVersionError     its format is newer than this program

Each message says what was found, what was expected, and what to do next.
A programmer's mistake is an `assert`, never one of these.
"""

from __future__ import annotations


class NfbmrError(Exception):
    """The root: catch it to catch all that nfbmr raises on purpose."""


class SettingsError(NfbmrError):
    """A setting is unknown, out of range, or clashes with another."""


class DataError(NfbmrError):
    """The user's pictures or tables are to blame."""


class ImageError(DataError):
    """One picture cannot be decoded or has an unusable form."""


class LayoutError(DataError):
    """A folder or table is not a data set that we can read."""


class WeightsError(NfbmrError):
    """Backbone weights cannot be reached or do not fit the network."""


class TrainingError(NfbmrError):
    """Learning cannot start or cannot go on."""


class CalibrationError(NfbmrError):
    """Scores of good images are too few or unusable."""


class ExportError(NfbmrError):
    """An exported graph does not answer as torch does, or cannot be made."""


class MissingExtraError(NfbmrError):
    """An optional dependency is not installed."""


class StationError(NfbmrError):
    """The inspection station's database, pictures or tokens are unusable."""


class FleetError(NfbmrError):
    """A cluster cannot be used, or a run on it cannot go on."""


class BundleError(NfbmrError):
    """A model directory cannot be used."""


class BundleNotFoundError(BundleError):
    """There is no model directory at this path."""


class BundleTamperedError(BundleError):
    """A part of the model directory is missing, truncated, or not the one that was written."""


class BundleVersionError(BundleError):
    """The model directory was written in a format newer than this program reads."""
