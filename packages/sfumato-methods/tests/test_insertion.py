"""Texts that grow, against the exact posterior of a few short texts."""

import itertools

import pytest
import torch
from torch.nn import functional as F

from sfumato import Ancestral, Categorical, InputError, Padded, Streams, Unsupported, random, run
from sfumato import sample as draw
from sfumato_methods.discrete import Discrete, absorbing
from sfumato_methods.discrete.insertion import (
    EventDriven,
    Growth,
    Insertion,
    InsertionDenoiser,
)
from sfumato_methods.discrete.orders import LeftToRight, Margin, RandomOrder

F64 = torch.float64
M = 3
TEXTS = [text for n in range(M + 1) for text in itertools.product(range(2), repeat=n)]
WEIGHTS = torch.rand(15, generator=random.derive(0, "texts"), dtype=F64).square() + 0.01
WEIGHTS = WEIGHTS / WEIGHTS.sum()
PROCESS = Insertion(2)


def code(x):
    """A number for each state: base 4, 3 for nothing."""
    digits = torch.where(x.mask, x.data, 3)
    return (digits * torch.tensor([16, 4, 1])).sum(1)


def padded(texts):
    ids = torch.tensor([[*text, *[0] * (M - len(text))] for text in texts])
    mask = torch.tensor([[i < len(text) for i in range(M)] for text in texts])
    return Padded(ids, mask)


EVERY = padded(TEXTS)


class Oracle:
    """The exact posterior: sums over all texts and all ways in which x can lie in them.

    The number of clean and of masked tokens is that of x, so that the ways are weighted by t to the
    power of the number of deleted tokens alone.
    """

    def __init__(self, weights=WEIGHTS):
        self.calls = 0
        self.ways = torch.zeros(64, M + 1, dtype=F64)
        self.gaps = torch.zeros(64, M + 1, M + 1, dtype=F64)
        self.tokens = torch.zeros(64, M + 1, M, 3, dtype=F64)
        for text, weight in zip(TEXTS, weights.tolist(), strict=True):
            for kept in itertools.product([True, False], repeat=len(text)):
                places = [i for i, keep in enumerate(kept) if keep]
                for hidden in itertools.product([True, False], repeat=len(places)):
                    shown = [2 if h else text[i] for i, h in zip(places, hidden, strict=True)]
                    at = int(code(padded([tuple(shown)])))
                    gone = len(text) - len(places)
                    self.ways[at, gone] += weight
                    edges = [-1, *places, len(text)]
                    for gap, (a, b) in enumerate(itertools.pairwise(edges)):
                        self.gaps[at, gone, gap] += weight * (b - a - 1)
                    for slot, i in enumerate(places):
                        self.tokens[at, gone, slot, text[i]] += weight

    def __call__(self, x, t):
        self.calls += 1
        t = t.double() if t.ndim else t.double().expand(len(x.data))
        power = t[:, None] ** torch.arange(M + 1, dtype=F64)
        at = code(x)
        total = (self.ways[at] * power).sum(1)
        gaps = (self.gaps[at] * power[..., None]).sum(1) / total[:, None]
        tokens = (self.tokens[at] * power[..., None, None]).sum(1) / total[:, None, None]
        return Growth(Categorical(probs=Padded(tokens + 1e-300, x.mask)), gaps)


def repeated(n):
    return Padded(torch.zeros(n, M, dtype=torch.long), torch.zeros(n, M, dtype=torch.bool))


def generated(sampler, steps, n, seed=0):
    grid = torch.linspace(1, 0, steps + 1, dtype=F64)
    oracle = Oracle()
    x = draw(
        PROCESS, oracle, repeated(n), sampler=sampler, grid=grid,
        generator=random.derive(seed, "grow"),
    )  # fmt: skip
    counts = torch.stack([(code(x) == c).sum() for c in code(EVERY)])
    return counts.double() / n, oracle.calls, x


