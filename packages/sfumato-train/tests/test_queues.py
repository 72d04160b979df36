"""Workers that share a job: every shard is made, whoever dies, and each once if nobody does."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from datetime import timedelta

import pytest
from torch.distributed import DistError

from sfumato import InputError
from sfumato_train import open_run, start
from sfumato_train.jobs import crew
from sfumato_train.jobs.queues import join, shared, store_at
from sfumato_train.jobs.shards import Asked, Job
from sfumato_train.jobs.workers import main, sample_job
from sfumato_train.places import Place, place

ASKED = Asked(n=200, shard=5, batch=5, device="cpu")
SOON = timedelta(seconds=20)
# A process that has imported everything. For each line that it reads it forks a worker, as
# `sfumato sample` makes one but less patient with the dead, or waits for one and tells its end.
NURSERY = """
import functools, json, os, sys
from pathlib import Path
from sfumato import InputError
from sfumato_train import open_run
from sfumato_train.jobs import workers
from sfumato_train.jobs.shards import Asked
import toy_things

def work(run, out, environment):
    os.environ.update(environment)
    sys.stderr = open(f"{out}.{environment['RANK']}.err", "w")
    try:
        asked = Asked(n=200, shard=5, batch=5, device="cpu")
        workers.sample_job(open_run(run), Path(out), asked)
    except InputError as error:
        print(f"Error: {error}", file=sys.stderr, flush=True)
        os._exit(1)
    os._exit(0)

workers.shared = functools.partial(workers.shared, lease=1.0)
for line in sys.stdin:
    words = json.loads(line)
    if isinstance(words, int):
        print(os.waitstatus_to_exitcode(os.waitpid(words, 0)[1]), flush=True)
    elif child := os.fork():
        print(child, flush=True)
    else:
        work(*words)
