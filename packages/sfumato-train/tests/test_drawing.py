"""Sampling from runs and models: neither n nor the batch matters."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from sfumato import (
    Affine,
    Ancestral,
    Categorical,
    Denoiser,
    Dirac,
    InputError,
    Known,
    Maybe,
    Model,
    Padded,
    random,
    run,
)
from sfumato_methods.discrete import Discrete, Prompt, absorbing
from sfumato_methods.gaussian import linear
from sfumato_methods.grids import uniform
from sfumato_methods.guidance import CFG
from sfumato_methods.solvers import Heun
from sfumato_train import draw, open_run, start
from sfumato_train.runs import fresh

G = random.derive(0, "not drawn from")


@pytest.fixture
def model(toy):
    model = fresh(0, lambda: toy.Toy().model({"shape": [2]}))
    model.denoiser.eval()
    return model


class Half(Denoiser):
    """Treats elements independently, and takes a label that shifts them."""

    def __init__(self, shift=None):
        super().__init__()
        self.shift = shift

    def given(self, **condition):
        return Half(condition["label"])

    def forward(self, x, t):
        if self.shift is None:
            return Dirac(x * 0.5)
        return Dirac(x * 0.5 + self.shift[:, None])


def simple(sampler=None, blank=lambda n, generator: torch.zeros(n, 2), **options):
    return Model(linear(), Half(), sampler or Ancestral(), uniform, 4, blank, **options)


@pytest.mark.parametrize("sampler", [Ancestral(), Heun()])
def test_the_batch_does_not_matter(model, sampler):
    whole = draw(model, 10, sampler=sampler, batch=10)
    for batch in (1, 3, 7):
        assert torch.allclose(draw(model, 10, sampler=sampler, batch=batch).x, whole.x, atol=1e-5)
    assert torch.allclose(draw(model, 4, sampler=sampler).x, whole.x[:4], atol=1e-5)


def test_without_a_network_not_one_bit_depends_on_the_batch():
    whole = draw(simple(), 10, batch=10).x
    assert torch.equal(draw(simple(), 10, batch=3).x, whole)
    assert torch.equal(draw(simple(), 4, first=6).x, whole[6:])


def test_seeds_give_other_samples():
    one, other = (draw(simple(), 5, seed=seed).x for seed in (0, 1))
    assert not (one == other).any()


def test_sizes_are_drawn_for_each_item_alone():
    def blank(n, generator):
        counts = random.integers(1, 6, (n,), generator)
        mask = torch.arange(int(counts.max())) < counts[:, None]
        return Padded(torch.zeros(*mask.shape, 1), mask)

    process = linear()
    model = Model(process, lambda x, t: Dirac(x * 0.5), Ancestral(), uniform, 3, blank)
    model.process.register_buffer("home", torch.zeros(1))

    class Plain(Denoiser):
        def forward(self, x, t):
            return Dirac(x * 0.5)

    model = Model(process, Plain(), Ancestral(), uniform, 3, blank)
    one, other = (draw(model, 12, batch=batch).x for batch in (12, 5))
    sizes = one.mask.sum(1)
    assert torch.equal(sizes, other.mask.sum(1)) and len(set(sizes.tolist())) > 2
    assert torch.equal(one.data[one.mask], other.data[other.mask])


def test_conditions_reach_their_items_and_come_back(model):
    label = torch.tensor([5.0, -5.0, 5.0, -5.0, 5.0])
    found = draw(simple(), 5, condition={"label": label}, batch=2)
    assert torch.equal(found.condition["label"], label)
    assert ((found.x > 0) == (label > 0)[:, None]).all()


def test_guidance_is_classifier_free_guidance(model):
    label = torch.tensor([0, 1, 2, 1])
    conditional, plain = model.denoiser.given(label=label), model.denoiser.given()
    found = draw(model, 4, condition={"label": label}, guidance=3.0)
    guided = Model(
        model.process, CFG(conditional, plain, 3.0), model.sampler, uniform, 10, model.blank
    )
    assert torch.allclose(found.x, draw(guided, 4, batch=4).x, atol=1e-5)
    once = draw(model, 4, condition={"label": label})
    assert torch.equal(draw(model, 4, condition={"label": label}, guidance=1).x, once.x)
    assert not torch.allclose(found.x, once.x, atol=1e-2)


def test_absent_conditions_are_unconditional(model):
    absent = Maybe(torch.zeros(3, dtype=torch.long), torch.zeros(3, dtype=torch.bool))
    assert torch.allclose(
        draw(model, 3, condition={"label": absent}).x, draw(model, 3).x, atol=1e-6
    )


def test_samplers_grids_and_steps_are_taken_by_name_or_value(model):
    by_value = draw(model, 3, sampler=Heun(), grid=uniform, steps=5)
    assert torch.equal(draw(model, 3, sampler="heun", grid="uniform", steps=5).x, by_value.x)
    assert not torch.equal(draw(model, 3, sampler="heun", steps=6).x, by_value.x)
    with pytest.raises(InputError, match="no sampler 'huen'; did you mean heun"):
        draw(model, 3, sampler="huen")
    with pytest.raises(InputError, match="no grid 'uniforn'; did you mean uniform"):
        draw(model, 3, grid="uniforn")


def test_what_is_known_is_kept_chunk_by_chunk():
    values = torch.arange(10.0).view(5, 2)
    mask = torch.tensor([[True, False]]).expand(5, 2)
    for known in (Known(values, mask), Known(values, mask[:1])):
        found = draw(simple(), 5, constraint=known, batch=2).x
        assert torch.equal(found[:, 0], values[:, 0])
        assert not (found[:, 1] == values[:, 1]).any()


def test_the_codec_decodes():
    plain, scaled = simple(), simple(codec=Affine(shift=100.0, scale=2.0))
    assert torch.allclose(draw(scaled, 3).x, draw(plain, 3).x * 2 + 100)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"n": 0}, "n must be at least 1, but is 0"),
        ({"n": 2, "steps": 0}, "steps must be at least 1"),
        ({"n": 2, "batch": -1}, "batch must be at least 1"),
        ({"n": 2, "condition": {"label": torch.zeros(3)}}, "'label' has 3 items for 2 samples"),
        ({"n": 2, "guidance": 2.0}, "guidance=2.0 strengthens a condition, but none is given"),
    ],
)
def test_bad_requests_are_named(options, message):
    with pytest.raises(InputError, match=message):
        draw(simple(), **options)


def test_a_run_draws_its_averaged_model(toy, tmp_path):
    run = open_run(start("toy/points", ["steps=3"], None, tmp_path / "run", device="cpu"))
    news = []
    found = draw(run, 6, device="cpu", batch=2, watch=lambda *told: news.append(told))
    assert torch.allclose(found.x, draw(run.model(device="cpu"), 6).x, atol=1e-5)
    assert news[-1][:3] == (6, 6, None) and news[-1][3] > 0


def test_memory_limits_the_chunk(model, monkeypatch):
    sizes = []
    monkeypatch.setattr("sfumato_train.devices._free", lambda device: 1000.0)
    monkeypatch.setattr(
        "sfumato_train.drawing.Streams.derive",
        lambda seed, name, numbers, derive=random.Streams.derive: (
            sizes.append(len(numbers)),
            derive(seed, name, numbers),
        )[1],
    )
    draw(model, 20)
    assert len(sizes) > 1 and max(sizes) < 20


def test_nothing_of_a_draw_stays_in_inference_mode(model):
    x = draw(model, 2).x
    weight = nn.Parameter(torch.ones(2))
    (x * weight).sum().backward()
    assert torch.equal(weight.grad, x.sum(0))


def test_conditions_of_size_shape_the_samples_and_reach_no_network():
    """Half would fail for a condition that it does not know."""

    def blank(n, generator, length=None):
        return torch.zeros(n, 2 if length is None else int(length[0]))

    sized = simple(blank=blank, sizing=("length",))
    assert draw(sized, 3).x.shape == (3, 2)
    length = torch.full((3,), 5)
    made = draw(sized, 3, condition={"length": length})
    assert made.x.shape == (3, 5) and torch.equal(made.condition["length"], length)
    label = torch.tensor([0.0, 1.0, 2.0])
    both = draw(sized, 3, condition={"length": length, "label": label})
    shifted = draw(simple(blank=lambda n, g: torch.zeros(n, 5)), 3, condition={"label": label})
    assert torch.equal(both.x, shifted.x)
    with pytest.raises(InputError, match="guidance=2 strengthens a condition, but none is given"):
        draw(sized, 3, condition={"length": length}, guidance=2)


def test_the_layout_to_fill_may_be_given():
    wide = torch.full((6, 5), 9.0)
    whole = draw(simple(), 6, like=wide, seed=3)
    assert whole.x.shape == (6, 5)
    assert torch.allclose(draw(simple(), 6, like=wide, seed=3, batch=2).x, whole.x, atol=1e-6)
    assert torch.equal(draw(simple(), 6, like=torch.zeros(6, 2)).x, draw(simple(), 6).x)


def test_a_walk_may_begin_with_noised_data():
    """One step of the grid is left, from t = 1/4: the state is alpha x + sigma eps, and halved."""
    n = 20_000
    got = draw(simple(Heun()), n, like=torch.full((n, 1), 4.0), noise=0.25, steps=4, seed=1).x
    t, final = torch.tensor(0.25), torch.tensor(0.0)
    frame = next(run(Heun(), linear(), Half(), torch.full((1, 1), 3.0), torch.stack((t, final)), G))
    gain = frame.after.item() / 3.0  # the step is linear
    # 4.5 standard errors, false alarm below 1e-5 each
    assert abs(got.mean() - gain * 0.75 * 4) < 4.5 * gain * 0.25 / n**0.5
    assert abs(got.std() / (gain * 0.25) - 1) < 4.5 / (2 * n) ** 0.5
    parts = draw(simple(Heun()), 10, like=torch.full((10, 1), 4.0), noise=0.2, seed=1, batch=3).x
    assert torch.allclose(parts, got[:10], atol=1e-6), "a share is rounded up to whole steps"


def test_all_the_noise_is_plain_sampling():
    some = torch.full((5, 2), 7.0)
    for noise in (1.0, 0.9):  # of four steps nine tenths are all
        assert torch.equal(draw(simple(), 5, like=some, noise=noise).x, draw(simple(), 5).x)


def test_data_to_begin_with_goes_through_the_codec():
    coded = simple(Heun(), codec=Affine(1.0, 2.0))
    some = torch.full((8, 2), 5.0)
    plain = draw(simple(Heun()), 8, like=(some - 1) / 2, noise=0.5, seed=2).x
    assert torch.allclose(draw(coded, 8, like=some, noise=0.5, seed=2).x, plain * 2 + 1, atol=1e-5)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"like": torch.zeros(3, 2)}, "3 states to fill were given for 4 samples"),
        ({"noise": 0.5}, "needs data to noise"),
        ({"noise": 0.0, "like": torch.zeros(4, 2)}, r"in \(0, 1\]"),
        ({"noise": 1.5, "like": torch.zeros(4, 2)}, r"in \(0, 1\]"),
    ],
)
def test_what_cannot_be_begun_with_is_told(options, message):
    with pytest.raises(InputError, match=message):
        draw(simple(), 4, **options)


class Word:
    """A blank of words of five tokens, the second of which is known to be 2."""

    def __call__(self, n, generator):
        return torch.full((n, 5), 3)

    def known(self, x):
        mask = torch.zeros_like(x, dtype=torch.bool)
        mask[:, 1] = True
        return Prompt(x.where(~mask, 2), mask)


class Even(Denoiser):
    """All tokens alike; remembers what it was shown."""

    def __init__(self):
        super().__init__()
        self.seen = []

    def forward(self, x, t):
        self.seen.append(x)
        return Categorical(probs=torch.tensor([1 / 3, 1 / 3, 1 / 3, 0.0]).expand(*x.shape, 4))


def test_what_a_canvas_holds_is_shown_from_the_first_call_on_and_kept():
    model = Model(Discrete(absorbing(3)), Even(), Ancestral(), uniform, 4, Word())
    made = draw(model, 7, batch=3)
    assert bool((made.x[:, 1] == 2).all()) and int(made.x.max()) <= 2
    assert all(bool((x[:, 1] == 2).all()) for x in model.denoiser.seen)
    assert bool((model.denoiser.seen[0][:, [0, 2, 3, 4]] == 3).all())
    assert torch.equal(draw(model, 2, first=5).x, made.x[5:])


def test_a_prompt_is_cut_along_with_the_samples():
    model = simple_tokens()
    values = torch.arange(7)[:, None].expand(7, 5) % 3
    mask = torch.tensor([True, False, False, False, True])
    made = draw(model, 7, batch=3, constraint=Prompt(values, mask.expand(7, 5)))
    assert torch.equal(made.x[:, [0, 4]], values[:, [0, 4]])


def simple_tokens():
    def blank(n, generator):
        return torch.full((n, 5), 3)

    return Model(Discrete(absorbing(3)), Even(), Ancestral(), uniform, 4, blank)
