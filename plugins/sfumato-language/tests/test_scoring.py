"""Bounds of models that say ratios or replace tokens, against sums over all states."""

from __future__ import annotations

import itertools
import json
import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from sfumato import Ancestral, InputError, Model, Padded, random
from sfumato_language import scoring
from sfumato_language.canvas import Blank, Clamped
from sfumato_language.ddit import BlockwiseTransformer, NoiseTransformer, ScoreTransformer, Shape
from sfumato_language.denoiser import ScoreTextDenoiser, TextDenoiser
from sfumato_language.tokens import Char
from sfumato_language.windows import read
from sfumato_methods.discrete import Discrete, JointDiscrete
from sfumato_methods.discrete.kernels import absorbing, uniform
from sfumato_methods.grids import uniform as even

LETTERS, LENGTH = 3, 3  # a, b and the end


def states(classes, length):
    grid = torch.meshgrid(*[torch.arange(classes)] * length, indexing="ij")
    return torch.stack([axis.flatten() for axis in grid], 1)


def expected(model, x0, last):
    """The bound of x0 by its definition, over all states, by Gauss-Legendre in sigma.

    KL(q(x_T | x_0) || prior) + integral of E sum over i and y != x_i of R(y -> x_i) (r - c +
    c log(c/r)), with keep = exp(-sigma), R dt = (law of the limit at x_i) d sigma.
    """
    process, law = model.process, model.process.kernel.limit()
    masks = process.kernel.absorbs is not None
    x = states(len(law), len(x0))
    nodes, weights = np.polynomial.legendre.leggauss(48)
    total = 0.0
    for node, weight in zip(nodes, weights, strict=True):
        u = (node + 1) / 2
        sigma, width = last * u**2, weight * last * u  # d sigma = 2 last u du, du = dnode / 2
        keep = math.exp(-sigma)
        at = (1 - keep) * torch.ones(len(x), dtype=torch.float64)
        q = keep * torch.eye(len(law), dtype=torch.float64)[x0] + (1 - keep) * law  # (L, K)
        chance = q.expand(len(x), -1, -1).gather(2, x[..., None])[..., 0]
        some = chance.prod(1) > 0
        noisy = Padded(x[some], torch.ones_like(x[some]).bool())
        with torch.no_grad():
            r = process.ratios(model.denoiser(noisy, at[some]), noisy, at[some]).data
        c = q[None] / chance[some][..., None]
        rate = law[x[some]][..., None]
        each = rate * (r - c + torch.xlogy(c, c) - torch.xlogy(c, r))
        each = torch.where(rate > 0, each, 0.0)
        each = each.scatter(2, x[some][..., None], 0.0).sum((1, 2))
        total += width * float((chance[some].prod(1) * each).sum())
    left = math.exp(-last)
    if not masks:
        q = left * torch.eye(len(law), dtype=torch.float64)[x0] + (1 - left) * law
        total += float((q * (q / law).log()).sum())
    return total


def corpus(tmp_path, texts, **options):
    file = tmp_path / "texts.jsonl"
    file.write_text("".join(json.dumps({"text": text}) + "\n" for text in texts))
    return read(file, pack=False, **options)


def made(kind):
    """A model with a network as SEDD and Duo have it, of random weights."""
    masks = kind in ("sedd", "sedd-whole")
    shape = Shape(LETTERS + masks, 16, 1, 2, 8, (1e-3, 6.9))
    net = (
        ScoreTransformer(shape, LETTERS, kind == "sedd")
        if masks
        else NoiseTransformer(shape, LETTERS)
    )
    generator = random.derive(0, "net", kind)
    for value in net.parameters():
        value.data = random.normal(value, generator) * 0.4
    process = absorbed() if masks else (JointDiscrete if kind == "duo" else Discrete)(uniform(3))
    joint = kind == "duo"
    denoiser = (TextDenoiser if joint else ScoreTextDenoiser)(net, process, eos=2)
    return model_of(process, denoiser)


def absorbed():
    return Discrete(absorbing(LETTERS))


def model_of(process, denoiser):
    return Model(
        process=process, denoiser=denoiser, sampler=Ancestral(), grid=even, steps=8,
        blank=Clamped(LENGTH, LETTERS),
    )  # fmt: skip


def estimates(tmp_path, model, texts, copies=256):
    """The mean score of copies of each text, and its standard error."""
    data = corpus(tmp_path, texts * copies, length=LENGTH, tokenizer=Char("ab"))
    found = scoring.score(model, data, draws=64, batch=1024).nats.reshape(copies, len(texts))
    return zip(found.mean(0), found.std(0, ddof=1) / math.sqrt(copies), strict=True)


@pytest.mark.parametrize("kind", ["sedd", "sedd-whole", "sedd-uniform", "duo"])
def test_the_bound_is_its_expectation_over_all_states(tmp_path, kind):
    """256 estimates of 64 times each; a mean that is off by 4.5 standard errors has p < 1e-4."""
    model, texts = made(kind), ["a", "ba"]
    last = 14.0 if model.process.kernel.absorbs is not None else math.log(1000)
    for text, (mean, error) in zip(texts, estimates(tmp_path, model, texts), strict=True):
        ids = torch.tensor(["ab".index(letter) for letter in text] + [2])
        value = expected(model, ids, last)
        print(kind, text, value, mean, error)
        assert abs(mean - value) < 4.5 * error and error < 0.04 * value


