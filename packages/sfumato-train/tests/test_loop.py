"""The loop: exact resume, accumulation, players in turn, stopping for good and bad reasons."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time

import pytest
import torch
from safetensors.torch import load_file
from torch import nn

from sfumato import Batch, Denoiser, Dirac, InputError, Model, Preconditioned
from sfumato_data import Tensors, subset
from sfumato_methods.gaussian import linear
from sfumato_methods.grids import uniform
from sfumato_methods.solvers import Heun
from sfumato_train import (
    Denoising,
    Diverged,
    Loss,
    Objective,
    Settings,
    Training,
    averaged,
    checkpoint,
    draw,
    fit,
)
from sfumato_train.runs import fresh


def build(toy, name="Toy", items=200, **fields):
    recipe = getattr(toy, name)(**{"log": 5, "save": 10, "warmup": 5, **fields})
    return recipe, fresh(recipe.seed, lambda: recipe.build(toy.points(items)))


def train(toy, out, name="Toy", fields=None, **options):
    recipe, training = build(toy, name, **(fields or {}))
    fit(training, recipe, out, **options)
    return training


def contents(out, step):
    """All bytes of the tensors of a checkpoint."""
    folder = out / "checkpoints" / f"step-{step:06d}"
    return {path.name: path.read_bytes() for path in folder.glob("*.safetensors")}


def rows(out):
    """The rows of the metrics, without the times."""
    lines = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    return [{k: v for k, v in row.items() if k != "items_per_s"} for row in lines]


@pytest.mark.parametrize("name", ["Toy", "Duel"])
@pytest.mark.parametrize("stop", [10, 13])
def test_stopped_and_resumed_is_uninterrupted_bit_for_bit(toy, tmp_path, name, stop, monkeypatch):
    """With dropout in the network, two players, accumulation and EMA."""
    fields = {"steps": 30, "dropout": 0.2, "accumulation": 3, "ema": 0.9}
    held = subset(toy.points(300), range(200, 300))
    train(toy, tmp_path / "whole", name, fields, held=held)

    recipe, training = build(toy, name, **fields)
    begin, done = time.monotonic, []
    training.objective.after, after = (
        lambda player, step: (done.append(step), after(player, step)),
        training.objective.after,
    )
    # the time is over when step `stop` is done
    monkeypatch.setattr(
        "sfumato_train.loop.time.monotonic",
        lambda: begin() + (1e6 if done and done[-1] == stop - 1 else 0),
    )
    assert fit(training, recipe, tmp_path / "parts", held=held, minutes=100) == stop
    monkeypatch.undo()
    train(toy, tmp_path / "parts", name, fields, held=held, resume=True)

    assert contents(tmp_path / "parts", 30) == contents(tmp_path / "whole", 30)
    assert len(contents(tmp_path / "whole", 30)) == 3
    if stop == 10:  # a place where a row ends anyway
        assert rows(tmp_path / "parts") == rows(tmp_path / "whole")


def test_the_average_follows_the_live_weights_step_by_step(toy, tmp_path):
    """The stored average is the closed form of the weights after each step."""
    recipe, training = build(toy, steps=12, ema=0.6)
    weight = training.model.denoiser.net.inward.weight
    seen = [weight.detach().clone()]
    after = training.objective.after
    training.objective.after = lambda player, step: (
        seen.append(weight.detach().clone()),
        after(player, step),
    )
    fit(training, recipe, tmp_path)
    average = seen[0]
    for k, live in enumerate(seen[1:], start=1):
        rate = min(0.6, (1 + k) / (10 + k))
        average = rate * average + (1 - rate) * live
    stored = checkpoint.read(tmp_path / "checkpoints" / "step-000012", "ema")
    assert torch.allclose(stored["denoiser.net.inward.weight"], average, atol=1e-6)


def test_another_seed_is_another_training(toy, tmp_path):
    for seed in (0, 1):
        train(toy, tmp_path / str(seed), fields={"steps": 5, "seed": seed})
    assert contents(tmp_path / "0", 5) != contents(tmp_path / "1", 5)


def test_resuming_a_finished_run_changes_nothing(toy, tmp_path):
    train(toy, tmp_path, fields={"steps": 10})
    before = contents(tmp_path, 10), rows(tmp_path)
    train(toy, tmp_path, fields={"steps": 10}, resume=True)
    assert (contents(tmp_path, 10), rows(tmp_path)) == before
    with pytest.raises(InputError, match="past the 9 steps asked for"):
        train(toy, tmp_path, fields={"steps": 9}, resume=True)


class Straight(Objective):
    """Least squares without a draw, so that parts of a batch can be compared with the whole."""

    def __init__(self, denoiser):
        super().__init__()
        self.denoiser = denoiser

    def players(self):
        return {"denoiser": self.denoiser}

    def loss(self, player, batch, generator):
        t = batch.condition["t"]
        return Loss(self.denoiser(batch.x, t).loss(batch.x.flip(1)), {"first": batch.x[:, 0]})


@pytest.mark.parametrize("parts", [2, 3, 32])
def test_accumulation_equals_the_bigger_batch(toy, tmp_path, parts):
    weights = []
    for count in (1, parts):
        recipe, training = build(toy, steps=20, batch=32, accumulation=count, lr=1e-3)
        points = toy.points(100)
        data = Tensors(points.x, {"t": torch.linspace(0.1, 0.9, 100).double()})
        training = Training(Straight(training.model.denoiser), data, training.model)
        fit(training, recipe, tmp_path / str(count))
        weights.append(
            torch.cat([p.detach().flatten() for p in training.model.denoiser.parameters()])
        )
    assert (weights[0] - weights[1]).abs().max() < 1e-6
    for one, other in zip(rows(tmp_path / "1"), rows(tmp_path / str(parts)), strict=True):
        assert one["loss"] == pytest.approx(other["loss"], rel=1e-4)
        assert one["parts"]["first"] == pytest.approx(other["parts"]["first"], rel=1e-4, abs=1e-6)


def test_players_are_updated_in_their_turns(toy, tmp_path):
    training = train(toy, tmp_path, "Duel", {"steps": 10})
    assert training.objective.seen.tolist() == [15, 10]  # critic twice on odd steps
    found = checkpoint.read(tmp_path / "checkpoints" / "step-000010", "training")
    assert found["optimiser/critic/weight/step"] == 15
    assert found["optimiser/denoiser/net.inward.weight/step"] == 10
    row = rows(tmp_path)[-1]
    assert row["parts"].keys() == {"critic.loss", "critic.grad_norm", "critic.gap"}
    assert "held_loss" not in row


def test_a_turn_leaves_the_other_player_alone(toy, tmp_path):
    _, training = build(toy, "Duel")
    critic = [p.detach().clone() for p in training.objective.critic.parameters()]
    training.objective.turns = lambda step: ("denoiser",)
    fit(training, toy.Duel(steps=3), tmp_path)
    assert all(map(torch.equal, critic, training.objective.critic.parameters()))
    assert all(p.grad is None for p in training.objective.parameters())


@pytest.mark.parametrize(
    ("where", "what"), [("loss", "loss"), ("gradient", "norm of the gradient")]
)
def test_a_loss_that_is_not_finite_stops_and_names_step_and_checkpoint(
    toy, tmp_path, monkeypatch, where, what
):
    monkeypatch.setattr(toy.Poison, "where", where)
    with pytest.raises(Diverged) as caught:
        train(toy, tmp_path, "Poisoned", {"steps": 40})
    told = str(caught.value)
    assert f"the {what} of 'denoiser' is nan at step 12" in told
    assert "step-000010" in told and "smaller lr" in told and "\n" not in told
    assert isinstance(caught.value, InputError)
    (last,) = checkpoint.saved(tmp_path / "checkpoints")
    assert last.step == 10
    for value in checkpoint.read(last.path, "model").values():
        assert value.isfinite().all()
    assert [row["step"] for row in rows(tmp_path)] == [5, 10]


def test_a_loss_that_is_never_finite_says_that_nothing_is_kept(toy, tmp_path, monkeypatch):
    monkeypatch.setattr(toy.Poison, "at", 0)
    with pytest.raises(Diverged, match="at step 0; no checkpoint had been written"):
        train(toy, tmp_path, "Poisoned", {"steps": 40, "log": 1})
    assert not (tmp_path / "checkpoints").exists()


def test_a_bad_loss_is_found_before_a_checkpoint_is_written(toy, tmp_path):
    with pytest.raises(Diverged, match="at step 12"):
        train(toy, tmp_path, "Poisoned", {"steps": 40, "log": 40, "save": 10})
    assert [one.step for one in checkpoint.saved(tmp_path / "checkpoints")] == [10]


def test_minutes_end_the_training_with_a_checkpoint(toy, tmp_path):
    recipe, training = build(toy, steps=10**6)
    told = []
    done = fit(training, recipe, tmp_path, minutes=0.5 / 60, watch=lambda *news: told.append(news))
    assert 0 < done < 10**6 and told[-1][0] == done
    assert checkpoint.saved(tmp_path / "checkpoints")[-1].step == done


def test_ctrl_c_finishes_the_step_saves_and_says_so(toy, tmp_path):
    recipe, training = build(toy, steps=10**6, save=10**6)

    def press(player, step):
        if step == 6:
            os.kill(os.getpid(), signal.SIGINT)

    training.objective.after = press
    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt, match=r"stopped at step 7; kept is .*step-000007"):
        fit(training, recipe, tmp_path)
    assert signal.getsignal(signal.SIGINT) is before
    assert [one.step for one in checkpoint.saved(tmp_path / "checkpoints")] == [7]


def test_an_earlier_training_is_not_mixed_up_with_a_new_one(toy, tmp_path):
    train(toy, tmp_path, fields={"steps": 30})
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    with pytest.raises(InputError, match="holds an earlier training; resume it"):
        train(toy, tmp_path, fields={"steps": 10})
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before


def test_rows_of_a_training_without_a_checkpoint_are_forgotten(toy, tmp_path, monkeypatch):
    with pytest.raises(Diverged):
        train(toy, tmp_path, "Poisoned", {"steps": 20, "save": 100})
    assert [row["step"] for row in rows(tmp_path)] == [5, 10]
    monkeypatch.setattr(toy.Poison, "at", 100)
    train(toy, tmp_path, "Poisoned", {"steps": 10}, resume=True)
    assert [row["step"] for row in rows(tmp_path)] == [5, 10]


def test_it_works_in_a_thread_that_gets_no_signals(toy, tmp_path):
    thread = threading.Thread(target=train, args=(toy, tmp_path), kwargs={"fields": {"steps": 3}})
    thread.start()
    thread.join()
    assert checkpoint.saved(tmp_path / "checkpoints")[-1].step == 3


def test_one_folder_has_one_writer(toy, tmp_path):
    recipe, training = build(toy, steps=5)

    def inside(step, model):
        with pytest.raises(InputError, match="another process is training in"):
            train(toy, tmp_path)

    fit(training, recipe, tmp_path, on_save=inside)
    assert checkpoint.saved(tmp_path / "checkpoints")[-1].step == 5


def test_rows_tell_what_happened(toy, tmp_path):
    train(toy, tmp_path, fields={"steps": 12, "save": 7, "lr": 0.01}, held=toy.points(50, seed=1))
    lines = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert [row["step"] for row in lines] == [5, 7, 10, 12]
    for row in lines:
        assert row["loss"] > 0 and row["grad_norm"] > 0 and row["items_per_s"] > 0
        assert row["lr"] <= 0.01 and row["parts"].keys() == {"unweighted"}
    assert [row["step"] for row in lines if "held_loss" in row] == [7, 12]
    saved = checkpoint.saved(tmp_path / "checkpoints")
    assert [one.held_loss for one in saved] == [lines[1]["held_loss"], lines[3]["held_loss"]]


def test_validation_uses_the_average_and_changes_nothing(toy, tmp_path):
    held, fields = toy.points(700, seed=1), {"steps": 20, "dropout": 0.3}
    train(toy, tmp_path / "with", fields=fields, held=held)
    train(toy, tmp_path / "without", fields=fields)
    assert contents(tmp_path / "with", 20) == contents(tmp_path / "without", 20)


def test_the_best_checkpoint_is_kept_besides_the_last(toy, tmp_path, monkeypatch):
    losses = iter([1.0, 0.5, 0.7, 0.8, 0.9])
    monkeypatch.setattr(
        "sfumato_train.loop._Loop._validate", lambda self: {"held_loss": next(losses)}
    )
    train(toy, tmp_path, fields={"steps": 50, "keep": 1})
    assert [one.step for one in checkpoint.saved(tmp_path / "checkpoints")] == [20, 50]


def test_the_watch_hears_of_the_end(toy, tmp_path):
    news = []
    train(toy, tmp_path, fields={"steps": 20}, watch=lambda *told: news.append(told))
    assert news[-1][:2] == (20, 20) and news[-1][2] == rows(tmp_path)[-1]["loss"]
    assert len(news) < 20  # at most ten times a second


def test_it_learns_a_gaussian(tmp_path):
    """Mean and covariance of 20,000 samples within 0.05 of those of the data."""

    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.body = nn.Sequential(
                nn.Linear(3, 32), nn.SiLU(), nn.Linear(32, 32), nn.SiLU(), nn.Linear(32, 2)
            )

        def forward(self, x, clock):
            return self.body(torch.cat([x, 0.2 * clock[:, None]], 1))

    from sfumato import random

    factor, mean = torch.tensor([[1.0, 0.0], [0.6, 0.5]]), torch.tensor([1.0, -0.5])
    x = random.normal(torch.empty(20_000, 2), random.derive(0, "x")) @ factor.T + mean
    process = linear()
    net = fresh(0, Net)
    model = Model(
        process,
        Preconditioned(net, process, "flow"),
        Heun(),
        uniform,
        16,
        lambda n, g: torch.zeros(n, 2),
    )
    training = Training(Denoising(process, model.denoiser), Tensors(x), model)
    fit(training, Settings(steps=800, batch=256, lr=8e-3, warmup=50), tmp_path)
    samples = draw(model, 20_000, batch=20_000).x
    assert (samples.mean(0) - x.mean(0)).abs().max() < 0.05
    assert (samples.T.cov() - x.T.cov()).abs().max() < 0.05


def test_an_objective_may_return_any_number_of_items(tmp_path):
    """The loop takes the mean of what it is given."""

    class Scale(Denoiser):
        def __init__(self):
            super().__init__()
            self.gain = nn.Parameter(torch.zeros(()))

        def forward(self, x, t):
            return Dirac(x * self.gain)

    class Few(Objective):
        def __init__(self, denoiser):
            super().__init__()
            self.denoiser = denoiser

        def players(self):
            return {"only": self.denoiser}

        def loss(self, player, batch: Batch, generator):
            return Loss((self.denoiser.gain - 1).square().expand(3))

    process, denoiser = linear(), Scale()
    model = Model(process, denoiser, Heun(), uniform, 2, lambda n, g: torch.zeros(n, 1))
    training = Training(Few(denoiser), Tensors(torch.zeros(8, 1)), model)
    settings = Settings(steps=300, batch=8, accumulation=2, lr=0.1, warmup=0, ema=0)
    fit(training, settings, tmp_path)
    assert float(denoiser.gain.detach()) == pytest.approx(1, abs=1e-3)
    assert sorted(p.name for p in (tmp_path / "checkpoints" / "step-000300").iterdir()) == [
        "model.safetensors",
        "state.json",
        "training.safetensors",
    ]


def test_recomputed_activations_change_no_bit(tmp_path):
    """With dropout inside the blocks, in a network of blocks."""

    class Blocks(nn.Module):
        def __init__(self):
            super().__init__()
            make = (nn.Sequential(nn.Linear(2, 16), nn.Dropout(0.3), nn.Linear(16, 2)),)
            self.blocks = nn.ModuleList([*make, nn.Sequential(nn.SiLU(), nn.Linear(2, 2))])

        def forward(self, x, clock):
            for block in self.blocks:
                x = x + block(x)
            return x

    def trained(name, **fields):
        process = linear()
        net = fresh(0, Blocks)
        model = Model(process, Preconditioned(net, process, "flow"), Heun(), uniform, 2, None)
        training = Training(Denoising(process, model.denoiser), Tensors(torch.ones(64, 2)), model)
        calls = []
        net.blocks[0][0].register_forward_hook(lambda *_: calls.append(1))
        fit(training, Settings(steps=6, batch=16, save=6, warmup=0, **fields), tmp_path / name)
        return len(calls)

    assert trained("kept") * 2 == trained("again", recompute=True)
    assert contents(tmp_path / "kept", 6) == contents(tmp_path / "again", 6)


def test_validation_is_told_by_noise_level(toy, tmp_path):
    """Each level is the mean of its items; together they make up the whole."""
    held = subset(toy.points(300), range(200, 300))
    recipe, training = build(toy, steps=10, ema=0.0)
    seen = []
    validate = training.objective.validate

    def spy(batch, generator):
        seen.append(validate(batch, generator))
        return seen[-1]

    training.objective.validate = spy
    fit(training, recipe, tmp_path, held=held)
    clock, order = torch.cat([loss.clock for loss in seen]).sort()
    each = torch.cat([loss.each for loss in seen]).double()
    (row,) = (row for row in rows(tmp_path) if "held_loss" in row)
    assert row["held_loss"] == pytest.approx(float(each.mean()))
    assert len(row["held_levels"]) == 10
    for place, (level, told) in enumerate(row["held_levels"]):
        group = slice(10 * place, 10 * place + 10)
        assert level == pytest.approx(float(clock[group].mean()))
        assert told == pytest.approx(float(each[order[group]].mean()))


def test_snapshots_of_averages_are_resumed_exactly(toy, tmp_path):
    fields = {"steps": 30, "widths": (0.05, 0.2), "decays": (0.5,)}
    train(toy, tmp_path / "whole", fields=fields)
    recipe, training = build(toy, **fields)
    fit(training, recipe, tmp_path / "parts", minutes=1e-9)
    train(toy, tmp_path / "parts", fields=fields, resume=True)
    assert contents(tmp_path / "parts", 30) == contents(tmp_path / "whole", 30)
    for name in ("power-0.05", "power-0.2"):
        one, other = (
            (run / "averages" / "step-000030" / f"{name}.safetensors").read_bytes()
            for run in (tmp_path / "parts", tmp_path / "whole")
        )
        assert one == other


FULL = """
import resource, sys
from pathlib import Path
sys.path[:0] = sys.argv[2:]
import signal, toy_things
from sfumato import InputError
from sfumato_train import fit
from sfumato_train.runs import fresh
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
recipe = toy_things.Toy(steps=30, save=10, log=5, warmup=5)
training = fresh(0, lambda: recipe.build(toy_things.points(200)))
def limit(step, model):
    if step == 10:
        resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))
