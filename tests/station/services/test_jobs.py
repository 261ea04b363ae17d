"""Work in a thread: its progress, its end, its troubles."""

from __future__ import annotations

import threading

import pytest

from nfbmr.errors import StationError
from nfbmr.station.services.jobs import ConflictError, Job, Jobs


def finished(jobs: Jobs, job: Job) -> Job:
    assert jobs._running is not None
    jobs._running[1].join(60)
    assert not job.runs
    return job


def test_one_at_a_time_and_its_end_is_remembered() -> None:
    jobs = Jobs()
    go_on = threading.Event()

    def work(job: Job) -> str:
        job.step(2)
        assert go_on.wait(60)
        job.step(2)
        return "found"

    job = jobs.start("comparison", "part", "ann", work)
    with pytest.raises(ConflictError, match="ann has started other work on part"):
        jobs.start("comparison", "other", "bob", work)
    go_on.set()
    finished(jobs, job)
    assert (job.found, job.done, job.total, job.trouble) == ("found", 2, 2, None)
    assert jobs.last("comparison", "part") is job
    assert jobs.last("comparison", "other") is None


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (StationError("too few"), "too few"),
        (OSError(28, "No space left on device"), "the station's disk: No space left on device"),
        (ZeroDivisionError("a secret"), "it failed, and the log says where (ZeroDivisionError)"),
    ],
)
def test_its_trouble_is_said(error: Exception, said: str) -> None:
    jobs = Jobs()

    def work(_: Job) -> None:
        raise error

    assert finished(jobs, jobs.start("comparison", "part", "ann", work)).trouble == said
    jobs.close()


def test_it_ends_with_the_station() -> None:
    jobs = Jobs()
    began = threading.Event()

    def work(job: Job) -> None:
        while True:
            began.set()
            job.step(10**9)

    job = jobs.start("comparison", "part", "ann", work)
    assert began.wait(60)
    jobs.close()
    assert job.trouble is not None
    assert "the station ended" in job.trouble
