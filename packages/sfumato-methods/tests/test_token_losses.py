"""Order-agnostic, uniform-state and latent losses; budgets of calls; draws in few bits."""

import itertools
import math

import pytest
import torch
from torch.nn import functional as F

from sfumato import Categorical, Denoiser, InputError, Normal, Padded, Unsupported, random, run
from sfumato_methods.discrete import (
    CosineKeep,
    Discrete,
    JointDiscrete,
    Ordered,
    RandomOrder,
    Tokens,
    absorbing,
    ordinal,
    uniform,
)
from sfumato_methods.discrete.anyorder import any_order, budget, budget_grid, costs, spent
from sfumato_methods.discrete.latent import fresh_latents, latent_bound
from sfumato_methods.discrete.races import chain_law, entropy_ratio, race_law
from sfumato_methods.discrete.replaced import contrastive, denoise_replaced, denoise_resampled

F64 = torch.float64
WORDS = torch.tensor(list(itertools.product(range(2), repeat=3)))
WEIGHTS = torch.tensor([0.3, 0.02, 0.05, 0.13, 0.02, 0.2, 0.08, 0.2], dtype=F64)
MASKED = Discrete(absorbing(2, CosineKeep()))


def oracle(x, t):
    """Exact conditionals of the words, given what is not masked."""
    fits = ((x[:, None] == WORDS) | (x[:, None] == 2)).all(-1).double() * WEIGHTS
    fits = fits / fits.sum(1, keepdim=True)
    return Categorical(probs=torch.einsum("bw,wlk->blk", fits, F.one_hot(WORDS, 3).double()))


def blunt(x, t):
    """A wrong model, which still carries over what is not masked."""
    shown = F.one_hot(x, 3).double()
    guess = torch.tensor([0.6, 0.4, 0.0], dtype=F64)
    return Categorical(probs=torch.where((x == 2)[..., None], guess, shown))


def words(n, generator):
    return WORDS[random.categorical(WEIGHTS.expand(n, -1), generator)]


@pytest.mark.parametrize("model", [oracle, blunt])
def test_the_any_order_loss_is_the_mean_over_all_orders(model):
    """For one word, 60,000 draws, five standard errors; the exact model gives -log p to 1e-12."""
    word, n = torch.tensor([[0, 1, 1]]), 60_000
    exact = []
    for order in itertools.permutations(range(3)):
        x, nats = torch.full((1, 3), 2), 0.0
        for place in order:
            nats -= float(model(x, None).probs[0, place, word[0, place]].log())
            x = x.clone()
            x[0, place] = word[0, place]
        exact.append(nats)
    if model is oracle:
        assert exact == pytest.approx([-math.log(0.13)] * 6, abs=1e-12)
    generator = random.derive(0, "any order")
    t = (random.permutation(n, generator) + random.uniform((1,), generator)) / n
    each = any_order(MASKED, model, word.expand(n, 3), t, generator)
    assert abs(float(each.mean()) - sum(exact) / 6) < 5 * float(each.std()) / n**0.5


def test_any_order_masks_exactly_n_places_at_their_time():
    seen = []
    t = torch.tensor([0.0, 0.34, 0.99, 0.67], dtype=F64)
    lengths = torch.tensor([[1, 1, 1], [1, 1, 1], [1, 1, 1], [1, 0, 0]]).bool()
    x0 = Padded(WORDS[:4], lengths)

    def padded(x, t):
        seen.append((x, t))
        return Categorical(probs=Padded(blunt(x.data, t).probs, x.mask))

    any_order(MASKED, padded, x0, t, random.derive(0, "n"))
    x, clock = seen[0]
    hidden = ((x.data == 2) & x.mask).sum(1)
    assert hidden.tolist() == [1, 2, 3, 1]
    want = 1 - torch.tensor([1 / 3, 2 / 3, 1, 1], dtype=F64)
    assert torch.allclose(MASKED.kernel.keep(clock), want, atol=1e-12)
    with pytest.raises(Unsupported, match="order-agnostic model needs a chain that only masks"):
        any_order(Discrete(uniform(3)), blunt, WORDS[:4], t, random.derive(0, "n"))


