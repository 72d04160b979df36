"""Constrained laws against enumeration, and samplers that keep to them."""

from __future__ import annotations

import itertools

import pytest
import torch
from scipy import stats

from sfumato import Ancestral, Dirac, InputError, Padded, Streams, Unsupported, random, sample
from sfumato_methods import discrete as d
from sfumato_methods.discrete import named
from sfumato_methods.discrete.places import at
from sfumato_methods.discrete.tokens import Tokens, draw
from sfumato_methods.grids import uniform

K, L, MASK = 4, 5, 4


def automaton() -> d.Automaton:
    """An even number of 0s, no two 1s in a row, 3 at the end alone (5 states)."""
    table = torch.full((5, K + 1), 5)
    for odd, one in itertools.product((0, 1), (0, 1)):
        state = 2 * odd + one
        table[state, 0] = 2 * (1 - odd)
        if not one:
            table[state, 1] = 2 * odd + 1
        table[state, 2] = 2 * odd
        table[state, 3] = 4 if not odd else 5
    return d.Automaton.of(table, torch.tensor([True, True, False, False, True]))


def accepted(word) -> bool:
    ones = any(a == b == 1 for a, b in itertools.pairwise(word))
    return word.count(0) % 2 == 0 and not ones and 3 not in word[:-1]


class Fixed(d.TokenDenoiser):
    def __init__(self, logits):
        super().__init__(torch.nn.Identity(), d.Discrete(d.absorbing(K)))
        self.logits = logits

    def forward(self, x, t):
        ids = x.data if isinstance(x, Padded) else x
        raw = self.logits[: len(ids), : ids.shape[1]]
        return Tokens(Padded(raw, x.mask) if isinstance(x, Padded) else raw, MASK, x)


def logits(n=1):
    return 1.5 * random.normal(torch.empty(n, L, K + 1), random.derive(1, "logits"))


def law(raw, seen, ok=accepted):
    """Words and their probabilities, by enumeration."""
    q = raw[:, :K].double().softmax(-1)
    words = [w for w in itertools.product(range(K), repeat=L)
             if ok(w) and all(s in (MASK, a) for a, s in zip(w, seen, strict=True))]  # fmt: skip
    hidden = torch.tensor(seen) == MASK
    p = torch.stack([q[hidden, torch.tensor(w)[hidden]].prod() for w in words])
    return words, p / p.sum()


@pytest.mark.parametrize("seen", [[4, 4, 4, 4, 4], [4, 0, 4, 4, 4], [1, 4, 4, 2, 4]], ids=str)
def test_marginals_are_those_of_enumeration(seen):
    raw = logits()
    q = d.Constrained(Fixed(raw), automaton())(torch.tensor([seen]), torch.tensor(0.5))
    words, p = law(raw[0], seen)
    hidden = (torch.tensor(seen) == MASK).nonzero()[:, 0]
    expected = torch.zeros(L, K + 1, dtype=torch.float64)
    for word, weight in zip(words, p, strict=True):
        expected[torch.arange(L), torch.tensor(word)] += weight
    torch.testing.assert_close(q.rows(hidden).softmax(-1), expected[hidden], atol=1e-12, rtol=0)


def test_joint_draws_have_the_law_of_enumeration_also_of_some_places():
    """Chi-square of 20,000 words, and of the pairs at places 1 and 3; false alarm 1e-3 each."""
    n, seen = 20_000, [4, 4, 4, 4, 2]
    raw = logits()
    x = torch.tensor([seen]).expand(n, -1)
    q = d.Constrained(Fixed(raw.expand(n, -1, -1)), automaton())(x, torch.tensor(0.5))
    words, p = law(raw[0], seen)
    every = at(x).hidden(x, MASK)
    ids, told = draw(q, every, MASK, random.derive(0, "words"))
    rows = ids.view(n, 4)
    code = (rows * K ** torch.arange(4)).sum(1)
    names = torch.tensor([sum(t * K**i for i, t in enumerate(w[:4])) for w in words])
    counts = torch.bincount(code, minlength=K**4)
    assert int(counts[names].sum()) == n, "each is accepted"
    assert stats.chisquare(counts[names], (p * n)).pvalue > 1e-3
    marginal = q.rows(every.index).softmax(-1).gather(1, ids[:, None]).log()[:, 0]
    torch.testing.assert_close(told, marginal, atol=1e-10, rtol=0)
    some = every.pick((every.rank == 1) | (every.rank == 3))
    rows = draw(q, some, MASK, random.derive(1, "words"))[0].view(n, 2)
    expected = torch.zeros(K * K, dtype=torch.float64)
    for word, weight in zip(words, p, strict=True):
        expected[word[1] * K + word[3]] += weight
    counts = torch.bincount(rows[:, 0] * K + rows[:, 1], minlength=K * K)
    there = expected > 0
    assert not bool(counts[~there].any())
    assert stats.chisquare(counts[there], expected[there] * n).pvalue > 1e-3


