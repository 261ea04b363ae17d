"""Resume after kill -9: `python -m nfbmr.benchmark.kills DATA`.

Fits once without a disturbance; then again and again, each fit killed at a random moment and
started anew until it ends, and compares the weights bit for bit.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

_FIT = """
import sys, nfbmr
steps = {"stage_one": {"steps": 150}, "stage_two": {"steps": 60}}
nfbmr.fit(sys.argv[1], sys.argv[2], checkpoint_seconds=0.3, size=[160, 160], **steps)
"""


def _start(data: Path, model: Path) -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, "-c", _FIT, str(data), str(model)])


def _weights(model: Path) -> str:
    return hashlib.sha256((model / "model.safetensors").read_bytes()).hexdigest()


def compare(data: Path, out: Path, times: int, seed: int) -> int:
    """Returns how many of `times` killed fits ended with the weights of the undisturbed one."""
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir(parents=True)
    os.environ["NFBMR_CACHE"] = str(out / "cache")
    assert _start(data, out / "warm").wait() == 0, "the fit failed; its output says why"
    started = time.monotonic()
    assert _start(data, out / "reference").wait() == 0, "the fit failed; its output says why"
    seconds = time.monotonic() - started
    expected = _weights(out / "reference")
    moments = random.Random(seed)
    equal = 0
    for i in range(times):
        model = out / f"killed-{i}"
        moment = moments.uniform(0.1, 0.97) * seconds
        first = _start(data, model)
        time.sleep(moment)
        running = first.poll() is None
        first.send_signal(signal.SIGKILL)
        first.wait()
        left = any(model.with_name(f".{model.name}.fit").glob("*.safetensors"))
        assert _start(data, model).wait() == 0, "the resumed fit failed; its output says why"
        same = _weights(model) == expected
        equal += same
        print(
            f"{i + 1:2d}: killed after {moment:4.1f} s of {seconds:.1f}"
            f"{'' if running else ' (it had ended)'}, "
            f"{'went on from a checkpoint' if left else 'began anew'}: "
            f"{'identical' if same else 'DIFFERENT'} weights",
            flush=True,
        )
        shutil.rmtree(model)
    return equal


def main() -> None:
    """Parses the command line and compares."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("-o", "--out", type=Path, default=Path("out/kills"))
    parser.add_argument("--times", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    equal = compare(arguments.data, arguments.out, arguments.times, arguments.seed)
    print(f"{equal} of {arguments.times} identical")
    sys.exit(equal != arguments.times)


if __name__ == "__main__":
    main()
