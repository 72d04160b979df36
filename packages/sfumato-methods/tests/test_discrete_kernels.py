"""Every kernel against dense matrices, Bayes' rule by enumeration, and derivatives in time."""

import math

import pytest
import torch

from sfumato import Categorical, InputError, Unsupported, elbo, kl, random
from sfumato_methods.discrete import (
    CosineKeep,
    D3PMCosineKeep,
    Discrete,
    Exponential,
    JointDiscrete,
    LinearKeep,
    LogisticDenoiser,
    MaskReplace,
    RatioDenoiser,
    Steps,
    absorbing,
    band,
    marginal,
    nearest,
    ordinal,
    uniform,
)
from sfumato_methods.discrete.denoiser import logistic_logits
from sfumato_methods.discrete.losses import hybrid, score_entropy, step_bound
from sfumato_methods.discrete.structured import information

F64 = torch.float64
EVERY = torch.arange(5)
LAW = torch.tensor([0.4, 0.25, 0.2, 0.1, 0.05], dtype=F64)
PLACES = torch.tensor([[0.0, 0.0], [1.0, 0.2], [2.0, 0.0], [0.3, 1.1], [3.0, 1.0]])
ARBITRARY = torch.rand(12, 5, 5, generator=random.derive(0, "matrices"), dtype=F64).square()
KERNELS = {
    "uniform": uniform(5, D3PMCosineKeep()),
    "absorbing": absorbing(4),
    "marginal": marginal(LAW, CosineKeep()),
    "ordinal": ordinal(5, torch.linspace(0.02, 1.0, 40)),
    "band": band(5, 1, LAW),
    "nearest": nearest(PLACES, 2, LAW),
    "mask-replace": MaskReplace(4, masked=0.8),
    "arbitrary": Steps(ARBITRARY / ARBITRARY.sum(-1, keepdim=True)),
}
SMOOTH = [k for k in KERNELS if k not in ("ordinal", "arbitrary")]
PAIRS = [(0.0, 0.4), (0.3, 0.7), (0.25, 1.0), (0.0, 1.0), (0.6, 0.6), (1.0, 1.0), (0.62, 0.63)]


def time(value):
    return torch.tensor(value, dtype=F64)


def series(a):
    """exp(a) to the last digit, which `torch.matrix_exp` does not reach."""
    term = out = torch.eye(5, dtype=F64)
    for k in range(1, 60):
        term = term @ a / (k * 2**7)
        out = out + term
    return torch.linalg.matrix_power(out, 2**7)


def dense(kernel, s, t):
    """T(s -> t) of its definition, by a route that the kernel does not take."""
    eye = torch.eye(5, dtype=F64)
    if s == t:
        return eye
    if isinstance(kernel, Steps):
        out = eye
        for k, step in enumerate(kernel.steps, start=1):
            if s < k / len(kernel.steps) - 1e-6 <= t - 1e-6 + 1e-9:
                out = out @ step
        return out
    if isinstance(kernel, Exponential):
        age = kernel._place(time(t))[0] - kernel._place(time(s))[0]
        return series(kernel.rates * age.clamp(max=400))
    if isinstance(kernel, MaskReplace):  # many small steps of the generator, as in the paper
        a, c = 1 - t, kernel.masked * t
        whole = a * eye + (1 - a - c) / 4
        whole[:, 4], whole[4] = c, eye[4]
        a, c = 1 - s, kernel.masked * s
        half = a * eye + (1 - a - c) / 4
        half[:, 4], half[4] = c, eye[4]
        return torch.linalg.solve(half, whole)
    a = float(kernel.keep(time(t)) / kernel.keep(time(s))) if s < 1 else 1.0
    return a * eye + (1 - a) * kernel.law.expand(5, 5)