def filled(sampler, bound, x, steps, source):
    process = bound.denoiser.process
    grid = uniform(process, steps)
    return sample(process, bound, x, sampler=sampler, grid=grid, generator=source, start=Dirac(x))


SAMPLERS = {
    "cached": d.CachedAncestral(), "first": d.FirstHitting(), "margin": named.margin(),
    "confident": named.confident(), "left": named.left_to_right(), "random": named.random_order(),
}  # fmt: skip


@pytest.mark.parametrize("sampler", SAMPLERS.values(), ids=SAMPLERS)
@pytest.mark.parametrize("steps", [1, 3])
def test_whichever_sampler_draws_the_result_is_accepted(sampler, steps):
    n = 64
    fixed = Fixed(logits(n))
    bound = d.Constrained(fixed, automaton())
    x = torch.full((n, L), MASK)
    made = filled(sampler, bound, x, steps, Streams.derive(0, "s", range(n)))
    assert all(accepted(tuple(word)) for word in made.tolist())
    one = d.Constrained(Fixed(fixed.logits[5:6]), automaton())
    alone = filled(sampler, one, x[:1], steps, Streams.derive(0, "s", [5]))
    assert torch.equal(alone[0], made[5])


def test_padded_items_and_a_later_beginning():
    real = torch.tensor([[True] * 5, [True] * 4 + [False]])
    x = Padded(torch.tensor([[1, 1, 4, 4, 4], [1, 4, 4, 4, 2]]), real)
    fixed = Fixed(logits(2))
    bound = d.Constrained(fixed, automaton(), torch.tensor([2, 1]))
    for i in range(20):
        made = filled(d.CachedAncestral(), bound, x, 1, Streams.derive(i, "s", [0, 1]))
        assert accepted(tuple(made.data[0, 2:].tolist()))
        assert accepted(tuple(made.data[1, 1:4].tolist()))
        assert made.data[0, :2].tolist() == [1, 1]


def test_lists_for_each_place():
    allowed = torch.zeros(L, K + 1, dtype=torch.bool)
    for place, tokens in enumerate(([0], [1, 2], [2], [0, 3], [1])):
        allowed[place, tokens] = True
    raw = logits()
    bound = d.Constrained(Fixed(raw), d.Automaton.allowing(allowed))
    q = bound(torch.full((1, L), MASK), torch.tensor(1.0))
    expected = raw[0].masked_fill(~allowed, -torch.inf).double().softmax(-1)
    torch.testing.assert_close(q.rows(torch.arange(L)).softmax(-1), expected, atol=1e-12, rtol=0)


def test_long_improbable_ways_do_not_vanish():
    """From the given token on only 2s are accepted, each of probability 1e-30, 200 of them."""
    table = torch.full((3, K + 1), 3)
    table[0, 0], table[0, 1] = 1, 2
    table[1, :K], table[2, 2] = 1, 2
    raw = torch.zeros(1, 200, K + 1)
    raw[..., 2] = -69.0
    bound = d.Constrained(Fixed(raw), d.Automaton.of(table, torch.tensor([False, True, True])))
    x = torch.full((1, 200), MASK)
    x[0, 0] = 1
    every = at(x).hidden(x, MASK)
    ids, _ = draw(bound(x, torch.tensor(0.5)), every, MASK, random.derive(0, "s"))
    assert bool((ids == 2).all())


def test_what_cannot_be_is_told():
    fixed = Fixed(logits(2))
    bound = d.Constrained(fixed, automaton())
    x = torch.tensor([[4, 4, 4, 4, 4], [4, 1, 1, 4, 4]])
    with pytest.raises(InputError, match="item 1 cannot be filled as its pattern asks"):
        bound(x, torch.tensor(0.5))
    q = bound(x[:1], torch.tensor(0.5))
    for read in (lambda: q.probs, lambda: q.logits, lambda: q.nll(x[:1]),
                 lambda: q.within(slice(0, 2), x)):  # fmt: skip
        with pytest.raises(Unsupported, match="takes each by itself"):
            read()
    with pytest.raises(Unsupported, match="sharpen the denoiser inside it"):
        q.edited(lambda rows: rows)
    with pytest.raises(Unsupported, match="takes each by itself"):
        filled(Ancestral(), bound, x[:1], 2, Streams.derive(0, "s", [0]))
