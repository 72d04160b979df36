"""Sampling jobs: the same files whatever happens meanwhile, and nothing else in the folder."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
import torch

from sfumato import InputError
from sfumato_train import draw, open_run, start
from sfumato_train.folders import check_place, placed, swept
from sfumato_train.jobs.claiming import begun
from sfumato_train.jobs.shards import Asked, Job, job_batches, make, open_job
from sfumato_train.jobs.workers import sample_job

DEAD = 2**22 + 1  # no process has this number
ASKED = Asked(n=50, shard=12, batch=5, seed=3, device="cpu", condition={"label": "1"})


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("sharding")


@pytest.fixture
def run(toy, folder):
    if not (folder / "run").exists():
        start("toy/points", ["steps=2"], None, folder / "run", device="cpu")
    return open_run(folder / "run")


@pytest.fixture
def job(run, tmp_path):
    return sample_job(run, tmp_path / "job", ASKED)


def tree(job):
    """Every file of a job, and its picture."""
    files = {p.relative_to(job).as_posix(): p.read_bytes() for p in job.rglob("*") if p.is_file()}
    return files | {"picture": job.with_name(f"{job.name}.png").read_bytes()}


def test_shards_hold_the_samples_that_draw_gives(run, job):
    label = torch.ones(50, dtype=torch.long)
    whole = draw(run, 50, seed=3, batch=5, condition={"label": label}, device="cpu")
    found = [np.load(job.folder(i) / "points.npy") for i in range(5)]
    assert [len(x) for x in found] == [12, 12, 12, 12, 2]
    np.testing.assert_allclose(np.concatenate(found), whole.x.numpy(), atol=1e-5)
    shown = json.loads(job.picture.read_text())
    np.testing.assert_allclose(shown, whole.x[:12].tolist(), atol=1e-5)
    note = json.loads((job.path / "samples.json").read_text())
    assert (note["n"], note["seed"], note["condition"]) == (50, 3, {"label": "1"})


def test_a_job_that_was_stopped_anywhere_ends_with_the_same_files(run, job, tmp_path):
    """Stopped after each number of shards, with what a killed worker leaves behind."""
    whole = tree(job.path)
    for stop in range(job.count):
        part = tmp_path / "part"
        with begun(part, run, ASKED) as begin:
            for shard in range(stop):
                make(begin, run, run.model(device="cpu"), shard)
        left = part / f".shard-{stop:06d}.{socket.gethostname()}.{DEAD}"
        left.mkdir()
        (left / "points.npy").write_bytes(b"half")
        assert not (part / "samples.json").exists()
        sample_job(run, part, ASKED)
        assert tree(part) == whole
        shutil.rmtree(part)


def test_what_a_living_worker_is_making_is_left_to_it(run, job):
    """A worker that torchrun has started again may be ahead of worker 0."""
    living = job.path / f".shard-000009.{socket.gethostname()}.{os.getpid()}"
    elsewhere = job.path / f".shard-000009.elsewhere.{DEAD}"
    for folder in (living, elsewhere):
        folder.mkdir()
    sample_job(run, job.path, ASKED)
    assert living.exists() and elsewhere.exists()


def test_a_finished_job_is_left_as_it_is(run, job):
    before = {path: path.stat().st_mtime_ns for path in job.path.glob("shard-*/*")}
    told = []
    sample_job(run, job.path, ASKED, watch=lambda *news: told.append(news))
    assert {path: path.stat().st_mtime_ns for path in job.path.glob("shard-*/*")} == before
    assert told == [(50, 50, None, None)]


def test_a_time_limit_leaves_whole_shards_and_goes_on(run, job, tmp_path):
    told = []
    part = sample_job(
        run, tmp_path / "part", ASKED, minutes=0, watch=lambda *news: told.append(news[:2])
    )
    assert part.missing() == [1, 2, 3, 4] and all(0 < step <= 12 for step, _ in told)
    assert not (part.path / "samples.json").exists()
    sample_job(run, part.path, ASKED, watch=lambda *news: told.append(news[:2]))
    assert tree(part.path) == tree(job.path)
    assert told[-1] == (50, 50) and [step for step, _ in told] == sorted(step for step, _ in told)


def test_the_shard_size_and_the_batch_are_kept_by_the_job(run, job):
    again = replace(ASKED, shard=None, batch=None)
    assert sample_job(run, job.path, again).facts == job.facts
    assert job.facts["batch"] == 5


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"n": 51}, "with n=50, but now it is n=51"),
        ({"seed": 4, "steps": 3}, "with steps=10, seed=3, but now it is steps=3, seed=4"),
        ({"condition": {}}, "but now it is condition={}"),
        ({"sampler": "ddim"}, "sampler=None, but now it is sampler=ddim"),
        ({"shard": 10}, "shard=12, but now it is shard=10"),
        ({"batch": 6}, "batch=5, but now it is batch=6"),
        ({"precision": "bf16"}, "precision=bf16"),
    ],
)
def test_a_job_of_other_options_is_refused_with_the_difference(run, job, change, says):
    before = tree(job.path)
    with pytest.raises(InputError) as caught:
        sample_job(run, job.path, replace(ASKED, **change))
    assert says in str(caught.value).replace("\n", " ")
    assert tree(job.path) == before


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"format": 2}, "format 2, and this sfumato works on format 1"),
        ({"versions": {"torch": "1.0"}}, "versions={'torch': '1.0'}"),
        ({"recipe": "toy/other"}, "recipe=toy/other, but now it is recipe=toy/points"),
        ({"device": "cuda"}, "device=cuda, but now it is device=cpu"),
        ({"checkpoint": {"step": 7, "weights": ""}}, "step 7 of its run, but"),
        ({"checkpoint": {"step": 2, "weights": "0"}}, "other weights at step 2"),
    ],
)
def test_a_job_of_another_run_or_version_is_refused(run, job, change, says):
    shutil.rmtree(job.folder(2))
    facts = json.loads((job.path / "job.json").read_text())
    (job.path / "job.json").write_text(json.dumps(facts | change))
    with pytest.raises(InputError) as caught:
        sample_job(run, job.path, ASKED)
    assert says in str(caught.value)
    assert not job.made(2) and job.made(1)


def test_a_damaged_job_is_named(run, job):
    (job.path / "job.json").write_text('{"format": 1, "n": 50}')
    with pytest.raises(InputError, match="is damaged: it lacks batch"):
        sample_job(run, job.path, ASKED)
    (job.path / "job.json").write_text('{"format": 1, ')
    with pytest.raises(InputError, match="is damaged"):
        open_job(job.path)


def test_two_processes_do_not_work_on_one_job(run, job, tmp_path):
    with begun(job.path, run, ASKED), pytest.raises(InputError, match="another process is at"):
        sample_job(run, job.path, ASKED)


def test_only_earlier_samples_are_replaced(run, job, tmp_path):
    (tmp_path / "old").mkdir()
    (tmp_path / "old" / "points.npy").write_bytes(b"")
    with pytest.raises(InputError, match="no samples of ours"):
        sample_job(run, tmp_path / "old", ASKED)
    (tmp_path / "old" / "samples.json").write_text("{}")
    assert tree(sample_job(run, tmp_path / "old", ASKED).path) == tree(job.path)


def test_a_full_disk_leaves_the_finished_shards_and_names_the_cause(run, job, tmp_path, toy):
    """The third shard fails in the middle of its second file, and again until there is room."""
    part, room = tmp_path / "part", [2]

    def write(self, batch, path, about):
        (path / "half.npy").write_bytes(b"half")
        if not room[0]:
            raise OSError(28, "No space left on device")
        room[0] -= 1
        (path / "half.npy").unlink()
        return whole(self, batch, path, about)

    whole = toy.Points.write
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(toy.Points, "write", write)
        for _ in range(2):
            with pytest.raises(InputError) as caught:
                sample_job(run, part, ASKED)
            assert "shard 2 of" in str(caught.value) and "2 of 5 shards" in str(caught.value)
            assert "No space left on device" in str(caught.value)
            assert sorted(path.name for path in part.iterdir()) == [
                ".lock", "job.json", "shard-000000", "shard-000001",
            ]  # fmt: skip
    sample_job(run, part, ASKED)
    assert tree(part) == tree(job.path)


def test_a_shard_that_another_worker_has_made_stays(run, job):
    before = tree(job.path)
    inode = job.folder(1).stat().st_ino
    make(job, run, run.model(device="cpu"), 1)
    assert tree(job.path) == before and job.folder(1).stat().st_ino == inode


def test_an_interrupt_says_what_is_there(run, tmp_path, monkeypatch):
    import sfumato_train.jobs.workers as workers

    def interrupted(job, run, model, shard, watch):
        if shard == 2:
            raise KeyboardInterrupt
        make(job, run, model, shard, watch)

    monkeypatch.setattr(workers, "make", interrupted)
    with pytest.raises(KeyboardInterrupt, match="2 of 5 shards are there; run the same again"):
        sample_job(run, tmp_path / "part", ASKED)


def test_what_was_written_is_read_back_in_order_with_its_conditions(run, job):
    found = list(job_batches(run, job.path, size=8))
    assert [len(batch.x) for batch in found] == [8, 4] * 4 + [2]
    whole = np.concatenate([np.load(job.folder(i) / "points.npy") for i in range(5)])
    assert np.array_equal(torch.cat([batch.x for batch in found]).numpy(), whole)
    assert all((batch.condition["label"] == 1).all() for batch in found)


def test_unfinished_or_damaged_samples_are_not_measured(run, job):
    with pytest.raises(InputError, match="has no samples.json"):
        next(job_batches(run, job.path / "nowhere"))
    np.save(job.folder(3) / "points.npy", np.zeros((11, 2), np.float32))
    with pytest.raises(InputError, match="shard-000003 holds 11 of its 12 samples"):
        list(job_batches(run, job.path))
    (job.path / "samples.json").unlink()
    shutil.rmtree(job.folder(3))
    with pytest.raises(InputError, match="only 4 of 5 shards are made"):
        next(job_batches(run, job.path))


def test_jobs_know_their_shards(tmp_path):
    job = Job(tmp_path, {"n": 25, "shard": 10})
    assert job.count == 3 and list(job.numbers(2)) == [20, 21, 22, 23, 24]
    assert job.missing() == [0, 1, 2]
    (tmp_path / "shard-000001").mkdir()
    assert job.missing() == [0, 2] and job.told() == "1 of 3 shards"


@pytest.mark.parametrize("n", [0, -3])
def test_numbers_below_one_are_refused(n):
    for name in ("n", "shard", "batch", "steps"):
        with pytest.raises(InputError, match=f"{name} must be at least 1, but is {n}"):
            Asked(**{"n": 5, name: n})


def test_what_killed_processes_left_is_swept_and_nothing_else(tmp_path):
    code = """