def test_costs_are_the_mean_conditional_entropies():
    """The chain rule: averaged over orders they sum to the entropy; 5 % on 20,000 words."""
    generator = random.derive(0, "costs")
    found = costs(MASKED, oracle, words(20_000, generator), generator)

    def entropy(p):
        return float(torch.special.entr(p).sum())

    joint = WEIGHTS.reshape(2, 2, 2)
    single = [entropy(joint.sum([b for b in range(3) if b != a])) for a in range(3)]
    pairs = [entropy(joint.sum(a).flatten()) for a in range(3)]
    whole = entropy(WEIGHTS)
    first = sum(single) / 3
    last = sum(whole - pair for pair in pairs) / 3
    want = torch.tensor([first, whole - first - last, last], dtype=F64)
    assert torch.allclose(found, want, rtol=0.05)
    assert float(found.sum()) == pytest.approx(whole, rel=0.03)


def brute(cost, calls):
    length = len(cost)
    best = math.inf
    for cuts in itertools.combinations(range(1, length), calls - 1):
        edges = [0, *cuts, length]
        best = min(best, spent(cost, [b - a for a, b in itertools.pairwise(edges)]))
    return best


@pytest.mark.parametrize("seed", range(3))
def test_budgets_are_the_best_of_all(seed):
    cost = torch.rand(9, generator=random.derive(seed, "costs"), dtype=F64).sort(descending=True)
    for calls in range(1, 10):
        groups = budget(cost.values, calls)
        assert len(groups) == calls and sum(groups) == 9
        assert spent(cost.values, groups) == pytest.approx(brute(cost.values, calls), abs=1e-12)
    flat = budget([1.0] * 6, 3)  # all the same: any will do
    assert sum(flat) == 6 and min(flat) >= 1


def test_noisy_costs_are_made_to_fall_first():
    rough = torch.tensor([3.0, 1.0, 2.0, 0.5, 0.7, 0.1], dtype=F64)
    smooth = torch.tensor([3.0, 1.5, 1.5, 0.6, 0.6, 0.1], dtype=F64)
    assert budget(rough, 4) == budget(smooth, 4)
    for wrong in (0, 7):
        with pytest.raises(InputError, match="6 tokens take from 1 to 6 calls"):
            budget(rough, wrong)
    with pytest.raises(InputError, match="do not fit"):
        spent(rough, [3, 2])
    with pytest.raises(InputError, match="one length"):
        places = Padded(WORDS[:2], torch.tensor([[True, True, True], [True, False, False]]))
        costs(MASKED, blunt, places, random.derive(0, "x"))


def test_a_budget_grid_shows_its_groups():
    groups = [1, 1, 4, 2]
    x = torch.full((2, 8), 2)
    frames = run(
        Ordered(RandomOrder()),
        MASKED,
        lambda x, t: Categorical(probs=torch.tensor([0.6, 0.4, 0.0]).expand(2, 8, 3)),
        x,
        budget_grid(MASKED, groups),
        random.derive(0, "groups"),
    )
    left = [int((frame.after[0] == 2).sum()) for frame in frames]
    assert left == [7, 6, 2, 0]


def context(x, t):
    """p(x_0^i | the other tokens of x_t) of the words under uniform noise, by enumeration."""
    kernel = uniform(2)
    t = t if t.ndim else t.expand(len(x))
    each = kernel.columns(x, torch.zeros_like(t), t)  # q(x_t^i | x_0^i = .)
    seen = torch.stack([each[:, i, WORDS[:, i]] for i in range(3)], -1)  # (B, words, places)
    joint = WEIGHTS[:, None] * seen.prod(-1, keepdim=True) / seen
    probs = torch.einsum("bwl,wlk->blk", joint, F.one_hot(WORDS, 2).double())
    return Categorical(probs=probs / probs.sum(-1, keepdim=True))


def posterior(x, t):
    """p(x_0^i | x_t), and no mass on the token seen where the loss never asks for it."""
    q = context(x, t).probs
    differs = q.scatter(-1, x[..., None], 1e-9)
    return Categorical(probs=differs / differs.sum(-1, keepdim=True))