class Exact(nn.Module):
    """What a network of a law over all texts has to say, for ratios or in the joint form."""

    def __init__(self, law, process, ratios):
        super().__init__()
        self.law, self.process, self.ratios = law, process, ratios

    def forward(self, x, clock, at=None):
        ids, limit = x.data, self.process.kernel.limit()
        keep = torch.sigmoid(-clock.double())[:, None, None]
        seen = (
            keep * torch.eye(len(limit), dtype=torch.float64)[ids]
            + (1 - keep) * limit[ids][..., None]
        )  # (B, L, K): q(x_i | x_0i = k)
        out = []
        for place in range(ids.shape[1]):
            w = self.law.expand(len(ids), *self.law.shape)
            for other in range(ids.shape[1]):
                if other != place:
                    shape = [len(ids), *[1] * ids.shape[1]]
                    shape[1 + other] = len(limit)
                    w = w * seen[:, other].reshape(shape)
            axes = [1 + other for other in range(ids.shape[1]) if other != place]
            out.append(w.sum(axes))
        w = torch.stack(out, 1)
        w = w / w.sum(-1, keepdim=True)
        if self.ratios:
            p = keep * w + (1 - keep) * limit
            return Padded((p / p.gather(-1, ids[..., None])).log(), x.mask)
        return Padded(w.log(), x.mask)


@pytest.mark.parametrize("ratios", [True, False], ids=["ratios", "joint"])
def test_of_an_exact_model_the_bound_is_the_likelihood(tmp_path, ratios):
    """256 estimates of 64 times each; a mean that is off by 4.5 standard errors has p < 1e-4."""
    law = random.uniform((LETTERS,) * LENGTH, random.derive(3, "law")).double() + 0.05
    law = law / law.sum()
    process = (Discrete if ratios else JointDiscrete)(uniform(LETTERS))
    net = Exact(law, process, ratios)
    model = model_of(process, (ScoreTextDenoiser if ratios else TextDenoiser)(net, process, eos=2))
    texts = ["aa", "ab", "ba", "bb"]
    for text, (mean, error) in zip(texts, estimates(tmp_path, model, texts), strict=True):
        exact = -math.log(law["ab".index(text[0]), "ab".index(text[1]), 2])
        print(text, exact, mean, error)
        assert abs(mean - exact) < 4.5 * error and error < 0.04 * exact


def test_scores_do_not_depend_on_the_batch_and_packs_are_refused(tmp_path):
    model, texts = made("duo"), ["abba", "a", "bbabab"] * 3
    data = corpus(tmp_path, texts, length=4, tokenizer=Char("ab"))
    one, many = (scoring.score(model, data, draws=2, batch=size) for size in (1, 64))
    assert one.nats == pytest.approx(many.nats, rel=1e-5)
    packed = read(tmp_path / "texts.jsonl", length=4, tokenizer=Char("ab"))
    with pytest.raises(InputError, match="pack=False"):
        scoring.score(model, packed)


@pytest.mark.parametrize("begin", [None, 1])
def test_of_a_model_of_blocks_each_is_bounded_given_those_before(tmp_path, begin):
    """64 estimates of 16 sets for each block; 4.5 standard errors have p < 1e-4."""
    net = BlockwiseTransformer(Shape(LETTERS + 1, 16, 1, 2, None, None, 2), LETTERS)
    generator = random.derive(0, "net", "blocks")
    for value in net.parameters():
        value.data = random.normal(value, generator) * 0.4
    denoiser = TextDenoiser(net, absorbed(), eos=2)
    model = replace(model_of(absorbed(), denoiser), blank=Blank(8, LETTERS, begin=begin))
    texts, found = ["abba", "b"], []
    data = corpus(tmp_path, texts * 64, length=7, tokenizer=Char("ab"))
    found = scoring.score(model, data, draws=16).nats.reshape(64, 2)
    for text, column in zip(texts, found.T, strict=True):
        ids = torch.tensor(([] if begin is None else [begin]) + ["ab".index(c) for c in text] + [2])
        value = 0.0
        for start in range(0, len(ids), 2):
            free = [i for i in range(start, min(start + 2, len(ids))) if i or begin is None]
            for n in range(1, len(free) + 1):
                sets = list(itertools.combinations(free, n))
                for hidden in map(list, sets):
                    x = ids.clone()
                    x[hidden] = LETTERS
                    with torch.no_grad():  # what stands behind the block is not read
                        logits = net(x[None, : start + 2], torch.zeros(1))[0, hidden].double()
                    logits[:, LETTERS] = -torch.inf
                    picked = logits.log_softmax(-1)[range(n), ids[hidden]]
                    value -= float(picked.sum()) / n / len(sets)
        error = column.std(ddof=1) / 8
        print(text, value, column.mean(), error)
        assert abs(column.mean() - value) < 4.5 * error + 1e-5 and error < 0.04 * value