import os, signal, sys
from pathlib import Path
from sfumato_train.folders import placed
with placed(Path(sys.argv[1])):
    os.kill(os.getpid(), signal.SIGKILL)
"""
    subprocess.run([sys.executable, "-c", code, str(tmp_path / "one")], check=False)
    (dead,) = tmp_path.iterdir()
    put_away = dead.with_name(f"{dead.name}.old")
    put_away.mkdir()
    elsewhere = tmp_path / f".one.another-host.{dead.name.rpartition('.')[2]}"
    elsewhere.mkdir()
    with placed(tmp_path / "one") as alive:
        swept(tmp_path, "two")
        assert dead.is_dir()
        swept(tmp_path, "*")
        assert set(tmp_path.iterdir()) == {put_away, elsewhere, alive}


def test_a_folder_is_placed_whole_or_not_at_all(tmp_path):
    def write(text, **options):
        with placed(tmp_path / "a" / "b", **options) as folder:
            (folder / "file").write_text(text)
            if text == "bad":
                raise ValueError

    def there():
        return [p.name for p in (tmp_path / "a").iterdir()], (tmp_path / "a/b/file").read_text()

    write("one")
    assert there() == (["b"], "one")
    write("two")
    assert there() == (["b"], "one")
    write("three", replace=True)
    assert there() == (["b"], "three")
    with pytest.raises(ValueError):
        write("bad", replace=True)
    assert there() == (["b"], "three")


def test_places_where_no_folder_can_be_made_are_named(tmp_path):
    (tmp_path / "file").write_text("")
    check_place(tmp_path / "new" / "deep")
    assert os.listdir(tmp_path) == ["file"]
    for path in (tmp_path / "file" / "x", tmp_path / "file" / "x" / "y", tmp_path / ("x" * 300)):
        with pytest.raises(InputError, match="cannot be made"), placed(path):
            pass
    for path in (tmp_path / "file" / "x", tmp_path / "file" / "x" / "y"):
        with pytest.raises(InputError, match="takes no new folder"):
            check_place(path)
    if os.path.isdir("/proc/self"):
        with pytest.raises(InputError, match="/proc takes no new folder"):
            check_place(type(tmp_path)("/proc/x"))
