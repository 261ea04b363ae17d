"""What one machine has, and how it is shared: cores, GPUs and memory, taken before a process."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Condition

from nfbmr.errors import FleetError
from nfbmr.fleet.plan import Resources
from nfbmr.system.cores import cores

_AGAIN_SECONDS = 5.0  # memory is looked at again
_GB = 10**9


class Machine:
    """Cores, GPUs and memory of which processes take their part; safe for several threads."""

    def __init__(self, cpus: int | None = None, gpus: int = 0) -> None:
        """Counts what is there.

        Args:
            cpus: cores to use; by default those that this process may.
            gpus: GPUs to use.
        """
        self.cpus = cpus or cores()
        self._free = self.cpus
        self._gpus = [1.0] * gpus
        self._memory_gb = memory_left_gb()
        self._promised_gb = 0.0  # to those at work, which may not have taken it yet
        self._at_work = 0
        self._changed = Condition()

    def refuse(self, wanted: Resources) -> None:
        """Says what can never be had here.

        Raises:
            FleetError: more workers, cores or GPUs are wanted than there are.
        """
        if wanted.workers > 1:
            raise FleetError(
                f"workers = {wanted.workers}: several learn one product on a cluster alone; give "
                "--engine ray, or workers = 1"
            )
        for what, count, there in (
            ("cpus", wanted.cpus, self.cpus),
            ("gpus", wanted.gpus, len(self._gpus)),
        ):
            if count > there:
                raise FleetError(f"{what} = {count:g}: this machine has {there}; give fewer")

    @contextmanager
    def taken(self, wanted: Resources) -> Iterator[dict[str, str]]:
        """Waits until there is enough, and holds it while the body runs.

        Where nothing else is at work memory is not waited for: less of it will not come free.

        Yields:
            Variables for the process: how many threads compute, which GPUs it sees.
        """
        with self._changed:
            while (given := self._gpus_for(wanted)) is None or not self._fits(wanted):
                self._changed.wait(_AGAIN_SECONDS)
            share = wanted.gpus / max(1, len(given))
            for number in given:
                self._gpus[number] -= share
            self._free -= wanted.cpus
            self._promised_gb += wanted.memory_gb
            self._at_work += 1
        try:
            yield {
                **dict.fromkeys(_THREADS, str(wanted.cpus)),
                "CUDA_VISIBLE_DEVICES": ",".join(_named(number) for number in given),
            }
        finally:
            with self._changed:
                for number in given:
                    self._gpus[number] += share
                self._free += wanted.cpus
                self._promised_gb -= wanted.memory_gb
                self._at_work -= 1
                self._changed.notify_all()

    def _fits(self, wanted: Resources) -> bool:
        if self._free < wanted.cpus:
            return False
        if not self._at_work:
            return True
        room = self._memory_gb - self._promised_gb
        return min(room, memory_left_gb()) >= wanted.memory_gb

    def _gpus_for(self, wanted: Resources) -> list[int] | None:
        """Returns the numbers of GPUs that have room; None where too few have."""
        if not wanted.gpus:
            return []
        count = max(1, round(wanted.gpus))
        share = wanted.gpus / count
        free = [number for number, left in enumerate(self._gpus) if left >= share - 1e-9]
        return free[:count] if len(free) >= count else None


_THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")


def memory_left_gb(root: Path = Path("/")) -> float:
    """Returns the memory that a process may still take, in GB; as if endless where none tells.

    The least of what the machine has and what this process's group (cgroup v2) is left.

    Args:
        root: where `proc` and `sys` lie.
    """
    left = [float("inf")]
    try:
        lines = (root / "proc/meminfo").read_text(encoding="ascii").splitlines()
        left += [1024 * int(s.split()[1]) / _GB for s in lines if s.startswith("MemAvailable:")]
    except (OSError, ValueError, IndexError):
        pass
    try:
        group = root / "sys/fs/cgroup"
        most = (group / "memory.max").read_text(encoding="ascii").strip()
        used = int((group / "memory.current").read_text(encoding="ascii"))
        files = [
            int(line.split()[1])
            for line in (group / "memory.stat").read_text(encoding="ascii").splitlines()
            if line.startswith("inactive_file ")
        ]
        left.append((int(most) - used + sum(files)) / _GB)
    except (OSError, ValueError, IndexError):
        pass
    return max(0.0, min(left))


def _named(number: int) -> str:
    """Returns what a GPU is called, of those that this process may use itself."""
    names = [name for name in os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",") if name]
    return names[number] if number < len(names) else str(number)