@pytest.mark.parametrize("name", KERNELS)
@pytest.mark.parametrize(("s", "t"), PAIRS)
def test_operations_are_those_of_the_matrix(name, s, t):
    kernel, matrix = KERNELS[name], dense(KERNELS[name], s, t)
    p = torch.tensor([0.1, 0.6, 1.3, 0.0, 0.2], dtype=F64)  # need not be normalised
    for got, want in (
        (kernel.rows(EVERY, time(s), time(t)), matrix),
        (kernel.columns(EVERY, time(s), time(t)), matrix.T),
        (kernel.push(p, time(s), time(t)), p @ matrix),
    ):
        assert torch.allclose(got, want, rtol=0, atol=1e-12)
    each = torch.full((5,), s, dtype=F64), torch.full((5,), t, dtype=F64)
    assert torch.allclose(kernel.rows(EVERY, *each), matrix, rtol=0, atol=1e-12)
    assert torch.allclose(kernel.push(p.expand(5, 5), *each), p @ matrix, rtol=0, atol=1e-12)


@pytest.mark.parametrize("name", KERNELS)
@pytest.mark.parametrize(("s", "t"), [(0.3, 0.7), (0.25, 1.0), (0.5, 0.55), (0.0, 0.4)])
def test_bridges_and_transitions_are_those_of_bayes_by_enumeration(name, s, t):
    kernel = KERNELS[name]
    to_s, on, to_t = dense(kernel, 0.0, s), dense(kernel, s, t), dense(kernel, 0.0, t)
    joint = to_s[:, :, None] * on[None]  # q(x_s, x_t | x_0), axes x_0, x_s, x_t
    assert torch.allclose(joint.sum(1), to_t, atol=1e-12)
    law = torch.cat([LAW[:4] / LAW[:4].sum(), torch.zeros(1)]) if kernel.mask == 4 else LAW
    guess = law * torch.tensor([2.0, 1.0, 0.5, 1.0, 1.0], dtype=F64)
    for x in range(5):
        possible = to_t[:, x] > 1e-14
        seen = torch.tensor([x])
        for x0 in possible.nonzero()[:, 0].tolist():
            got = Discrete(kernel).bridge(torch.tensor([x0]), seen, time(t), time(s)).probs[0]
            assert torch.allclose(got, joint[x0, :, x] / to_t[x0, x], rtol=0, atol=1e-12)
        for weights in (law, guess):
            post = weights * to_t[:, x]
            if float(post.sum()) == 0:
                continue
            post = post / post.sum()
            q = Categorical(probs=post[None])
            got = Discrete(kernel).transition(q, seen, time(t), time(s)).probs[0]
            want = (weights[:, None] * joint[:, :, x]).sum(0)
            assert torch.allclose(got, want / want.sum(), rtol=0, atol=1e-12)
            context = Categorical(probs=(weights / weights.sum())[None])
            other = JointDiscrete(kernel).transition(context, seen, time(t), time(s)).probs[0]
            assert torch.allclose(other, want / want.sum(), rtol=0, atol=1e-12)


@pytest.mark.parametrize("name", SMOOTH)
@pytest.mark.parametrize("t", [0.2, 0.7])
def test_inflow_is_the_derivative_of_the_matrix_in_time(name, t):
    kernel, h = KERNELS[name], 1e-5
    if isinstance(kernel, Exponential):  # stay inside a piece of its table
        h = 1e-7
    slope = (dense(kernel, t, t + h) - torch.eye(5, dtype=F64)) / h
    got = kernel.inflow(EVERY, time(t)).T
    off = ~torch.eye(5, dtype=torch.bool)
    assert torch.allclose(got[off], slope[off], rtol=1e-3, atol=1e-4)
    if kernel.mask is not None or name in ("uniform", "marginal"):
        p = torch.tensor([0.1, 0.6, 1.3, 0.0, 0.2], dtype=F64)
        pushed = kernel.push(p, time(0.1), time(t))
        assert torch.allclose(kernel.pull(pushed, time(0.1), time(t)), p, atol=1e-12)


@pytest.mark.parametrize("keep", [LinearKeep(), CosineKeep(), D3PMCosineKeep()], ids=repr)
def test_a_schedule_knows_its_slope_and_inverse(keep):
    t = torch.linspace(0.01, 0.99, 50, dtype=F64)
    h = 1e-6
    assert torch.allclose(keep.slope(t), (keep(t + h) - keep(t - h)) / (2 * h), rtol=1e-7)
    assert torch.allclose(keep.inverse(keep(t)), t, atol=1e-12)
    ends = torch.tensor([0.0, 1.0], dtype=F64)
    assert torch.allclose(keep(ends), 1 - ends, atol=1e-15)
    assert torch.allclose(keep.inverse(1 - ends), ends, atol=1e-7)
    assert float(keep(ends)[1]) == 0.0