"""


@pytest.fixture
def job(tmp_path):
    return Job(tmp_path, {"n": 12, "shard": 1})


@pytest.fixture
def store():
    return store_at("127.0.0.1", 0, keeps=True, patience=SOON)


def tree(job):
    """Every file of a job and its picture, but what a killed worker left in hidden folders."""
    files = [p for p in job.rglob("*") if p.is_file() and not p.parent.name.startswith(".shard-")]
    picture = job.with_name(f"{job.name}.png")
    return {p.relative_to(job).as_posix(): p.read_bytes() for p in files} | {
        "picture": picture.read_bytes()
    }


def made(job, shard):
    job.folder(shard).mkdir()
    return shard


def test_workers_share_the_shards_and_none_is_given_twice(store, job):
    made(job, 3)
    queues = [shared(store, job) for _ in range(3)]
    given = [made(job, shard) for _ in range(3) for shard in map(next, queues)]
    given += [made(job, shard) for queue in queues for shard in queue]
    assert sorted(given) == [0, 1, 2, *range(4, 12)]
    assert not job.missing()


def test_the_shard_of_a_silent_worker_is_taken_over_once(store, job):
    """The dead worker's beats end with its generator, which nobody closes: no shard comes back."""
    store.add("workers", 1)  # worker 1, which took shard 0 and never beat
    assert store.add("next", 1) == 1 and store.compare_set("owner/0", "", "1") == b"1"
    began = time.monotonic()
    given: list[int] = []
    threads = [
        threading.Thread(
            target=lambda: given.extend(made(job, i) for i in shared(store, job, lease=0.5))
        )
        for _ in range(2)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(given) == list(range(12)) and given[-1] == 0
    assert time.monotonic() - began > 0.5


def test_a_number_taken_by_a_worker_that_died_at_once_is_found(store, job):
    """Between taking a number and saying whose it is."""
    store.add("next", 1)
    assert [made(job, i) for i in shared(store, job, lease=0.5)] == [*range(1, 12), 0]


def test_a_worker_that_lives_but_does_not_go_on_is_given_up(store, job):
    stuck = shared(store, job, lease=0.4)
    assert next(stuck) == 0  # and it beats on, since the generator is held

    def slowly():
        for shard in shared(store, job, lease=0.4):
            time.sleep(0.05)
            yield made(job, shard)

    began = time.monotonic()
    assert list(slowly())[-1] == 0
    assert time.monotonic() - began < 3
    assert list(stuck) == []


def test_what_a_worker_leaves_early_is_given_to_another_at_once(store, job):
    one = shared(store, job)
    assert next(one) == 0
    one.close()
    began = time.monotonic()
    assert [made(job, i) for i in shared(store, job)] == [*range(1, 12), 0]
    assert time.monotonic() - began < 2


def test_requests_of_a_worker_do_not_grow_with_the_job(store, tmp_path):
    """Two for each shard that it makes, and bounded ones for each that it only waits for."""

    class Counting:
        def __init__(self):
            self.calls = 0

        def __getattr__(self, name):
            self.calls += 1
            return getattr(store, name)

    for count in (50, 500):
        job = Job(tmp_path / str(count), {"n": count, "shard": 1})
        job.path.mkdir()
        store.delete_key("next")
        for shard in range(count):
            store.delete_key(f"owner/{shard}")
        counting = Counting()
        for shard in shared(counting, job, lease=1000):
            made(job, shard)
        assert counting.calls <= 2 * count + 2


def test_a_queue_that_is_gone_is_told_apart(job):
    keeper = store_at("127.0.0.1", 0, keeps=True, patience=SOON)
    queue = shared(store_at("127.0.0.1", keeper.port, keeps=False, patience=SOON), job)
    made(job, next(queue))
    del keeper
    with pytest.raises(DistError):
        next(queue)


GIVEN = {"RANK": "1", "WORLD_SIZE": "2", "LOCAL_RANK": "1"}
GIVEN |= {"MASTER_ADDR": "here", "MASTER_PORT": "7"}


def test_the_place_of_a_worker_is_read_from_what_torchrun_sets():
    assert place({}) is None and place({"HOME": "/"}) is None
    assert place(GIVEN | {"RANK": "0", "WORLD_SIZE": "1"}) is None
    assert place(GIVEN) == Place(1, 1, "here", 7, keeps=False)
    assert place(GIVEN | {"RANK": "0"}) == Place(0, 1, "here", 7, keeps=True)
    hosted = {"RANK": "0", "TORCHELASTIC_USE_AGENT_STORE": "True"}
    assert place(GIVEN | hosted) == Place(0, 1, "here", 7, keeps=False)


@pytest.mark.parametrize("name", sorted(GIVEN))
def test_a_piece_of_the_environment_that_is_missing_is_named(name):
    rest = {k: v for k, v in GIVEN.items() if k != name}
    with pytest.raises(InputError, match=f"but {name} is not; workers need all of"):
        place(rest)
    if name != "MASTER_ADDR":
        with pytest.raises(InputError, match=f"{name}=two is no number"):
            place(GIVEN | {name: "two"})


def test_a_queue_that_cannot_be_joined_is_named(capfd):
    free = socket.create_server(("127.0.0.1", 0))
    port = free.getsockname()[1]
    nobody = Place(1, 1, "127.0.0.1", port, keeps=False)
    free.close()
    with pytest.raises(InputError, match=f"worker 1 cannot reach the queue at 127.0.0.1:{port}"):
        join(nobody, timedelta(seconds=1))
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(InputError, match=f"worker 0 cannot open the queue at .*:{port}"):
            join(Place(0, 0, "127.0.0.1", port, keeps=True), timedelta(seconds=1))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("queue")


@pytest.fixture
def run(toy, folder):
    if not (folder / "run").exists():
        start("toy/points", ["steps=2"], None, folder / "run", device="cpu")
    return open_run(folder / "run")


@pytest.fixture
def alone(run, folder):
    """What one process makes."""
    return tree(sample_job(run, folder / "alone", ASKED).path)


@pytest.fixture(scope="module")
def nursery(site):
    environment = {"PYTHONPATH": site, "OMP_NUM_THREADS": "1", "TORCH_CPP_LOG_LEVEL": "FATAL"}
    environment |= {"TOY_PAUSE": "0.05"}
    with subprocess.Popen(
        [sys.executable, "-c", NURSERY], env=os.environ | environment,
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    ) as process:  # fmt: skip

        def ask(words):
            print(json.dumps(words), file=process.stdin, flush=True)
            return int(process.stdout.readline())

        yield ask
        process.stdin.close()


@pytest.fixture
def hire(nursery, run, tmp_path):
    """Starts workers that share a queue by the variables of torchrun, without torchrun."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]

    def start_one(rank):
        variables = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": 3, "MASTER_PORT": port}
        environment = {name: str(value) for name, value in variables.items()}
        environment |= {"MASTER_ADDR": "127.0.0.1"}
        return nursery([str(run.path), str(tmp_path / "job"), environment])

    return start_one


def wait_for(condition):
    for _ in range(6000):
        if condition():
            return
        time.sleep(0.01)
    raise AssertionError("waited in vain")


def shards(out):
    return len(list(out.glob("shard-*")))


def at_work(out, worker):
    return any(str(worker) in path.name for path in out.glob(".shard-*"))


def test_three_workers_one_of_them_killed_make_what_one_makes(nursery, hire, alone, tmp_path):
    """Killed by SIGKILL while its shard is half-written, which is seen by its hidden folder."""
    out = tmp_path / "job"
    workers = [hire(rank) for rank in range(3)]
    wait_for(lambda: at_work(out, workers[1]))
    os.kill(workers[1], signal.SIGKILL)
    texts = [(tmp_path / f"job.{rank}.err").read_text() for rank in range(3)]
    assert [nursery(one) for one in workers] == [0, -signal.SIGKILL, 0], texts
    assert tree(out) == alone


def test_without_worker_0_the_queue_is_gone_and_the_job_goes_on_later(
    nursery, hire, run, alone, tmp_path
):
    out = tmp_path / "job"
    first, second = hire(0), hire(1)
    wait_for(lambda: shards(out) >= 4 and at_work(out, second))
    os.kill(first, signal.SIGKILL)
    assert [nursery(first), nursery(second)] == [-signal.SIGKILL, 1]
    text = (tmp_path / "job.1.err").read_text()
    assert text.startswith("Error: worker 1 lost the queue at 127.0.0.1:"), text
    assert "run the same again to go on" in text and text.count("\n") == 1
    assert 4 <= shards(out) < 40
    sample_job(run, out, ASKED)
    assert tree(out) == alone


def test_workers_hear_why_worker_0_could_not_begin(run, store, tmp_path, monkeypatch):
    store.set("begun", "there is no room")
    for name, value in {**GIVEN, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": store.port}.items():
        monkeypatch.setenv(name, str(value))
    with pytest.raises(InputError, match="worker 0 could not begin the job: there is no room"):
        sample_job(run, tmp_path / "job", ASKED)


def test_workers_that_we_start_survive_one_of_theirs(run, site, alone, tmp_path, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", site)
    monkeypatch.setenv("TOY_PAUSE", "0.1")
    out, started, popen = tmp_path / "job", [], subprocess.Popen

    def starting(*words, **options):
        started.append(popen(*words, **options))
        return started[-1]

    def kill():
        wait_for(lambda: started and at_work(out, started[0].pid))
        started[0].send_signal(signal.SIGKILL)

    monkeypatch.setattr(crew.subprocess, "Popen", starting)
    killer = threading.Thread(target=kill)
    killer.start()
    told = []
    job = sample_job(run, out, ASKED, workers=2, watch=lambda *news: told.append(news[:2]))
    killer.join()
    assert [one.returncode for one in started] == [-signal.SIGKILL, 0]
    assert tree(job.path) == alone
    assert told[-1] == (200, 200)


def test_workers_that_all_fail_are_told(run, tmp_path, monkeypatch):
    sample_job(run, tmp_path / "job", ASKED, minutes=0)
    monkeypatch.setattr(crew.sys, "executable", "/bin/false")
    with pytest.raises(InputError, match=r"all workers have ended \(exit codes 1, 1; below") as e:
        sample_job(run, tmp_path / "job", ASKED, workers=2)
    assert "only 1 of 40 shards are there" in str(e.value)


def test_a_worker_outside_of_a_queue_is_refused(capsys):
    assert main(["job", "run"]) == 2
    assert "needs the environment that torchrun sets" in capsys.readouterr().err


def test_without_ray_the_extra_is_named(run, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(InputError, match=r"pip install 'sfumato-train\[ray\]'"):
        sample_job(run, tmp_path / "job", ASKED, backend="ray")


def test_a_worker_of_torchrun_starts_no_workers(run, tmp_path, monkeypatch):
    for name, value in GIVEN.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(InputError, match="starts no workers of its own"):
        sample_job(run, tmp_path / "job", ASKED, workers=2)
    assert not list(tmp_path.iterdir())