def test_resampled_places_teach_the_context_and_replaced_ones_do_not():
    """Paired differences of 40,000 items, more than six standard errors apart."""
    process, n = Discrete(uniform(2)), 40_000
    t = torch.full((n,), 0.6, dtype=F64)
    x0 = words(n, random.derive(0, "words"))

    def loss(f, model):
        return f(process, model, x0, t, random.derive(1, "noise"))

    def better(f, one, two):
        gap = loss(f, two) - loss(f, one)
        return float(gap.mean()) > 6 * float(gap.std()) / n**0.5

    def sharper(x, t):
        p = context(x, t).probs ** 1.6
        return Categorical(probs=p / p.sum(-1, keepdim=True))

    def flatter(x, t):
        p = context(x, t).probs ** 0.4
        return Categorical(probs=p / p.sum(-1, keepdim=True))

    assert better(denoise_resampled, context, posterior)
    assert better(denoise_resampled, context, sharper)
    assert better(denoise_resampled, context, flatter)
    assert better(denoise_replaced, posterior, context)


def test_the_context_is_what_the_joint_form_takes():
    """Its ratios are those of the marginals, so that the bound is tight: by enumeration."""
    t = torch.tensor(0.6, dtype=F64)
    kernel = uniform(2)
    each = kernel.columns(WORDS, torch.zeros_like(t), t)
    seen = torch.stack([each[:, i, WORDS[:, i]] for i in range(3)], -1).prod(-1)
    p = seen @ WEIGHTS  # p_t of the words
    ratios = JointDiscrete(kernel).ratios(context(WORDS, t), WORDS, t)
    for w in range(8):
        for place in range(3):
            other = WORDS[w].clone()
            other[place] = 1 - other[place]
            at = int((WORDS == other).all(1).nonzero())
            assert float(ratios[w, place, other[place]]) == pytest.approx(float(p[at] / p[w]))


def test_resampling_is_the_chain():
    """Shares of resampled and of replaced tokens, by the loss of an even guess."""
    n, a = 50_000, 0.4
    x0 = torch.zeros(n, 1, dtype=torch.long)
    t = torch.full((n,), 1 - a, dtype=F64)
    even = Categorical(logits=torch.zeros(n, 1, 4, dtype=F64))
    generator = random.derive(0, "events")
    for f, share in ((denoise_resampled, 1 - a), (denoise_replaced, (1 - a) * 0.75)):
        each = f(Discrete(uniform(4)), lambda x, t: even, x0, t, generator)
        hit = float((each > 0).double().mean())
        assert abs(hit - share) < 5 * (share * (1 - share) / n) ** 0.5
        assert torch.allclose(each[each > 0], torch.tensor(math.log(4) / (1 - a), dtype=F64))
    with pytest.raises(Unsupported, match="rank-one"):
        denoise_resampled(Discrete(ordinal(4, [0.3] * 60)), None, x0, t, generator)


def test_the_contrast_pushes_from_wrong_tokens():
    process, x0 = Discrete(uniform(4)), torch.tensor([[2, 1, 3, 0]] * 64)
    t = torch.full((64,), 0.7, dtype=F64)
    raw = torch.randn(64, 4, 4, generator=random.derive(0, "raw"), dtype=F64).requires_grad_()

    def model(x, t):
        return Categorical(logits=raw)

    def loss(weight):
        generator = random.derive(1, "noise")
        return contrastive(process, model, x0, t, generator, weight=weight)

    plain = denoise_replaced(process, model, x0, t, random.derive(1, "noise"))
    assert torch.allclose(loss(0.0), plain)
    push = loss(0.1) - loss(0.0)
    assert bool((push >= 0).all())
    (slope,) = torch.autograd.grad(push.sum(), raw)
    right = slope.gather(-1, x0[..., None])
    assert bool((right <= 1e-12).all()) and float(right.min()) < 0  # the clean token gains
    with pytest.raises(InputError, match="not negative"):
        contrastive(process, model, x0, t, random.derive(1, "noise"), weight=-1.0)