def test_d3pm_schedules_are_the_published_ones():
    t = torch.arange(101, dtype=F64) / 100
    alpha = torch.cos(torch.pi / 2 * (t + 0.008) / 1.008)
    assert torch.allclose(D3PMCosineKeep()(t), alpha / alpha[0], atol=1e-14)
    kept = LinearKeep()(t)  # absorbing: b_t = 1/(T - t + 1)
    assert torch.allclose(1 - kept[1:] / kept[:-1], 1 / (100 - torch.arange(100, dtype=F64)))


def test_structured_kernels_lose_information_evenly():
    entropy = -float((LAW * LAW.log()).sum())
    for name in ("band", "nearest"):
        for t in (0.05, 0.3, 0.5, 0.9):
            left = float(information(dense(KERNELS[name], 0.0, t), LAW)) / entropy
            assert left == pytest.approx(1 - t, abs=2e-3)
    kernel = KERNELS["ordinal"]
    assert float(kernel.kept(time(0.0))) == pytest.approx(1)
    assert float(kernel.kept(time(1.0))) < 1e-2
    assert bool((kernel.told.diff() < 0).all())


def test_ordinal_steps_are_the_published_formula():
    beta, offset = 0.3, torch.arange(-4, 5, dtype=F64)
    total = torch.exp(-4 * offset**2 / (16 * beta)).sum()
    matrix = ordinal(5, [beta] * 60).steps[0]
    assert float(matrix[1, 3]) == pytest.approx(float(torch.exp(time(-16 / (16 * beta))) / total))
    assert torch.allclose(matrix.sum(0), torch.ones(5, dtype=F64))
    assert float(matrix[0, 0]) == pytest.approx(1 - float(matrix[0, 1:].sum()))


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: MaskReplace(4, masked=1.0), "1 is `absorbing`"),
        (lambda: Exponential(torch.eye(3)), "falls into 3 parts"),
        (lambda: nearest(torch.tensor([[0.0], [0.1], [5.0], [5.1]]), 1), "falls into 2 parts"),
        (lambda: nearest(PLACES, 5), "5 neighbours were asked for among 5 classes"),
        (lambda: Exponential(torch.tensor([[0.0, 1.0], [2.0, 0.0]])), "symmetric"),
        (lambda: ordinal(5, [1e-4] * 3), "still tells where it began"),
        (lambda: Steps(torch.ones(2, 3, 3)), "sum to 1"),
        (lambda: band(4, 1, [1.0, 2.0]), "4 frequencies"),
    ],
    ids=["masked", "no edges", "two parts", "too many", "one way", "slow", "no law", "short law"],
)
def test_what_is_no_kernel_is_refused(make, says):
    with pytest.raises(InputError, match=says):
        make()


def bayes(kernel):
    """The exact posterior of single tokens of law `LAW` (the mask left out)."""
    law = torch.cat([LAW[:4] / LAW[:4].sum(), torch.zeros(1)]) if kernel.mask == 4 else LAW

    def denoise(x, t):
        joint = kernel.columns(x, torch.zeros_like(t), t) * law
        return Categorical(probs=joint / joint.sum(-1, keepdim=True))

    return law, denoise


@pytest.mark.parametrize("name", SMOOTH)
def test_rates_of_the_exact_posterior_reverse_the_marginals(name):
    """dp_t/dt of the chain run backwards: inflow less outflow of the reverse rates."""
    kernel = KERNELS[name]
    law, denoise = bayes(kernel)
    t = time(0.45)
    p = law @ dense(kernel, 0.0, 0.45)
    process, ids = Discrete(kernel), EVERY[p > 0]
    x = ids[:, None]
    q = denoise(x, t)
    ratios = process.ratios(q, x, t)[:, 0]
    told = kernel.inflow(ids, t) > 0
    assert torch.allclose(ratios[told], (p / p[ids, None])[told], atol=1e-12)
    back = process.rates(q, x, t)[:, 0]
    flow = torch.zeros(5, dtype=F64).index_add(0, EVERY, p[ids] @ back)
    out = torch.zeros(5, dtype=F64).index_copy(0, ids, p[ids] * back.sum(1))
    ahead = kernel.inflow(EVERY, t).T
    ahead = ahead - ahead.diagonal().diag()
    ahead = ahead - ahead.sum(1).diag()
    assert torch.allclose(flow - out, -(p @ ahead), atol=1e-10)
    joint = JointDiscrete(kernel).ratios(Categorical(probs=law.expand(len(x), 1, 5)), x, t)[:, 0]
    assert torch.allclose(joint, p / p[ids, None], atol=1e-12)


