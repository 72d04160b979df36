"""The any-order bound: equal to the exact likelihood where it is tight, to the ELBO elsewhere."""

from __future__ import annotations

import itertools
import math

import pytest
import torch

from sfumato import Batch, Categorical, InputError, Model, Padded, elbo, random
from sfumato_language import objective
from sfumato_language.denoiser import TextDenoiser
from sfumato_language.objective import AnyOrder, cross_entropy, hide
from sfumato_methods.discrete import Discrete, FirstHitting, absorbing
from sfumato_methods.grids import uniform
from sfumato_nn.tokens import TokenTransformer
from sfumato_train.drawing import asked_of

V, L = 3, 4
TOKENS = torch.tensor(list(itertools.product(range(V), repeat=L)))


def some_law():
    logits = random.normal(torch.empty(len(TOKENS)), random.derive(3, "law")).double()
    return (1.5 * logits).softmax(0)


class Exact(torch.nn.Module):
    """As a network, the exact conditionals of a law on all sequences."""

    def __init__(self, law):
        super().__init__()
        self.law = law

    def encode(self, **context):
        return context

    def forward(self, x, clock, at=None):
        ids = x.data
        fits = ((ids[:, None] == V) | (ids[:, None] == TOKENS)).all(-1)
        weight = torch.where(fits, self.law, 0.0)
        each = torch.nn.functional.one_hot(TOKENS, V + 1).double()
        p = torch.einsum("bs,slk->blk", weight, each) / weight.sum(1)[:, None, None]
        return p.log()[at] if at is not None else Padded(p.log(), x.mask)


def exact(law):
    return TextDenoiser(Exact(law), Discrete(absorbing(V)))


def padded(ids):
    return Padded(ids, torch.ones_like(ids, dtype=torch.bool))


def test_of_the_exact_model_it_is_the_exact_likelihood():
    """Summed over all hidden sets, each n weighed alike: -log p, for every sequence."""
    law = some_law()
    total = torch.zeros(len(TOKENS), dtype=torch.float64)
    for n in range(1, L + 1):
        sets = list(itertools.combinations(range(L), n))
        for one in sets:
            at = torch.zeros(len(TOKENS), L, dtype=torch.bool)
            at[:, list(one)] = True
            nats = cross_entropy(exact(law), Batch(padded(TOKENS)), at, torch.ones_like(at))
            total += nats.sum(1).double() / n / len(sets)
    torch.testing.assert_close(total, -law.log(), atol=1e-5, rtol=0)  # the head is float32


def test_the_loss_is_an_unbiased_estimate_of_the_bound_in_nats_a_token():
    law = some_law()
    bound = AnyOrder(exact(law))
    x = TOKENS[[5]].expand(60_000, L)
    each = bound.loss("denoiser", Batch(padded(x)), random.derive(0, "loss")).each.double()
    error = float(each.std()) / math.sqrt(len(each))
    assert abs(float(each.mean()) + float(law[5].log()) / L) < 4 * error  # false alarm 6e-5


def test_it_equals_the_elbo_of_the_masked_process():
    """Of a network that is no exact model, both bounds agree: they are one, for every schedule."""
    torch.manual_seed(0)
    net = TokenTransformer(V + 1, width=16, depth=1, heads=2)
    torch.nn.init.normal_(net.table.weight)
    denoiser = TextDenoiser(net, Discrete(absorbing(V)))
    x = padded(TOKENS[[7]].expand(1500, L))
    grid = torch.linspace(1, 0, 65, dtype=torch.float64)
    with torch.no_grad():
        bound = elbo(denoiser.process, denoiser, x, grid, random.derive(1, "elbo"))
        loss = AnyOrder(denoiser).loss("denoiser", Batch(x), random.derive(2, "loss"))
    a, b = bound / L, loss.each.double()
    error = math.sqrt((float(a.var()) + float(b.var())) / 1500)
    # the grid of 64 steps adds what several tokens in one step cost: O(1/64)
    assert abs(float(a.mean() - b.mean())) < 4 * error + 0.03


