"""The n-gram judge against its formula, and the metrics of text."""

from __future__ import annotations

import math
from collections import Counter

import numpy as np
import pytest
import torch

from sfumato import Batch, InputError, Padded, random
from sfumato_eval import measure
from sfumato_language.metrics import Distinct, Entropy, Perplexity
from sfumato_language.ngram import NGram

K, ORDER = 4, 3


def rows(seed, n=6, length=30):
    ids = random.integers(0, K, (n, length), random.derive(seed, "ids")).numpy()
    return ids, np.arange(length) < random.integers(
        3, length, (n, 1), random.derive(seed, "n")
    ).numpy()


def plain(train, order):
    """Witten-Bell by dictionaries, one token at a time."""
    grams: Counter = Counter()
    for sequence in train:
        for k in range(1, order + 1):
            for i in range(len(sequence) - k + 1):
                grams[tuple(sequence[i : i + k])] += 1

    def p(history, token):
        total = sum(c for g, c in grams.items() if len(g) == 1)
        value = (grams[token,] + 1) / (total + K)
        for k in range(1, min(order - 1, len(history)) + 1):
            context = tuple(history[-k:])
            after = {g: c for g, c in grams.items() if g[:-1] == context}
            if after:
                c, t = sum(after.values()), len(after)
                value = (grams[*context, token] + t * value) / (c + t)
        return value

    return p


def test_it_is_witten_bell_token_by_token_and_sums_to_one():
    ids, real = rows(0)
    model = NGram.fit([(ids[:3], real[:3]), (ids[3:], real[3:])], K, ORDER)
    p = plain([row[mask].tolist() for row, mask in zip(ids, real, strict=True)], ORDER)
    new, there = rows(1)
    nats = model.nats(new, there)
    for row, mask, found in zip(new, there, nats, strict=True):
        sequence = row[mask].tolist()
        expected = [-math.log(p(sequence[:i], token)) for i, token in enumerate(sequence)]
        np.testing.assert_allclose(found[: len(sequence)], expected, rtol=1e-12)
        assert (found[len(sequence) :] == 0).all()
    every = np.repeat(new[:1, :6], K, 0)
    every[:, 5] = range(K)
    total = np.exp(-model.nats(every, np.ones_like(every, dtype=bool))[:, 5]).sum()
    assert total == pytest.approx(1, abs=1e-12)


def test_a_context_that_never_came_falls_back_and_nothing_is_refused():
    ids = np.array([[0, 1, 0, 1]])
    model = NGram.fit([(ids, np.ones_like(ids, dtype=bool))], K, ORDER)
    nats = model.nats(np.array([[3, 3, 3]]), np.ones((1, 3), dtype=bool))
    np.testing.assert_allclose(nats, math.log(8), rtol=1e-12)  # (0 + 1) / (4 + 4)
    with pytest.raises(InputError, match="no text to fit"):
        NGram.fit([], K, ORDER)


def batch(ids, real=None, document=None):
    ids = torch.as_tensor(ids)
    mask = torch.ones_like(ids, dtype=torch.bool) if real is None else torch.as_tensor(real)
    return Batch(Padded(ids, mask), {} if document is None else {"document": document})


def test_metrics_add_and_are_their_formulas():
    ids, real = rows(2, n=8)
    judge = NGram.fit([rows(3)], K, ORDER)
    whole = batch(ids, real)
    parts = batch(ids[:3], real[:3]), batch(ids[3:], real[3:])
    for metric in (Perplexity(judge.nats, "j"), Entropy(), Distinct(2)):
        one, two = (metric.summary(part) for part in parts)
        assert metric.between(one + two, one).value == pytest.approx(
            metric.between(metric.summary(whole), one).value, rel=1e-12
        )
    value = Perplexity(judge.nats, "j").between(
        Perplexity(judge.nats, "j").summary(whole),
        two0 := Perplexity(judge.nats, "j").summary(whole),
    )
    assert value.value == pytest.approx(math.exp(judge.nats(ids, real).sum() / real.sum()))
    assert value.parts["unigram entropy a text"] == pytest.approx(two0.entropy / 8)
    even = batch([[0, 1, 2, 3], [0, 0, 0, 0]])
    score = Entropy().between(Entropy().summary(even), Entropy().summary(even))
    assert score.value == pytest.approx(math.log(4) / 2)
    assert score.parts["standard error"] == pytest.approx(math.log(4) / 2 / math.sqrt(2))
    pairs = Distinct(2).summary(batch([[0, 1, 0, 1, 0]]))
    assert Distinct(2).between(pairs, pairs).value == 0.5


def test_documents_of_a_packed_window_are_judged_apart():
    judge = NGram.fit([(np.array([[0, 1] * 8]), np.ones((1, 16), dtype=bool))], K, 2)
    metric = Perplexity(judge.nats, "j")
    packed = metric.summary(batch([[0, 1, 0, 1]], document=torch.tensor([[0, 0, 0, 1]])))
    apart = metric.summary(
        batch([[0, 1, 0, 0], [1, 0, 0, 0]], [[True] * 3 + [False]] + [[True] + [False] * 3])
    )
    assert packed.nats == pytest.approx(apart.nats, rel=1e-12) and packed.tokens == 4


def test_a_model_that_repeats_itself_is_told_by_its_entropy():
    """The perplexity of "aaaa..." beats real text; entropy and distinct n-grams say why."""
    real = (random.uniform((200, 40), random.derive(0, "real")) < 0.8).long() * 0 + (
        random.uniform((200, 40), random.derive(1, "real")) < 0.25
    ).long()
    train, held, other = (batch(real[i : i + 60]) for i in (0, 60, 120))
    judge = NGram.fit([(train.x.data.numpy(), train.x.mask.numpy())], K, 2)
    same = batch(torch.zeros(60, 40, dtype=torch.long))
    ppl = measure(Perplexity(judge.nats, "j"), same, held, other, n=60)
    entropy = measure(Entropy(), same, held, other, n=60)
    assert ppl.value < ppl.floor and entropy.value == 0 and entropy.floor > 0.4