def test_the_forward_law_is_the_stated_one():
    """Shares of kept, masked and deleted tokens; n = 50,000 texts of 3, five standard errors."""
    n, t = 50_000, 0.4
    x0 = padded([(0, 0, 1)] * n)
    noised = PROCESS.draw(x0, torch.full((n,), t, dtype=F64), random.derive(0, "forward"))
    x, (ids, hidden, gaps) = noised
    m = -t * torch.tensor(t).log().item()
    for share, want in (
        (float(x.mask.sum()) / (3 * n), 1 - t),
        (float(hidden.sum()) / (3 * n), m),
        (float(gaps.sum()) / (3 * n), t),
    ):
        assert abs(share - want) < 5 * (want * (1 - want) / (3 * n)) ** 0.5
    assert torch.equal(x.mask.sum(1) + gaps.sum(1).long(), torch.full((n,), 3))
    assert torch.equal(x.data == 2, hidden | ~x.mask)
    assert torch.equal(x.data[x.mask & ~hidden], ids.data[x.mask & ~hidden])
    one = (ids.data == 1) & x.mask  # the last token of the text: what follows it is nothing
    behind = gaps.gather(1, one.long().argmax(1)[:, None] + 1)[:, 0]
    assert float(behind[one.any(1)].sum()) == 0


def test_tokens_that_are_kept_stay_and_the_others_have_the_law():
    """n = 20,000 texts of 3, the middle token pinned; five standard errors at the other two."""
    n, t = 20_000, 0.4
    x0 = padded([(0, 1, 0)] * n)
    pinned = PROCESS.given(kept=torch.tensor([[False, True, False]]).expand(n, 3))
    x, (ids, hidden, gaps) = pinned.draw(x0, torch.full((n,), t, dtype=F64), random.derive(0, "k"))
    assert bool((((x.data == 1) & x.mask).sum(1) == 1).all())
    masks, gone = float(hidden.sum()) / (2 * n), float(gaps.sum()) / (2 * n)
    for share, want in ((masks, -t * torch.tensor(t).log().item()), (gone, t)):
        assert abs(share - want) < 5 * (want * (1 - want) / (2 * n)) ** 0.5
    start = pinned.prior(x0).sample(None)
    assert bool((code(start) == code(padded([(1,)]))).all())
    assert PROCESS.given() is PROCESS and not PROCESS.prior(x0).sample(None).mask.any()
    with pytest.raises(InputError, match="kept is"):
        pinned.prior(padded([(0, 1)] * 5))


def test_a_text_grows_around_a_kept_token_with_the_exact_law():
    """Texts with one token 1, which is kept: what is before and behind it is drawn.

    Chi-square over these texts, n = 8,000, 5.5 standard deviations: false alarms below 1e-5.
    """
    law = WEIGHTS * (((EVERY.data == 1) & EVERY.mask).sum(1) == 1)
    law = law / law.sum()
    like = padded([(1,)] * 8000)
    x = draw(
        PROCESS.given(kept=like.mask), Oracle(law), like, sampler=EventDriven(1e-4),
        grid=torch.tensor([1.0, 0.0], dtype=F64), generator=random.derive(0, "around"),
    )  # fmt: skip
    some = law > 0
    counts = torch.stack([(code(x) == c).sum() for c in code(EVERY)]).double()
    assert float(counts[~some].sum()) == 0
    statistic = float(((counts - 8000 * law)[some].square() / (8000 * law[some])).sum())
    freedom = int(some.sum()) - 1
    assert (statistic - freedom) / (2 * freedom) ** 0.5 < 5.5


def losses(weights, n=40_000):
    """M/t times the loss of the exact posterior, and of one with too many gaps, at uniform t."""
    generator = random.derive(0, "loss")
    pick = random.categorical(weights.expand(n, -1), generator)
    x0 = Padded(EVERY.data[pick], EVERY.mask[pick])
    t = (random.permutation(n, generator) + random.uniform((1,), generator)) / n
    x, target = PROCESS.draw(x0, t, generator)
    q = Oracle(weights)(x, t)
    wide = Growth(q.tokens, q.gaps * 1.3)
    return M * q.loss(target) / t, M * wide.loss(target) / t


def test_the_loss_is_the_bound_and_the_exact_posterior_its_minimum():
    """Tight for texts of one token, which can lie in one way only; five standard errors."""
    short = torch.where(torch.arange(15) < 3, WEIGHTS, 0.0)
    short = short / short.sum()
    for weights in (short, WEIGHTS):
        each, wide = losses(weights)
        gap = float(each.mean() - torch.special.entr(weights).sum())
        error = 5 * float(each.std()) / len(each) ** 0.5
        assert gap > -error and (gap < error or weights is WEIGHTS)
        assert float((wide - each).mean()) > 5 * float((wide - each).std()) / len(each) ** 0.5


