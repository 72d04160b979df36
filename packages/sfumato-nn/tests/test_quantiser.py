import pytest
import torch

from sfumato import InputError, random
from sfumato_nn.quantiser import Quantiser


def quantiser(count=8, width=3, **options):
    made = Quantiser(count, width, **options)
    made.codes.copy_(random.normal(made.codes, random.derive(0, "codes")))
    made.used.fill_(10)
    made.total.copy_(10 * made.codes)
    return made


def vectors(count=40, width=3, seed=0):
    return random.normal(torch.empty(2, width, count // 2), random.derive(seed, "z"))


def test_the_nearest_code_is_taken():
    one, z = quantiser(), vectors()
    found, ids = one(z)
    far = torch.cdist(z.movedim(1, -1).flatten(0, 1), one.codes)
    assert torch.equal(ids.flatten(), far.argmin(1))
    assert torch.equal(found, one.vectors(ids))
    assert torch.equal(found.movedim(1, -1).flatten(0, 1), one.codes[ids.flatten()])


def test_the_gradient_goes_straight_through():
    z = vectors().requires_grad_()
    found, _ = quantiser()(z)
    given = random.normal(found, random.derive(1, "g"))
    (gradient,) = torch.autograd.grad(found, z, given)
    assert torch.equal(gradient, given)


def test_codes_follow_the_formula():
    one, z, decay = quantiser(decay=0.9), vectors(), 0.9
    used, total = one.used.double(), one.total.double()
    _, ids = one(z)
    one.observe(z, ids, random.derive(0, "dead"))
    rows = z.movedim(1, -1).flatten(0, 1).double()
    for k in range(8):
        mine = rows[ids.flatten() == k]
        n = decay * used[k] + (1 - decay) * len(mine)
        m = decay * total[k] + (1 - decay) * mine.sum(0)
        torch.testing.assert_close(one.used[k].double(), n, rtol=1e-6, atol=0)
        torch.testing.assert_close(one.codes[k].double(), m / n, rtol=1e-5, atol=1e-6)


def test_codes_that_are_not_used_start_again_at_vectors_of_the_batch():
    one, z = quantiser(), vectors()
    one.used[3], one.codes[3], one.total[3] = 1e-4, 100.0, 1e-2
    _, ids = one(z)
    assert 3 not in ids
    one.observe(z, ids, random.derive(0, "dead"))
    rows = z.movedim(1, -1).flatten(0, 1)
    assert (rows - one.codes[3]).abs().amax(1).min() < 1e-5
    assert one.used[3] > 1


def test_at_first_one_code_is_the_mean_and_all_others_are_vectors_of_the_batch():
    one, z = Quantiser(16, 3), vectors()
    one.observe(z, one(z)[1], random.derive(0, "dead"))
    rows = z.movedim(1, -1).flatten(0, 1)
    torch.testing.assert_close(one.codes[0], rows.mean(0))
    assert (one.codes[1:, None] - rows).abs().amax(2).amin(1).max() < 1e-6


def test_it_finds_the_centres_of_clusters():
    centres = torch.tensor([[0.0, 0.0], [4.0, 0.0], [0.0, 4.0], [4.0, 4.0]])
    one, source = Quantiser(32, 2, decay=0.9), random.derive(0, "clusters")
    for _ in range(100):
        which = random.integers(0, 4, (1, 64), source)
        z = centres[which].movedim(-1, 1) + 0.1 * random.normal(torch.empty(1, 2, 64), source)
        one.observe(z, one(z)[1], source)
    assert torch.cdist(centres, one.codes).amin(1).max() < 0.2


@pytest.mark.parametrize(
    ("ids", "expected"), [([0, 0, 0, 0], 1.0), ([0, 1, 2, 3], 4.0), ([0, 0, 1, 1], 2.0)]
)
def test_perplexity(ids, expected):
    assert quantiser().perplexity(torch.tensor(ids)) == pytest.approx(expected, rel=1e-12)


def test_codes_are_stored():
    assert {"codes", "used", "total"} == set(Quantiser(4, 2).state_dict())


@pytest.mark.parametrize("options", [{"count": 0}, {"width": 0}, {"decay": 1.0}])
def test_wrong_numbers_are_refused(options):
    with pytest.raises(InputError, match="at least one code"):
        Quantiser(**({"count": 4, "width": 2} | options))