def test_a_chain_of_jumps_has_no_rates():
    with pytest.raises(Unsupported, match="jumps at fixed times"):
        KERNELS["ordinal"].inflow(EVERY, time(0.5))


@pytest.mark.parametrize("name", ["uniform", "absorbing", "mask-replace", "band"])
def test_score_entropy_of_the_exact_posterior_is_the_entropy(name):
    """The mean of 40,000 terms within five standard errors: false alarms below 1e-5."""
    kernel = KERNELS[name]
    law, denoise = bayes(kernel)
    generator = random.derive(0, "score entropy", name)
    count = 40_000
    x0 = random.categorical(law.expand(count, 1, 5), generator)
    t = (torch.arange(count, dtype=F64) + 0.5) / count
    t = t[random.permutation(count, generator)]
    each = score_entropy(Discrete(kernel), denoise, x0, t, generator)
    assert bool((each >= -1e-12).all())
    entropy = -float((law[law > 0] * law[law > 0].log()).sum())
    assert abs(float(each.mean()) - entropy) <= 5 * float(each.std()) / count**0.5


def test_score_entropy_of_masked_tokens_is_the_weighted_cross_entropy():
    """-a'/(1 - a) sum of -log p over masked places, whatever the posterior says."""
    process = Discrete(absorbing(4, CosineKeep()))
    x0 = torch.tensor([[0, 1, 3], [2, 2, 0]])
    probs = torch.rand(2, 3, 5, generator=random.derive(0, "posterior"), dtype=F64) + 0.1
    probs[..., 4] = 0
    probs = probs / probs.sum(-1, keepdim=True)
    seen = []

    def denoise(x, t):
        seen.append(x)
        shown = torch.nn.functional.one_hot(x, 5).double()
        return Categorical(probs=torch.where((x == 4)[..., None], probs, shown))

    t = torch.tensor([0.3, 0.8], dtype=F64)
    got = score_entropy(process, denoise, x0, t, random.derive(0, "noise"))
    keep = process.kernel.keep
    told = -probs.log().gather(-1, x0[..., None])[..., 0]
    want = -keep.slope(t) / (1 - keep(t)) * (told * (seen[0] == 4)).sum(1)
    assert bool((seen[0] == 4).any()) and torch.allclose(got, want)


def test_score_entropy_of_uniform_noise_is_the_published_form():
    """Sahoo et al. 2025: sums of xbar = K a p + (1 - a), in the joint form."""
    process, a = JointDiscrete(uniform(5)), 0.35
    x0 = torch.tensor([[0, 1, 3], [2, 2, 0]])
    probs = torch.rand(2, 3, 5, generator=random.derive(1, "posterior"), dtype=F64).softmax(-1)
    seen = []

    def denoise(x, t):
        seen.append(x)
        return Categorical(probs=probs)

    got = score_entropy(process, denoise, x0, time(1 - a), random.derive(0, "noise"))
    x = seen[0][..., None]
    true = 5 * a * torch.nn.functional.one_hot(x0, 5) + (1 - a)
    said = 5 * a * probs + (1 - a)
    r, s = true / true.gather(-1, x), said / said.gather(-1, x)
    each = (s - r + r * (r / s).log()).scatter(-1, x, 0.0).sum(-1)
    assert torch.allclose(got, (each / (5 * a)).sum(1))


class LogRatios(torch.nn.Module):
    """A network that knows the exact ratios of single tokens."""

    def __init__(self, kernel):
        super().__init__()
        self.kernel = kernel

    def forward(self, ids, clock):
        t = clock.double().sigmoid()  # linear schedules: the clock is logit t
        law, _ = bayes(self.kernel)
        p = law @ self.kernel.rows(EVERY, torch.zeros_like(t[0]), t[0])
        out = (p / p[ids][..., None]).log()
        if self.kernel.absorbs is not None:
            out = out - torch.where(ids == 4, torch.logit(1 - t[0]), 0.0)[..., None]
        return out


