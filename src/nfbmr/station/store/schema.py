"""The tables. They change by a migration in `store/migrations/versions/` alone."""

from __future__ import annotations

from sqlalchemy import (
    JSON,
    BigInteger,
    Column,
    Float,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
)

METADATA = MetaData()

_NUMBER = BigInteger().with_variant(Integer, "sqlite")
_SHA256 = String(64)
_TIME = String(32)

INSPECTIONS = Table(
    "inspections",
    METADATA,
    Column("id", _NUMBER, primary_key=True),
    Column("time", _TIME, nullable=False),
    Column("model", String(200), nullable=False),
    Column("product", Text, nullable=False),
    Column("part_id", String(200), nullable=False),
    Column("source", String(40), nullable=False),
    Column("actor", String(100), nullable=False),
    Column("name", Text, nullable=False),
    Column("picture", _SHA256, nullable=False),
    Column("file", String(100)),
    Column("bytes", _NUMBER, nullable=False),
    Column("height", Integer, nullable=False),
    Column("width", Integer, nullable=False),
    Column("bundle", _SHA256, nullable=False),
    Column("calibration", _SHA256, ForeignKey("calibrations.hash"), nullable=False),
    Column("runtime", String(100), nullable=False),
    Column("threshold", Float, nullable=False),
    Column("look_threshold", Float, nullable=False),
    Column("score", Float, nullable=False),
    Column("p_value", Float, nullable=False),
    Column("verdict", String(10), nullable=False),
    Column("regions", JSON, nullable=False),
    Column("looks", JSON(none_as_null=True)),
    Column("milliseconds", Float, nullable=False),
    Column("label", String(10)),
    Column("note", Text, nullable=False, server_default=""),
    Column("labelled_by", String(100)),
    Column("labelled_at", _TIME),
    Index("inspections_time", "time"),
    Index("inspections_model", "model", "id"),
    Index("inspections_verdict", "verdict", "label", "id"),
    Index("inspections_part", "part_id"),
    Index("inspections_file", "file"),
    sqlite_autoincrement=True,
)
"""One row for each answered inspection. What a person says of it later is in the last four columns,
with an event for each change."""

HEATMAPS = Table(
    "heatmaps",
    METADATA,
    Column("inspection", _NUMBER, ForeignKey("inspections.id"), primary_key=True),
    Column("png", LargeBinary, nullable=False),
)

CALIBRATIONS = Table(
    "calibrations",
    METADATA,
    Column("hash", _SHA256, primary_key=True),
    Column("time", _TIME, nullable=False),
    Column("content", Text, nullable=False),
)
"""Each calibration that ever judged, as the text whose SHA-256 is its name."""

EVENTS = Table(
    "events",
    METADATA,
    Column("number", _NUMBER, primary_key=True, autoincrement=False),
    Column("time", _TIME, nullable=False),
    Column("kind", String(40), nullable=False),
    Column("subject", String(200), nullable=False),
    Column("actor", String(100), nullable=False),
    Column("old", JSON),
    Column("new", JSON),
    Column("reason", Text, nullable=False),
    Column("previous", _SHA256, nullable=False),
    Column("hash", _SHA256, nullable=False, unique=True),
    Index("events_subject", "kind", "subject", "number"),
)

FACTS = Table(
    "facts",
    METADATA,
    Column("key", String(40), primary_key=True),
    Column("value", Text, nullable=False),
)