@pytest.mark.parametrize("seed", range(3))
def test_exactly_n_are_hidden_among_the_real_ones(seed):
    real = torch.arange(9) < torch.tensor([[9], [4], [1]])
    noise = random.uniform((3, 9), random.derive(seed, "noise"))
    for share, counts in ((0.0, [1, 1, 1]), (0.5, [5, 3, 1]), (0.999, [9, 4, 1])):
        at, count = hide(real, torch.full((3,), share), noise)
        assert count.tolist() == counts == at.sum(1).tolist()
        assert not bool((at & ~real).any())


def test_every_set_is_as_likely():
    """Chi-square of the 6 pairs among 4 places, n = 12,000, false alarm 1e-4 (25.7 at 5 d.o.f.)."""
    real = torch.ones(12_000, 4, dtype=torch.bool)
    noise = random.uniform(real.shape, random.derive(5, "noise"))
    at, _ = hide(real, torch.full((12_000,), 0.3), noise)
    code = (at.long() * torch.tensor([1, 2, 4, 8])).sum(1)
    counts = torch.bincount(code, minlength=16)[[3, 5, 9, 6, 10, 12]].double()
    assert int(counts.sum()) == 12_000
    assert float(((counts - 2000) ** 2 / 2000).sum()) < 25.7


def test_hidden_tokens_do_not_reach_the_network_and_gradients_do():
    net = TokenTransformer(V + 1, width=16, depth=2, heads=2)
    torch.nn.init.normal_(net.blocks[0].attention.outward.weight)
    denoiser = TextDenoiser(net, Discrete(absorbing(V)))
    at = torch.tensor([[True, False, True, False]])
    view = denoiser.given(at=at)
    a, b = (
        view.output(padded(torch.tensor([ids]).masked_fill(at, V)), torch.tensor(0.5))
        for ids in ([0, 1, 2, 2], [1, 1, 0, 2])
    )
    assert torch.equal(a, b)
    trained = AnyOrder(denoiser)
    loss = trained.loss("denoiser", Batch(padded(TOKENS)), random.derive(0, "loss"))
    loss.each.mean().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in trained.parameters())


def test_where_a_document_may_not_end_it_does_not():
    net = TokenTransformer(V + 1, width=16, depth=1, heads=2)
    denoiser = TextDenoiser(net, Discrete(absorbing(V)))
    inside = torch.tensor([[True, False, True, False]])
    x = padded(torch.full((1, L), V))
    q = denoiser.given(inside=inside)(x, torch.tensor(1.0, dtype=torch.float64))
    assert isinstance(q, Categorical)
    eos = q.probs.data[0, :, V - 1]
    block = slice(1, 3)
    part = Padded(x.data[:, block], x.mask[:, block])
    one = torch.tensor(1.0, dtype=torch.float64)
    recalled = denoiser.given(inside=inside)(x, one).recall(x, one, block)(part, one)
    torch.testing.assert_close(recalled.probs.data, q.probs.data[:, block], atol=1e-6, rtol=0)
    assert (eos[[0, 2]] == 0).all() and (eos[[1, 3]] > 0).all()
    free = denoiser(x, torch.tensor(1.0, dtype=torch.float64))
    assert (free.probs.data[..., V - 1] > 0).all(), "a view changes nothing of its parent"


def test_complementary_sets_hide_every_token_once_a_pair(monkeypatch):
    """What the two calls hide is disjoint, and together all but the padding."""
    hidden = []

    def told(denoiser, batch, at, free):
        hidden.append(at)
        return cross_entropy(denoiser, batch, at, free)

    monkeypatch.setattr(objective, "cross_entropy", told)
    real = torch.arange(L) < torch.tensor([[4], [3], [2], [1]])
    x = Padded(torch.zeros(4, L, dtype=torch.long), real)
    pairs = AnyOrder(exact(some_law()), complementary=True)
    pairs.loss("denoiser", Batch(x), random.derive(0, "pair"))
    once, again = hidden
    assert torch.equal(once ^ again, real) and not bool((once & again).any())


