"""The feature cache: images to source features y once, on disk, memory-mapped.

SNN is frozen and nothing is augmented, so y of an image never changes while the image, the
backbone and the size stay the same. An entry holds y of a list of images:

    ROOT/features/KEY/header.json     shape, one checksum per image, where it came from
    ROOT/features/KEY/features.f32    float32, C order, (N, H', W', C): one position's vector is
                                      contiguous
    ROOT/features/.KEY.TOKEN/         an entry being written, renamed when it is complete

An unfinished entry is never read; a damaged one is noticed when it is opened and built again.
Several processes may share a cache: whoever finishes an entry first provides it.

    N = images, H' W' = grid, C = channels of y, P = positions
"""

from __future__ import annotations

import errno
import hashlib
import json
import logging
import math
import mmap
import os
import re
import shutil
import sys
import time
import uuid
import zlib
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from itertools import batched
from pathlib import Path
from types import TracebackType
from typing import Any
from weakref import WeakValueDictionary

import numpy as np
import torch
from numpy.typing import NDArray

from nfbmr.data.images import fingerprint, load_image
from nfbmr.errors import DataError
from nfbmr.networks.backbone import SourceNetwork