@pytest.mark.parametrize(
    "kernel", [uniform(5), absorbing(4), marginal(LAW), MaskReplace(4)], ids=repr
)
def test_ratios_become_the_posterior_and_its_step_the_analytic_sampler(kernel):
    process = Discrete(kernel)
    _, denoise = bayes(kernel)
    x = EVERY[:, None]
    t, s = time(0.7), time(0.4)
    said, exact = RatioDenoiser(LogRatios(kernel), process)(x, t), denoise(x, t)
    assert torch.allclose(said.probs, exact.probs, atol=1e-6)  # the clock is float32
    back = kernel.pull(said.ratios, s, t) * kernel.columns(x, s, t)  # SEDD, theorem 4.2
    back = back / back.sum(-1, keepdim=True)
    assert torch.allclose(process.transition(said, x, t, s).probs, back, atol=1e-6)


@pytest.mark.parametrize("kind", [Discrete, JointDiscrete])
@pytest.mark.parametrize("name", ["ordinal", "absorbing", "mask-replace"])
def test_the_bound_by_steps_is_the_bound_of_the_core(kind, name):
    """Means over 20,000 items within six joint standard errors: false alarms below 1e-6."""
    process, count, steps = kind(KERNELS[name]), 20_000, 8
    _, exact = bayes(process.kernel)

    def denoise(x, t):
        p = exact(x, t).probs + 0.05 * (torch.arange(5) != process.kernel.mask)
        return Categorical(probs=p / p.sum(-1, keepdim=True))

    generator = random.derive(0, "steps", name, kind.__name__)
    x0 = torch.full((count, 1), 2)
    t = (random.permutation(count, generator) + 0.5) / count
    each = step_bound(process, denoise, x0, t, generator, steps=steps)
    grid = torch.linspace(1, 0, steps + 1, dtype=F64)
    whole = elbo(process, denoise, x0, grid, generator)
    constant = kl(process.marginal(x0[:1], time(1.0)), process.prior(x0[:1]))
    gap = float(each.mean() + constant - whole.mean())
    assert abs(gap) <= 6 * float((each.var() + whole.var()) / count) ** 0.5
    both = hybrid(process, denoise, x0[:5], t[:5], random.derive(7, "g"), steps=8, weight=0.25)
    bound = step_bound(process, denoise, x0[:5], t[:5], random.derive(7, "g"), steps=8)
    later = (t[:5] * 8).floor() / 8 + 1 / 8
    x = process.marginal(x0[:5], later).sample(random.derive(7, "g"))
    assert torch.allclose(both - bound, 8 * 0.25 * denoise(x, later).nll(x0[:5]))


def test_the_logistic_head_is_a_cut_logistic_law():
    mean, scale = torch.tensor([0.1], dtype=F64), torch.tensor([-1.5], dtype=F64)
    logits = logistic_logits(mean, scale, 9)[0]
    centre = torch.linspace(-1, 1, 9, dtype=F64)

    def below(v):
        return 1 / (1 + torch.exp(-(v - 0.1) * math.exp(1.5)))

    want = below(centre + 0.125) - below(centre - 0.125)
    assert torch.allclose(logits.exp(), want, atol=1e-14)
    far = logistic_logits(mean + 400, scale, 9)  # no difference of equal numbers
    assert bool(far.isfinite().all())


def test_an_ordinal_network_shifts_what_it_sees():
    net = torch.nn.Module()
    net.forward = lambda ids, clock: torch.tensor([0.2, -4.0]).expand(*ids.shape, 2)
    q = LogisticDenoiser(net, Discrete(KERNELS["ordinal"]))(torch.tensor([[0, 1, 4]]), time(0.2))
    mean = (torch.tensor([-1.0, -0.5, 1.0]) + 0.2).tanh()
    want = logistic_logits(mean, torch.full((3,), -4.0), 5).double().softmax(-1)
    assert torch.allclose(q.probs[0], want) and q.probs[0].argmax(-1).tolist() == [1, 1, 4]
