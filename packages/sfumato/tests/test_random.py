"""Randomness: streams that do not see their neighbours, forks that are independent."""

import hashlib

import pytest
import torch

from sfumato import Fields, InputError, Padded, Ragged, Streams, fork, random
from sfumato.state import leaf, select

OWNER = torch.repeat_interleave(torch.arange(4), torch.tensor([3, 1, 0, 2]))
LENGTHS = torch.tensor([3, 1, 0, 2])
STATES = {
    "tensor": torch.zeros(4, 5, 2),
    "ragged": Ragged(torch.zeros(6, 2), OWNER, 4),
    "padded": Padded(torch.zeros(4, 3, 2), torch.arange(3) < LENGTHS[:, None]),
}
STATES["fields"] = Fields(a=STATES["tensor"], b=STATES["ragged"])


@pytest.mark.parametrize("kind", STATES)
@pytest.mark.parametrize("draw", [random.normal, random.exponential])
def test_with_streams_an_item_is_drawn_as_if_alone(kind, draw):
    x = STATES[kind]
    whole = draw(x, Streams.derive(3, "items", range(4)))
    for i in (3, 0, 1):
        alone = draw(select(x, torch.tensor([i])), Streams.derive(3, "items", [i]))
        expected = select(whole, torch.tensor([i]))
        for a, b in (
            [(alone[k], expected[k]) for k in x] if kind == "fields" else [(alone, expected)]
        ):
            assert torch.equal(leaf(a), leaf(b))


def test_padding_does_not_change_what_is_drawn():
    x = STATES["padded"]
    longer = Padded(torch.zeros(4, 7, 2), torch.arange(7) < LENGTHS[:, None])
    short, long = (random.normal(v, Streams.derive(0, "p", range(4))) for v in (x, longer))
    assert torch.equal(short.data[x.mask], long.data[longer.mask])
    assert float(short.data[~x.mask].abs().max()) == 0


def test_one_stream_for_each_item():
    for x in STATES.values():
        with pytest.raises(InputError, match="2 streams were given for 4 items"):
            random.normal(x, Streams.derive(0, "few", range(2)))


def test_equal_paths_give_equal_draws_and_others_do_not():
    like = torch.zeros(1000, dtype=torch.float64)
    draw = lambda *path: random.normal(like, random.derive(*path))  # noqa: E731
    assert torch.equal(draw(1, "a", 2), draw(1, "a", 2))
    others = [draw(*path) for path in ((1, "a", 3), (2, "a", 2), (1, "b", 2), (1, "a"), (1, "a2"))]
    for x in others:  # correlation of independent normals: 5 sigma, 1 false alarm in 10^5 runs
        assert abs(float((draw(1, "a", 2) * x).mean())) < 5 / 1000**0.5


def test_streams_do_not_collide_where_their_seeds_share_32_bits():
    """A CPU generator seeds itself from the low 32 bits; 200,000 streams hold about five pairs."""
    seen, pairs = {}, []
    for i in range(200_000):
        digest = hashlib.shake_128(repr((0, "item", i)).encode()).digest(8)
        low = (int.from_bytes(digest, "little") >> 1) % 2**32
        pairs += [(seen[low], i)] if low in seen else []
        seen[low] = i
    assert pairs
    for one, two in pairs:
        a, b = (random.derive(0, "item", i) for i in (one, two))
        assert a.initial_seed() % 2**32 == b.initial_seed() % 2**32
        assert not torch.equal(random.uniform((4,), a), random.uniform((4,), b))


def test_derived_draws_are_uniform_and_unrelated_from_stream_to_stream():
    """First draws of 20,000 streams: mean, variance and lag-one correlation within 5 sigma."""
    u = torch.cat([random.uniform((1,), random.derive(1, "first", i)) for i in range(20_000)])
    n = len(u) ** 0.5
    assert abs(float(u.mean()) - 0.5) < 5 * (1 / 12) ** 0.5 / n
    assert abs(float(u.var()) - 1 / 12) < 5 * (1 / 180) ** 0.5 / n
    assert abs(float(((u[1:] - 0.5) * (u[:-1] - 0.5)).mean()) * 12) < 5 / n


def test_a_known_path_keeps_its_value():
    """Stored runs and published seeds depend on these numbers."""
    drawn = random.integers(0, 2**31, (3,), random.derive(7, "train", 3))
    assert drawn.tolist() == KNOWN


KNOWN = [90397948, 2066297117, 1082344884]


def test_a_fork_consumes_a_draw_and_is_named():
    one, two, three = (random.derive(5, "parent") for _ in range(3))
    a, b = fork(one, "prior"), fork(two, "prior")
    assert a.initial_seed() == b.initial_seed() != fork(three, "noise").initial_seed()
    assert not torch.equal(one.get_state(), random.derive(5, "parent").get_state())
    assert fork(one, "prior").initial_seed() != a.initial_seed()
    streams = fork(Streams.derive(5, "s", range(3)), "prior")
    assert isinstance(streams, Streams) and len({g.initial_seed() for g in streams}) == 3


def test_the_small_draws_stay_in_range():
    g = random.derive(0, "small")
    assert random.permutation(50, g).sort().values.tolist() == list(range(50))
    u = random.uniform((2000,), g)
    assert u.dtype == torch.float64 and 0 <= float(u.min()) and float(u.max()) < 1
    assert abs(float(u.mean()) - 0.5) < 5 * (1 / 12 / 2000) ** 0.5
