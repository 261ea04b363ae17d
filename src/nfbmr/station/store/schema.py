"""The tables. They change by a migration in `store/migrations/versions/` alone."""

from __future__ import annotations

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
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
    UniqueConstraint,
)

METADATA = MetaData()

_NUMBER = BigInteger().with_variant(Integer, "sqlite")
_SHA256 = String(64)
_TIME = String(32)
_BY_BYTES = String(200).with_variant(String(200, collation="C"), "postgresql")
"""Sorts by its bytes, so that an index finds what begins so; SQLite's text does so by itself."""

INSPECTIONS = Table(
    "inspections",
    METADATA,
    Column("id", _NUMBER, primary_key=True),
    Column("time", _TIME, nullable=False),
    Column("model", String(200), nullable=False),
    Column("product", Text, nullable=False),
    Column("part_id", _BY_BYTES, nullable=False),
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
    Column("request", _SHA256),
    Column("arrival", _SHA256),
    Index("inspections_time", "time", "verdict"),
    Index("inspections_model", "model", "id"),
    Index("inspections_model_time", "model", "time", "verdict"),
    Index("inspections_verdict", "verdict", "label", "id"),
    Index("inspections_verdict_id", "verdict", "id"),
    Index("inspections_label", "label", "id"),
    Index("inspections_label_model", "label", "model", "verdict"),
    Index("inspections_part", "part_id"),
    Index("inspections_source", "source", "id"),
    Index("inspections_file", "file", "bytes"),
    Index("inspections_request", "request", unique=True),
    Index("inspections_arrival", "arrival", unique=True),
    sqlite_autoincrement=True,
)
"""One row for each answered inspection. What a person says of it later is in `label` and the three
columns after it, with an event for each change. `request` names what its sender may send again, who
is then answered with this row; `arrival` what a source finds again after a kill, which is then not
judged at all. They are two columns, as a row may be asked for by either, and each is unique."""

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

LEARNINGS = Table(
    "learnings",
    METADATA,
    Column("id", _NUMBER, primary_key=True),
    Column("folder", String(32), nullable=False, unique=True),
    Column("name", String(100), nullable=False),
    Column("preset", String(20), nullable=False),
    Column("state", String(12), nullable=False),
    Column("created", _TIME, nullable=False),
    Column("actor", String(100), nullable=False),
    Column("asked", _TIME),
    Column("starts", Integer, nullable=False, server_default="0"),
    Column("progress", JSON),
    Column("trouble", Text, nullable=False, server_default=""),
    Column("result", JSON),
    Column("placed", _TIME),
    Index("learnings_state", "state", "asked"),
    sqlite_autoincrement=True,
)
"""Products that are learnt, or are to be: the latest try of each; the events tell of all."""

LEARN_PICTURES = Table(
    "learn_pictures",
    METADATA,
    Column("id", _NUMBER, primary_key=True),
    Column("learning", _NUMBER, ForeignKey("learnings.id"), nullable=False),
    Column("file", String(40), nullable=False),
    Column("name", Text, nullable=False),
    Column("picture", _SHA256, nullable=False),
    Column("pixels", _SHA256, nullable=False),
    Column("bytes", _NUMBER, nullable=False),
    Column("height", Integer, nullable=False),
    Column("width", Integer, nullable=False),
    Column("time", _TIME, nullable=False),
    Column("actor", String(100), nullable=False),
    Column("heat", LargeBinary),
    UniqueConstraint("learning", "pixels", name="learn_pictures_once"),
    sqlite_autoincrement=True,
)
"""Good pictures to learn from; `heat` is the heatmap of the few that are shown with one."""

FACTS = Table(
    "facts",
    METADATA,
    Column("key", String(40), primary_key=True),
    Column("value", Text, nullable=False),
)

OUTPUTS = Table(
    "outputs",
    METADATA,
    Column("name", String(40), primary_key=True),
    Column("tells", String(10), nullable=False),
    Column("address", Text, nullable=False),
    Column("delivered_at", _TIME),
    Column("failing", Boolean, nullable=False),
    Column("error", Text, nullable=False),
    Column("error_at", _TIME),
    Column("given_up", _NUMBER, nullable=False),
)
"""Who is told: `tells` is `all`, `defect`, or `nothing` of an output that is asked for no more."""

OUTBOX = Table(
    "outbox",
    METADATA,
    Column("number", _NUMBER, primary_key=True),
    Column("output", String(40), nullable=False),
    Column("id", String(32), nullable=False),
    Column("time", _TIME, nullable=False),
    Column("topic", String(200), nullable=False),
    Column("body", Text, nullable=False),
    Column("refused", Boolean, nullable=False),
    Index("outbox_waiting", "output", "refused", "number"),
    Index("outbox_time", "time"),
    sqlite_autoincrement=True,
)
"""One row for each message and output, until it is delivered."""

SOURCES = Table(
    "sources",
    METADATA,
    Column("name", String(40), primary_key=True),
    Column("model", String(200), nullable=False),
    Column("address", Text, nullable=False),
    Column("paused", Boolean, nullable=False),
    Column("failing", Boolean, nullable=False),
    Column("error", Text, nullable=False),
    Column("error_at", _TIME),
)
"""Where pictures come from by themselves: watched folders and cameras."""
