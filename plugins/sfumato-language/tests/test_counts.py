"""Counted contexts: their laws are those of counting by hand, and nothing hidden reaches them."""

from __future__ import annotations

from collections import Counter

import pytest
import torch

from sfumato import Batch, InputError, Padded, random
from sfumato_data import split
from sfumato_language import counts
from sfumato_language.counts import CHAINS, Counted, count
from sfumato_language.recipes import Text
from sfumato_language.topics import path
from sfumato_language.windows import DOCUMENT, read

K, CLOCK = 6, torch.zeros(1)  # five ids and the mask


class Silent(torch.nn.Module):
    """A network that says nothing."""

    def forward(self, x, clock, document=None, at=None):
        ids = x.data if isinstance(x, Padded) else x
        logits = torch.zeros(*ids.shape, K)
        if at is not None:
            return logits[at]
        return Padded(logits, x.mask) if isinstance(x, Padded) else logits


class Texts:
    """Windows of random ids, some padded, some of two documents."""

    def __init__(self, n, length=12):
        source = random.derive(0, "texts")
        self.ids = random.integers(0, K - 1, (n, length), source)
        self.ids[:, 1::2] = (self.ids[:, ::2] + 1) % (K - 1)  # neighbours tell of each other
        self.owner = (torch.arange(length) >= 7).long().expand(n, -1).clone()
        self.owner[::3, 9:] = -1

    def __len__(self):
        return len(self.ids)

    def batch(self, index):
        index = list(index)
        owner = self.owner[index]
        return Batch(Padded(self.ids[index], owner >= 0), {DOCUMENT: owner})


def by_hand(data, chain, size):
    """Counts of what stands where the first `size` neighbours of a chain are these."""
    found = {}
    for ids, owner in zip(data.ids.tolist(), data.owner.tolist(), strict=True):
        for place, number in enumerate(owner):
            near = [place + offset for offset in chain[:size]]
            inside = all(0 <= i < len(ids) and owner[i] == number for i in near)
            if number >= 0 and inside:
                context = tuple(ids[i] for i in near)
                found.setdefault(context, Counter())[ids[place]] += 1
    return found


def law(data, chain, context):
    """Witten-Bell, by the recursion."""
    table = by_hand(data, chain, len(context)).get(context, Counter())
    if not context:
        total = sum(table.values()) + K - 1
        return [(table[i] + 1) / total for i in range(K - 1)]
    below = law(data, chain, context[:-1])
    total, kinds = sum(table.values()), len(table)
    return [(table[i] + kinds * below[i]) / (total + kinds) for i in range(K - 1)]


@pytest.fixture(scope="module")
def texts():
    return Texts(60)


@pytest.fixture(scope="module")
def filled(texts):
    module = Counted(Silent(), K, 200)
    count(module, texts)
    return module


@pytest.mark.parametrize("number", range(len(CHAINS)), ids=str)
def test_the_laws_are_those_of_counting_by_hand(texts, filled, number):
    chain = CHAINS[number]
    with torch.no_grad():
        filled.weight.zero_()
        filled.weight[:, number] = 1.0  # this chain alone
    row = 1  # 12 real tokens, a document of 7 and one of 5
    batch = texts.batch([row])
    for place in range(12):
        at = torch.arange(12)[None] == place
        x = Padded(batch.x.data.masked_fill(at, K - 1), batch.x.mask)
        said = filled(x, CLOCK, document=batch.condition[DOCUMENT], at=at)[0, : K - 1].exp()
        context = ()
        for size in range(1, len(chain) + 1):
            near = [place + offset for offset in chain[:size]]
            if not all(0 <= i < 12 and (i >= 7) == (place >= 7) for i in near):
                break
            longer = tuple(int(texts.ids[row, i]) for i in near)
            often = sum(by_hand(texts, chain, size).get(longer, Counter()).values())
            context = longer if often >= counts._RARE else context
        expected = torch.tensor(law(texts, chain, context))
        torch.testing.assert_close(said, expected, rtol=6e-3, atol=0)  # log p is kept in float16


def test_only_the_most_frequent_contexts_are_kept_and_shorter_ones_with_them(texts):
    module = Counted(Silent(), K, 20)
    count(module, texts)
    for chain, keys in zip(CHAINS, module.keys, strict=True):
        kept = {int(key) for key in keys if key < counts._NONE}
        assert len(kept) == 20 and bool((keys.diff() > 0).all())
        for key in (key for key in kept if key > K):
            longest = max(k for k in range(len(chain)) if key >= (K + 1) ** k)
            assert key % (K + 1) ** longest in kept


def test_what_is_hidden_does_not_reach_them_and_places_agree(texts, filled):
    with torch.no_grad():
        filled.weight.copy_(random.uniform(filled.weight.shape, random.derive(1, "weight")))
    batch = texts.batch(range(8))
    hidden = batch.x.mask & (random.uniform((8, 12), random.derive(0, "hide")) < 0.5)
    other = torch.where(hidden, (batch.x.data + 1) % (K - 1), batch.x.data)
    told = {"document": batch.condition[DOCUMENT]}
    a, b = (
        filled(Padded(ids.masked_fill(hidden, K - 1), batch.x.mask), CLOCK, **told, at=hidden)
        for ids in (batch.x.data, other)
    )
    assert torch.equal(a, b)
    whole = filled(Padded(batch.x.data.masked_fill(hidden, K - 1), batch.x.mask), CLOCK, **told)
    assert torch.equal(whole.data[hidden], a)
    assert bool((whole.data[~hidden] == 0).all()), "what is seen is carried over"
    alone = filled(
        Padded(batch.x.data[:1].masked_fill(hidden[:1], K - 1), batch.x.mask[:1]),
        CLOCK, document=batch.condition[DOCUMENT][:1], at=hidden[:1],
    )  # fmt: skip
    torch.testing.assert_close(alone, a[: len(alone)])


def test_a_run_has_them_from_other_documents_than_its_weights(tmp_path):
    """The recipe counts in four fifths of the text and trains on the rest; a run keeps both."""
    text = tmp_path / "lines.txt"
    text.write_text("\n".join(path().read_text()[:6000].split(".")))
    data = read(text, length=16, documents="line", empty="skip")
    recipe = Text(contexts=300, network_size="pico", length=16, seed=3)
    training = recipe.build(data)
    net = training.model.denoiser.net
    assert isinstance(net, Counted) and int((net.keys < counts._NONE).sum()) > 300
    counted, learned = split(data, 0.2, 3)
    assert list(training.data.index) == list(learned.index)
    assert not set(counted.index) & set(learned.index)
    again = recipe.model(data.about)
    again.denoiser.load_state_dict(training.model.denoiser.state_dict())
    assert torch.equal(again.denoiser.net.laws, net.laws)
    loss = training.objective.loss(
        "denoiser", training.data.batch(range(20)), random.derive(0, "loss")
    )
    loss.each.mean().backward()
    assert bool((net.weight.grad != 0).any()) and bool(loss.each.isfinite().all())


def test_large_vocabularies_and_no_text_are_refused():
    with pytest.raises(InputError, match="at most 6207 ids, not 32001"):
        Counted(Silent(), 32_001, 10)
    with pytest.raises(InputError, match="no text to count"):
        count(Counted(Silent(), K, 10), Texts(0))
