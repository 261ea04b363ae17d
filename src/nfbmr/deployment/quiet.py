"""Keeps exporters from talking, and nobody else: they tell of their steps, and of themselves."""

from __future__ import annotations

import logging
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_EXPORTERS = (
    "torch.onnx",
    "torch.export",
    "torch._export",
    "torch._dynamo",
    "torch._functorch",
    "torch._subclasses",
    "torch.fx",
    "torch.utils",
    "onnx",
    "onnx_ir",
    "onnxscript",
    "onnxruntime",
)
"""Names of packages, and so of their loggers; what is below them inherits the level."""

_WARNED_OF = "|".join((*_EXPORTERS, "copyreg", "nfbmr.deployment.graphs")).replace(".", r"\.")
"""Modules that their warnings name: some name whoever called the exporter."""

_ON_ROOT = str(Path("onnxruntime", "quantization"))
"""What logs to the root logger, which a level would silence for all."""

_one_at_a_time = threading.Lock()


@contextmanager
def quiet() -> Iterator[None]:
    """Drops what exporters log, errors apart, and their warnings.

    Levels and filters are those of the whole process, so threads that export take turns.
    """
    loggers = [logging.getLogger(name) for name in _EXPORTERS]
    root = logging.getLogger()
    with _one_at_a_time, warnings.catch_warnings():
        warnings.filterwarnings("ignore", module=rf"({_WARNED_OF})(\.|$)")
        levels = [logger.level for logger in loggers]
        # `logging.info` and its like leave a handler for good on a root that has none.
        stand_in = None if root.handlers else logging.lastResort or logging.NullHandler()
        try:
            for logger in loggers:
                logger.setLevel(max(logger.level, logging.ERROR))
            root.addFilter(_is_of_others)
            if stand_in is not None:
                root.addHandler(stand_in)
            yield
        finally:
            if stand_in is not None:
                root.removeHandler(stand_in)
            root.removeFilter(_is_of_others)
            for logger, level in zip(loggers, levels, strict=True):
                logger.setLevel(level)


def _is_of_others(record: logging.LogRecord) -> bool:
    return record.levelno >= logging.ERROR or _ON_ROOT not in record.pathname
