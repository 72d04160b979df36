import math

import pytest
import torch

from sfumato import InputError, Streams, random
from sfumato_nn.autoencoder import KL, VQ
from sfumato_nn.sizes import count_parameters

KINDS = (KL, VQ)


def made(kind, channels=1, size=(8, 8), widths=(8, 16), **options):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        codec = kind(channels, size, widths=widths, **options)
        for parameter in codec.parameters():  # away from where the residual blocks do nothing
            parameter.data += 0.05 * torch.randn_like(parameter)
        if kind is VQ:
            codec.quantiser.codes.copy_(torch.randn_like(codec.quantiser.codes))
    codec.mean.copy_(torch.arange(codec.latent) * 0.3)
    codec.variance.copy_(torch.linspace(0.5, 2, codec.latent))
    return codec.eval()


def batch(*shape, seed=0):
    return random.normal(torch.empty(shape), random.derive(seed, "x"))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("channels", [1, 4])
@pytest.mark.parametrize("levels", [2, 4])
def test_any_size_comes_back_as_it_was(kind, channels, levels):
    factor = 2 ** (levels - 1)
    for size in ((8, 8), (1, 9), (7, 13), (5,), (3, 6, 5)):
        codec = made(kind, channels, size, widths=(4,) * levels)
        x = batch(2, channels, *size)
        z = codec.encode(x, random.derive(0, "z"))
        assert z.shape == (2, 4, *(math.ceil(side / factor) for side in size))
        assert codec.layout(x).shape == z.shape
        assert codec.decode(z).shape == x.shape
        assert codec(x, random.derive(0, "z")).x.shape == x.shape


@pytest.mark.parametrize("kind", KINDS)
def test_an_odd_size_is_its_continuation_by_the_edge_cut_back(kind):
    odd, even = made(kind, size=(7, 5), widths=(8, 8, 8)), made(kind, size=(8, 8), widths=(8, 8, 8))
    even.load_state_dict(odd.state_dict())
    x = batch(3, 1, 7, 5)
    long = torch.cat([x, x[:, :, -1:]], 2)
    long = torch.cat([long, long[..., -1:].expand(-1, -1, -1, 3)], 3)
    z = odd.encode(x, random.derive(0, "z"))
    assert torch.equal(z, even.encode(long, random.derive(0, "z")))
    assert torch.equal(odd.decode(z), even.decode(z)[:, :, :7, :5])


def test_sizes_beside_its_own_decode_to_whole_multiples():
    codec = made(KL, size=(7, 7))
    x = batch(1, 1, 10, 12)
    assert codec.decode(codec.encode(x, random.derive(0, "z"))).shape == x.shape


@pytest.mark.parametrize("kind", KINDS)
def test_an_item_does_not_depend_on_the_batch(kind):
    codec, x = made(kind), batch(6, 1, 8, 8)
    whole = codec.encode(x, Streams.derive(0, "z", range(6)))
    parts = [codec.encode(x[i : i + 2], Streams.derive(0, "z", [i, i + 1])) for i in (0, 2, 4)]
    # convolutions may round differently by batch size, which is all that may differ
    torch.testing.assert_close(torch.cat(parts), whole, atol=1e-5, rtol=0)
    again = codec.encode(x, Streams.derive(0, "z", range(6)))
    assert torch.equal(again, whole)
    each = [codec.decode(whole[i : i + 1]) for i in range(6)]
    torch.testing.assert_close(torch.cat(each), codec.decode(whole), atol=1e-5, rtol=0)


def test_the_divergence_is_that_of_the_closed_form():
    codec, x = made(KL), batch(4, 1, 8, 8)
    q = codec.posterior(x)
    mean, variance = q.mean.double(), q.std.double().square()
    nats = 0.5 * (mean.square() + variance - variance.log() - 1).flatten(1).sum(1)
    coded = codec(x, random.derive(0, "z"))
    torch.testing.assert_close(coded.parts["kl"].double(), nats, rtol=1e-5, atol=0)
    torch.testing.assert_close(coded.cost.double(), 1e-6 * nats / 64, rtol=1e-5, atol=0)