def test_complementary_sets_estimate_the_same_bound_with_less_variance():
    law = some_law()
    x = Batch(padded(TOKENS[[5]].expand(40_000, L)))
    both = [
        AnyOrder(exact(law), complementary=pair).loss("denoiser", x, random.derive(7, "loss")).each
        for pair in (False, True)
    ]
    single, paired = (each.double() for each in both)
    error = float(paired.std()) / math.sqrt(len(paired))
    assert abs(float(paired.mean()) + float(law[5].log()) / L) < 4 * error  # false alarm 6e-5
    assert float(paired.var()) < 0.8 * float(single.var())


def test_shares_bound_how_many_are_hidden(monkeypatch):
    """Of 200 tokens, n evenly on 1 + floor(0.1 L) .. floor(0.6 L), stratified over the batch."""
    counts = []

    def told(denoiser, batch, at, free):
        counts.append(at.sum(1))
        return at.float()

    monkeypatch.setattr(objective, "cross_entropy", told)
    x = padded(torch.zeros(100, 200, dtype=torch.long))
    AnyOrder(exact(some_law()), shares=(0.1, 0.6)).loss("", Batch(x), random.derive(0, "loss"))
    assert torch.equal(counts[0].sort().values, torch.arange(21, 121))
    for wrong in ((0.5, 0.5), (-0.1, 1.0), (0.0, 1.1)):
        with pytest.raises(InputError, match="the least before the largest"):
            AnyOrder(exact(some_law()), shares=wrong)


def test_guidance_weighs_a_prompt_as_it_says():
    """Proportional to p(a | prompt)^s p(a)^(1 - s), each by enumeration; at 1 it is the model."""
    law = some_law()
    shown = torch.tensor([[True, True, False, False]])
    x = padded(torch.tensor([[2, 0, V, V]]))
    t = torch.tensor(0.5, dtype=torch.float64)
    weight = law.view(V, V, V, V)
    given, plain = weight[2, 0].sum(1), weight.sum((0, 1, 3))
    for scale in (1.0, 2.5):
        asked = {"guidance": torch.tensor([scale]), "shown": shown}
        q = exact(law).given(**asked)(x, t)
        wanted = (given / given.sum()) ** scale * plain ** (1 - scale)
        torch.testing.assert_close(q.probs.data[0, 2, :V], wanted / wanted.sum())
        assert q.probs.data[0, 0, 2] == 1, "the prompt is carried over"
    inside = torch.tensor([[False, False, True, False]])
    q = exact(law).given(**asked, inside=inside, temperature=torch.tensor([0.5]))(x, t)
    wanted[V - 1] = 0.0  # no document ends there
    torch.testing.assert_close(q.probs.data[0, 2, :V], wanted**2 / (wanted**2).sum())


class Hinted(torch.nn.Module):
    """Logits that a hint (B, K) is added to."""

    def forward(self, x, clock, hint=0.0):
        return torch.linspace(0, 1, V + 1).expand(*x.shape, V + 1) + hint


def test_guidance_by_a_condition_comes_before_temperature():
    """(p(a | hint)^s p(a)^(1 - s))^(1/T): what is no condition of the network holds for both."""
    process = Discrete(absorbing(V))
    model = Model(process, TextDenoiser(Hinted(), process), FirstHitting(), uniform, 4, None)
    hint = torch.tensor([[[0.3, -0.8, 1.0, 0.0]]])
    asked = {"hint": hint, "temperature": torch.tensor([0.5])}
    x, t = torch.tensor([[V]]), torch.tensor(0.5, dtype=torch.float64)
    q = asked_of(model, asked, 2.0)(x, t)
    level = torch.linspace(0, 1, V + 1)[:V]
    wanted = (2 * (2 * (level + hint[0, 0, :V]) - level)).softmax(0)
    torch.testing.assert_close(q.probs[0, 0, :V].float(), wanted)
    assert q.probs[0, 0, V] == 0
    plain = asked_of(model, {"temperature": torch.tensor([0.5])}, 2.0)(x, t)
    torch.testing.assert_close(plain.probs[0, 0, :V].float(), (2 * level).softmax(0))