class Pairs(Denoiser):
    """Two equal tokens of 4 classes, told by the sign pattern of z where it is given."""

    def __init__(self, z=None):
        super().__init__()
        self.z = z

    def given(self, **condition):
        return Pairs(condition["z"])

    def forward(self, x, t):
        code = (self.z[:, :2] > 0).long() @ torch.tensor([2, 1])
        guess = F.one_hot(code, 4).double() * 0.96 + 0.01
        return Tokens(F.pad(guess.log()[:, None].expand(*x.shape, 4), (0, 1)), 4, x)


def test_the_latent_bound_is_what_it_says():
    process, n = Discrete(absorbing(4)), 5
    x0 = torch.tensor([[0, 0], [1, 1], [2, 2], [3, 3], [3, 3]])
    t = torch.tensor([0.2, 0.5, 0.9, 0.99, 1e-6], dtype=F64)
    seen = []

    def encoder(x0, x, t):
        seen.append(x)
        sign = 2.0 * torch.stack([x0[:, 0] // 2, x0[:, 0] % 2], 1) - 1
        return Normal(2 * sign.double(), torch.full((n, 2), 0.1, dtype=F64))

    got = latent_bound(process, Pairs(), x0, t, random.derive(0, "z"), encoder=encoder, beta=0.5)
    hidden = (seen[0] == 4).sum(1)
    divergence = 2 * (0.5 * (0.01 + 4 - 1) - math.log(0.1))
    told = -math.log(0.97) * hidden + 0.5 * divergence * (hidden > 0)
    assert hidden.tolist()[-1] == 0 and int(hidden.sum()) > 3
    assert torch.allclose(got, told / t)


def test_fresh_latents_tie_the_tokens_of_a_step():
    process, n = Discrete(absorbing(4)), 4000
    model = fresh_latents(Pairs(), 2, random.derive(0, "latents"))
    x = torch.full((n, 2), 4)
    grid = torch.tensor([1.0, 0.0], dtype=F64)
    for frame in run(Ordered(), process, model, x, grid, random.derive(1, "tokens")):
        x = frame.after
    equal = float((x[:, 0] == x[:, 1]).double().mean())
    assert equal > 0.9  # 0.97^2 + ...: marginals alone give 0.25
    share = torch.bincount(x[:, 0], minlength=4) / n
    assert bool((share - 0.25).abs().max() < 0.04)


def test_a_truncated_race_has_its_exact_law():
    """Six bits, weights from 0.7 to 1e-3, n = 400,000 races; five standard errors a class."""
    weights, n = torch.tensor([0.7, 0.25, 0.04, 0.009, 0.001], dtype=F64), 400_000
    u = random.uniform((n, 5), random.derive(0, "race")) * (1 - 2.0**-6)
    drawn = torch.bincount((weights.log() - u.log().neg().log()).argmax(1), minlength=5) / n
    law = race_law(weights, 6)
    assert bool(((drawn - law).abs() < 5 * (law * (1 - law) / n).sqrt() + 1e-9).all())
    assert float(law[-1]) < 0.6 * float(weights[-1])  # rare tokens lose
    assert torch.allclose(race_law(weights, 53), weights, rtol=1e-12)
    shuffled = torch.tensor([3, 0, 4, 1, 2])
    assert torch.allclose(race_law(weights[shuffled], 6), law[shuffled])


def test_single_precision_lowers_the_entropy_of_long_chains():
    """The published effect on Zipf's law of 50,257 tokens; in double precision there is none."""
    zipf = 1 / torch.arange(1, 50_258, dtype=F64)
    zipf = zipf / zipf.sum()
    assert entropy_ratio(zipf, 1) == pytest.approx(0.998, abs=5e-4)
    assert entropy_ratio(zipf, 64) == pytest.approx(0.953, abs=5e-4)
    assert entropy_ratio(zipf, 8, 53) == pytest.approx(1.0, abs=1e-8)
    small = torch.tensor([0.6, 0.3, 0.1], dtype=F64)
    assert torch.allclose(chain_law(small, 50, 53), small, atol=1e-12)
    assert float(chain_law(small, 50).sum()) == pytest.approx(1.0)