def test_latents_are_draws_of_the_posterior():
    codec, x = made(KL), batch(1, 1, 8, 8)
    with torch.no_grad():
        q = codec.posterior(x)
        z = codec.encode(x.expand(4000, -1, -1, -1), random.derive(0, "z"))
    raw = z * codec.variance.sqrt().view(1, -1, 1, 1) + codec.mean.view(1, -1, 1, 1)
    score = ((raw - q.mean) / q.std).double()
    # 64 means and 64 mean squares: 5 standard errors are passed once in 10,000 such tests
    assert score.mean(0).abs().max() < 5 / math.sqrt(4000)
    assert (score.square().mean(0) - 1).abs().max() < 5 * math.sqrt(2 / 4000)


@pytest.mark.parametrize("kind", KINDS)
def test_observed_latents_become_standard(kind):
    codec = kind(1, (8, 8), latent=3, widths=(8, 16))
    source = random.derive(0, "z")
    data = batch(400, 1, 8, 8) + 1
    with torch.no_grad():
        for _ in range(8 if kind is VQ else 1):  # codes settle first
            for part in data.split(50):
                codec.observe(codec(part, source).z, source)
        z = codec.encode(data, source)
    tolerance = 0.15 if kind is VQ else 0.05
    assert z.mean((0, 2, 3)).abs().max() < tolerance
    assert (z.std((0, 2, 3)) - 1).abs().max() < tolerance


def test_moments_are_those_of_all_batches_at_first():
    codec, z = made(KL), batch(64, 4, 3, 3)
    codec.mean.zero_()
    codec.variance.fill_(1)
    for part in z.split(32):
        codec.observe(part, random.derive(0, "z"))
    torch.testing.assert_close(codec.mean, z.mean((0, 2, 3)), atol=1e-6, rtol=0)
    # the second batch is measured around the mean of both, the first around its own
    torch.testing.assert_close(codec.variance, z.var((0, 2, 3)), atol=0.02, rtol=0)


def test_a_latent_is_known_where_its_cell_and_those_around_it_are():
    codec = KL(2, (20, 18), widths=(4, 4, 4))
    known = random.uniform((3, 2, 20, 18), random.derive(0, "m")) > 0.01
    known[0, :, :12] = True
    found = codec.mask(known)
    assert found.shape == codec.layout(torch.zeros(3, 2, 20, 18)).shape
    assert found.dtype == torch.bool
    for item in range(3):
        for row in range(5):
            for column in range(5):
                area = known[
                    item,
                    :,
                    max(0, 4 * row - 4) : 4 * row + 8,
                    max(0, 4 * column - 4) : 4 * column + 8,
                ]
                assert (found[item, :, row, column] == area.all()).all()
    assert found.any()
    assert not found.all()


def test_codes_and_back():
    codec, x = made(VQ, codes=32), batch(4, 1, 8, 8)
    ids = codec.codes(x)
    assert ids.shape == (4, 4, 4)
    assert ids.max() < 32
    z = codec.encode(x, random.derive(0, "z"))
    assert torch.equal(codec.from_codes(ids), codec(x, random.derive(0, "z")).x)
    torch.testing.assert_close(codec.decode(z), codec.from_codes(ids), atol=1e-5, rtol=0)
    # what a continuous model gives is brought to the nearest code first
    torch.testing.assert_close(codec.decode(z + 1e-4), codec.decode(z), atol=1e-5, rtol=0)


def test_no_weight_depends_on_the_size():
    assert count_parameters(KL(3, (8, 8))) == count_parameters(KL(3, (64, 48)))


@pytest.mark.parametrize(
    ("channels", "size", "options", "says"),
    [
        (1, (), {}, "one to three positive numbers"),
        (1, (8, 0), {}, "one to three positive numbers"),
        (1, (8, 8), {"widths": ()}, "at least one"),
        (0, (8, 8), {}, "at least one"),
    ],
)
def test_wrong_shapes_are_refused(channels, size, options, says):
    with pytest.raises(InputError, match=says):
        KL(channels, size, **options)


def test_wrong_data_is_refused():
    with pytest.raises(InputError, match=r"\(B, 1, ...\)"):
        made(KL).encode(batch(2, 3, 8, 8), random.derive(0, "z"))