try:
    fit(training, recipe, Path(sys.argv[1]), on_save=limit)
except InputError as error:
    print(error)
"""


def test_a_full_disk_keeps_the_last_good_checkpoint(toy, site, tmp_path):
    """Files may not grow beyond 4 KiB from step 10 on; then there is room again."""
    command = [sys.executable, "-c", FULL, str(tmp_path / "full"), *site.split(os.pathsep)]
    told = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert "could not be written at step 20 (" in told and "File too large" in told
    assert "step-000010, from which it can be resumed" in told
    assert [one.step for one in checkpoint.saved(tmp_path / "full" / "checkpoints")] == [10]
    assert not list((tmp_path / "full" / "checkpoints").glob(".step*"))
    train(toy, tmp_path / "full", fields={"steps": 30}, resume=True)
    train(toy, tmp_path / "whole", fields={"steps": 30})
    assert contents(tmp_path / "full", 30) == contents(tmp_path / "whole", 30)


class Lengths:
    """Items of the lengths 1 and 2 in turn, which do not go into one batch."""

    about = {}

    def __len__(self):
        return 30

    def groups(self):
        return [i % 2 for i in range(30)]

    def batch(self, index):
        (length,) = {1 + i % 2 for i in index}
        return Batch(torch.tensor(index, dtype=torch.float32)[:, None].expand(-1, length))


class Means(Objective):
    """Its loss is what the items say, plus nothing that is learned."""

    def __init__(self):
        super().__init__()
        self.one = nn.Linear(1, 1, bias=False)
        self.lengths = []

    def players(self):
        return {"one": self.one}

    def loss(self, player, batch, generator):
        self.lengths.append(batch.x.shape)
        return Loss(batch.x.mean(1) + 0 * self.one.weight.sum(), {})

    def validate(self, batch, generator):
        return Loss(batch.x.mean(1), {})


def test_groups_are_trained_on_and_validated_apart(tmp_path):
    """Items 0 to 29 have the mean 14.5, whatever batches they are held out in."""
    objective = fresh(0, Means)
    model = Model(linear(), objective, Heun(), uniform, 2, lambda n, g: torch.zeros(n, 1))
    settings = Settings(steps=8, batch=6, accumulation=2, ema=0, log=4, save=4)
    fit(Training(objective, Lengths(), model), settings, tmp_path, held=Lengths())
    assert [row["held_loss"] for row in rows(tmp_path)] == [14.5, 14.5]
    assert {shape[0] for shape in objective.lengths} == {3}
    assert {shape[1] for shape in objective.lengths} == {1, 2}
    pairs = zip(objective.lengths[::2], objective.lengths[1::2], strict=True)
    assert all(a == b for a, b in pairs), "the parts of a batch are of one group"


def test_averaged_has_the_average_of_the_last_checkpoint_and_is_in_evaluation_mode(toy, tmp_path):
    recipe, training = build(toy, steps=20, ema=0.9)
    model = averaged(training, recipe, tmp_path)
    assert not model.denoiser.training
    (saved,) = tmp_path.glob("checkpoints/step-000020/*ema*.safetensors")
    kept = load_file(saved)
    mine = {f"denoiser.{name}": value for name, value in model.denoiser.state_dict().items()}
    assert all(torch.equal(mine[name], value) for name, value in kept.items() if name in mine)
    assert set(mine) & set(kept)
    raw = training.model.denoiser.state_dict()
    assert any(not torch.equal(mine[f"denoiser.{name}"], value) for name, value in raw.items())
