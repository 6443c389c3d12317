import fcntl
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from models.detectors.store import ROOT
from training.datasets.crew import run_jobs
from training.datasets.worker import Done, Job, Work


def job(name: str) -> Job:
    return Job(Path(name), "", ())


def work(wanted: Job) -> Done:
    """Dies of what it is given, if that is deadly."""
    if wanted.path.name == "deadly":
        os.kill(os.getpid(), signal.SIGKILL)
    return Done(wanted, sha256=str(os.getpid()))


def setup() -> Work:
    return work


def hold(wanted: Job) -> Done:
    """Locks the file it is given and never ends."""
    with wanted.path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        file.write("held")
        file.flush()
        signal.pause()
    return Done(wanted)


def holding() -> Work:
    return hold


def test_a_process_that_dies_costs_its_job_and_no_other() -> None:
    names = ["a", "b", "deadly", "c", "d"]
    done = {result.job.path.name: result for result in run_jobs(map(job, names), 1, setup)}
    assert sorted(done) == sorted(names)
    assert {name for name, result in done.items() if result.code} == {"deadly"}
    assert done["deadly"].code == "worker_died"


def test_jobs_are_done_in_other_processes() -> None:
    (done,) = run_jobs([job("a")], 2, setup)
    assert done.sha256 != str(os.getpid())


def test_no_workers_means_this_process() -> None:
    (done,) = run_jobs([job("a")], 0, setup)
    assert done.sha256 == str(os.getpid())


def test_without_jobs_no_process_is_started() -> None:
    assert list(run_jobs([], 2, pytest.fail)) == []


def test_workers_end_when_their_parent_is_killed(tmp_path: Path) -> None:
    held = tmp_path / "held"
    code = f"""
from test_datasets_crew import holding, job
from models.detectors.store import ROOT
from training.datasets.crew import run_jobs
if __name__ == "__main__":
    list(run_jobs([job({str(held)!r})], 1, holding))
"""
    (tmp_path / "parent.py").write_text(code)
    path = os.pathsep.join([str(Path(__file__).parent), str(ROOT)])
    with subprocess.Popen([sys.executable, tmp_path / "parent.py"], env={"PYTHONPATH": path}) as parent:
        while not (held.exists() and held.stat().st_size):
            assert parent.poll() is None
            time.sleep(0.05)
        parent.kill()
    with held.open() as file:
        fcntl.flock(file, fcntl.LOCK_EX)  # waits until the worker, and with it its lock, is gone