def gap(counts):
    """Total variation from the law of the texts; noise alone is about 0.015 at n = 8,000."""
    return float((counts - WEIGHTS).abs().sum()) / 2


@pytest.mark.parametrize("order", [RandomOrder(), Margin(), LeftToRight()], ids=repr)
@pytest.mark.parametrize("steps", [1, 5])
def test_events_draw_the_exact_law_whatever_the_grid_and_the_order(steps, order):
    """Chi-square over 15 texts, n = 8,000, 5.5 standard deviations: false alarms below 1e-5."""
    counts, calls, x = generated(EventDriven(1e-4, order), steps, 8000)
    statistic = float((8000 * (counts - WEIGHTS) ** 2 / WEIGHTS).sum())
    assert (statistic - 14) / 28**0.5 < 5.5
    assert not bool(((x.data == 2) & x.mask).any())
    assert steps > 1 or calls < 30


def test_leaps_draw_it_in_the_limit():
    slow, calls, x = generated(Ancestral(), 96, 8000)
    assert calls == 96 and not bool(((x.data == 2) & x.mask).any())
    few, _, _ = generated(Ancestral(), 8, 8000)
    assert gap(slow) < 0.04 and gap(few) > 3 * gap(slow)


@pytest.mark.parametrize("sampler", [EventDriven(), Ancestral()], ids=repr)
def test_a_text_does_not_depend_on_its_neighbours(sampler):
    grid = torch.tensor([1.0, 0.6, 0.6, 0.2, 0.0], dtype=F64)

    def grown(numbers):
        frames = run(
            sampler, PROCESS, Oracle(), PROCESS.prior(repeated(len(numbers))).sample(None),
            grid, Streams.derive(0, "texts", numbers),
        )  # fmt: skip
        return [frame.after for frame in frames]

    batch, alone = grown(range(6)), [grown([i]) for i in range(6)]
    for step, x in enumerate(batch):
        for i in range(6):
            assert torch.equal(code(x)[i], code(alone[i][step])[0])
    assert torch.equal(code(batch[0]), code(batch[1]))  # time stands still


def test_texts_do_not_outgrow_their_room():
    def greedy(x, t):
        probs = F.one_hot(torch.zeros_like(x.data), 3).double()
        return Growth(Categorical(probs=Padded(probs, x.mask)), torch.full((4, M + 1), 9.0))

    for sampler, steps in ((EventDriven(), 1), (Ancestral(), 8)):
        x = draw(
            PROCESS, greedy, repeated(4), sampler=sampler,
            grid=torch.linspace(1, 0, steps + 1, dtype=F64), generator=random.derive(0, "greedy"),
        )  # fmt: skip
        assert bool(x.mask.all()) and bool((x.data == 0).all())


def test_a_network_says_tokens_and_gaps():
    net = torch.nn.Module()
    net.forward = lambda x, clock: (torch.zeros(1, M, 3), torch.tensor([[0.0, 1.0, -1.0, 5.0]]))
    x = Padded(torch.tensor([[2, 0, 2]]), torch.tensor([[True, True, False]]))
    q = InsertionDenoiser(net, PROCESS)(x, torch.tensor(0.5, dtype=F64))
    assert torch.allclose(q.tokens.probs.data, torch.tensor([0.5, 0.5, 0.0]).double())
    assert torch.allclose(q.gaps, F.softplus(torch.tensor([[0.0, 1.0, -1.0, 5.0]])))


def test_what_cannot_grow_is_refused():
    with pytest.raises(InputError, match="Padded ids"):
        PROCESS.prior(torch.zeros(2, 3, dtype=torch.long))
    with pytest.raises(InputError, match="last lies in"):
        EventDriven(1.0)
    with pytest.raises(InputError, match="shared or per item"):
        PROCESS.draw(EVERY, torch.zeros(8, 3), random.derive(0, "x"))
    x = torch.full((2, 3), 2)
    with pytest.raises(Unsupported, match="EventDriven grows texts"):
        grid = torch.tensor([1.0, 0.0])
        list(run(EventDriven(), Discrete(absorbing(2)), Oracle(), x, grid, random.derive(0, "x")))
