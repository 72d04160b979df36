"""Checkpoints: whole or not there, strict, and clear about what is wrong."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from torch import nn

from sfumato import InputError
from sfumato_train import checkpoint, files
from sfumato_train.checkpoint import Keep, Saved

KEEP = Keep(last=2)


class Tied(nn.Module):
    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.arange(6.0).view(2, 3))
        self.again = self.weight
        self.register_buffer("count", torch.tensor(3))
        self.register_buffer("scratch", torch.zeros(2), persistent=False)


def save(folder, step, held_loss=None, keep=KEEP, **tensors):
    return checkpoint.write(folder, step, {"model": tensors}, held_loss, keep)


def test_what_is_shared_is_stored_once_and_what_is_scratch_never():
    assert list(checkpoint.collect(Tied())) == ["weight", "count"]


def test_a_module_comes_back_bit_for_bit(tmp_path):
    module, other = Tied(), Tied()
    module.weight.data[0, 0] = torch.nan
    module.count.fill_(9)
    saved = checkpoint.write(tmp_path, 1, {"model": checkpoint.collect(module)}, None, KEEP)
    checkpoint.load(saved.path, "model", checkpoint.collect(other))
    assert other.weight.detach().numpy().tobytes() == module.weight.detach().numpy().tobytes()
    assert other.count == 9 and other.again is other.weight


def test_only_the_last_and_the_best_are_kept(tmp_path):
    for step, loss in ((10, 3.0), (20, 1.0), (30, 2.0), (40, 5.0), (50, 4.0)):
        save(tmp_path, step, loss, a=torch.zeros(1))
    assert [one.step for one in checkpoint.saved(tmp_path)] == [20, 40, 50]
    assert checkpoint.best(checkpoint.saved(tmp_path)).step == 20
    assert sorted(p.name for p in tmp_path.iterdir()) == [
        "step-000020",
        "step-000040",
        "step-000050",
    ]


def test_retention_is_an_object_and_losses_may_be_missing():
    found = [Saved(Path(str(i)), i, loss) for i, loss in enumerate([None, 2.0, 2.0, None])]
    assert [one.step for one in Keep(last=1)(found)] == [2, 3]  # of equals the later
    assert [one.step for one in Keep(last=1, best=False)(found)] == [3]
    assert checkpoint.best(found[:1]) is None


@pytest.mark.parametrize("fails_at", ["save_file", "sync", "write_json"])
def test_a_crash_between_files_leaves_the_previous_checkpoint_alone(
    tmp_path, monkeypatch, fails_at
):
    save(tmp_path, 1, a=torch.ones(2), b=torch.ones(1))
    before = {p: p.read_bytes() for p in tmp_path.rglob("*") if p.is_file()}
    calls = []

    def crash(*args):
        calls.append(args)
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(checkpoint, fails_at, crash)
    with pytest.raises(OSError, match="No space"):
        save(tmp_path, 2, a=torch.zeros(2))
    assert calls and {p: p.read_bytes() for p in tmp_path.rglob("*") if p.is_file()} == before
    assert [one.step for one in checkpoint.saved(tmp_path)] == [1]


def test_what_a_killed_process_left_is_never_seen_and_tidied_away(tmp_path):
    save(tmp_path, 1, a=torch.ones(2))
    half = tmp_path / ".step-000002"
    half.mkdir()
    (half / "model.safetensors").write_bytes(b"half")
    assert [one.step for one in checkpoint.saved(tmp_path)] == [1]
    checkpoint.tidy(tmp_path)
    assert [p.name for p in tmp_path.iterdir()] == ["step-000001"]


@pytest.mark.parametrize("share", [0.0, 0.01, 0.5, 0.99])
def test_a_truncated_file_is_named(tmp_path, share):
    saved = save(tmp_path, 1, a=torch.ones(500))
    file = saved.path / "model.safetensors"
    content = file.read_bytes()
    file.write_bytes(content[: int(share * len(content))])
    with pytest.raises(InputError, match=r"model.safetensors is truncated or no safetensors file"):
        checkpoint.read(saved.path, "model")


def test_a_missing_file_is_named(tmp_path):
    saved = save(tmp_path, 1, a=torch.ones(5))
    with pytest.raises(InputError, match=r"ema.safetensors is missing"):
        checkpoint.read(saved.path, "ema")


@pytest.mark.parametrize(
    ("tensors", "message"),
    [
        ({"weight": torch.zeros(2, 3)}, r"does not fit .* 1 missing \(count\)$"),
        (
            {k: torch.zeros(1) for k in "abcd"},
            r"2 missing \(count, weight\), 4 unexpected \(a, b, c, \.\.\.\)",
        ),
        (
            {"weight": torch.zeros(3, 2), "count": torch.tensor(0)},
            r"weight is float32 of shape \(3, 2\), but .* has float32 of shape \(2, 3\)",
        ),
        (
            {"weight": torch.zeros(2, 3).double(), "count": torch.tensor(0)},
            r"weight is float64 of shape \(2, 3\), but",
        ),
    ],
)
def test_a_foreign_file_is_refused_and_nothing_is_loaded(tmp_path, tensors, message):
    saved, module = save(tmp_path, 1, **tensors), Tied()
    with pytest.raises(InputError, match=message):
        checkpoint.load(saved.path, "model", checkpoint.collect(module))
    assert torch.equal(module.weight, Tied().weight)


def test_a_newer_format_is_refused(tmp_path):
    saved = save(tmp_path, 1, a=torch.ones(1))
    facts = json.loads((saved.path / "state.json").read_text())
    (saved.path / "state.json").write_text(json.dumps({**facts, "format": 2}))
    with pytest.raises(InputError, match="format 2, which is newer than the 1 .* update sfumato"):
        checkpoint.saved(tmp_path)
    with pytest.raises(InputError, match="format 2"):
        checkpoint.read(saved.path, "model")


def test_an_older_format_is_migrated_step_by_step(tmp_path, monkeypatch):
    saved = save(tmp_path, 1, old=torch.ones(1))

    def rename(stem, tensors):
        assert stem == "model"
        return {"new": tensors["old"] + 1}

    def double(stem, tensors):
        return {name: 2 * value for name, value in tensors.items()}

    monkeypatch.setattr(checkpoint, "FORMAT", 3)
    monkeypatch.setattr(checkpoint, "MIGRATIONS", {1: rename, 2: double})
    assert checkpoint.read(saved.path, "model")["new"].item() == 4


@pytest.mark.parametrize("content", ["", "{", "[]", "{}", '{"format": "1"}'])
def test_a_damaged_state_is_named(tmp_path, content):
    saved = save(tmp_path, 1, a=torch.ones(1))
    (saved.path / "state.json").write_text(content)
    with pytest.raises(InputError, match=r"state.json is (damaged|not the state)"):
        checkpoint.saved(tmp_path)


def test_states_that_are_not_tensors_are_refused():
    class Odd(nn.Module):
        def get_extra_state(self):
            return {"a": 1}

    with pytest.raises(InputError, match="_extra_state of the state is a dict"):
        checkpoint.collect(Odd())


def test_json_is_written_whole_or_not_at_all(tmp_path, monkeypatch):
    path = tmp_path / "a.json"
    files.write_json(path, {"a": 1})
    with pytest.raises(ValueError):
        files.write_json(path, {"a": float("nan")})
    monkeypatch.setattr(files, "sync", lambda p: (_ for _ in ()).throw(OSError(28, "full")))
    with pytest.raises(OSError, match="full"):
        files.write_json(path, {"a": 2})
    assert files.read_json(path) == {"a": 1}
    assert [p.name for p in tmp_path.iterdir()] == ["a.json"]


def test_rows_survive_a_line_that_was_cut_off(tmp_path):
    path = tmp_path / "metrics.jsonl"
    for step in (1, 2, 3):
        files.append(path, {"step": step})
    with path.open("a") as file:
        file.write('{"step": 4, "lo')
    assert [row["step"] for row in files.rows(path)] == [1, 2, 3]
    files.trim(path, 2)
    assert path.read_text() == '{"step": 1}\n{"step": 2}\n'
