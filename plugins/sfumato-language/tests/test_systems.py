"""The systems of text at a small scale: exact pieces are exact, and trials measure their claims."""

from __future__ import annotations

import gzip
import itertools
import math

import pytest
import torch
from fixtures import font

from sfumato import Trial, random, registry
from sfumato_language.systems import (
    ardm,
    captioners,
    d3pm,
    ddsm,
    dllm,
    flexmdm,
    lavida,
    mdmfhs,
    mdmorder,
    sddlm,
    vmd,
)
from sfumato_language.systems.chain import Chain, Counted, Others, unigram_entropy
from sfumato_language.systems.fitting import PerItem, trained
from sfumato_language.systems.promoters import BASES, activity, strands
from sfumato_language.systems.simplices import BoardNet, Informed
from sfumato_language.systems.sudoku import (
    CELLS,
    FOUR,
    GROUPS,
    NINE,
    SudokuNet,
    boards,
    small_boards,
    solved,
)
from sfumato_methods.discrete import Discrete, TokenDenoiser, absorbing, uniform
from sfumato_methods.discrete.anyorder import any_order

MODULES = (ardm, d3pm, ddsm, dllm, flexmdm, lavida, mdmfhs, mdmorder, sddlm, vmd)
KINDS = ("process", "network", "sampler", "grid", "recipe", "command", "metric")


@pytest.fixture
def brown(monkeypatch, tmp_path):
    """Forty short documents like the Brown corpus, forty short promoters, a font of 24 emoji."""
    import sfumato_data

    folder = tmp_path / "brown"
    folder.mkdir()
    (folder / "cats.txt").write_text("")
    for i in range(40):
        words = f"The/at committee/nn met/vbd on/in day/nn {i}/cd and/cc closed/vbd it/pps ./."
        (folder / f"ca{i + 1:02d}").write_text(" ".join([words] * 6))
    bases = random.integers(0, 4, (40, 30), random.derive(0, "bases")).tolist()
    with gzip.open(folder / "dm3_upstream2000.fa.gz", "wt") as file:
        for i, row in enumerate(bases):
            file.write(f">s{i}\n" + "".join("acgt"[base] for base in row) + "\n")
    emoji = tmp_path / "emoji"
    emoji.mkdir()
    font(emoji / "small.ttf")
    found = {"brown": folder, "promoters": folder, "emoji": emoji}
    monkeypatch.setattr(sfumato_data, "fetch", found.__getitem__)


def small(monkeypatch):
    """Trials of a second or two."""
    for module, name, value in (
        (mdmfhs, "N", 20), (mdmfhs, "ALONE", 1), (mdmfhs, "STEPS", 64), (mdmfhs, "LENGTH", 16),
        (mdmfhs, "ZIPF", 500), (mdmfhs, "RACES", 32), (mdmfhs, "LOSSES", 2),
        (ardm, "N", 50), (ardm, "LENGTH", 16), (ardm, "STEPS", 2), (ardm, "CALLS", 2),
        (ardm, "TEXTS", 2), (ardm, "CONTEXTS", 50), (ardm, "WINDOW", 32),
        (d3pm, "STEPS", 2), (d3pm, "HELD", 100), (d3pm, "TRAIN", 100),
        (d3pm, "CHAIN", 10), (mdmorder, "STEPS", 2), (mdmorder, "TRAIN", 60),
        (mdmorder, "BOARDS", 20), (mdmorder, "CLUES", 34), (mdmorder, "NINE_CLUES", 78),
        (mdmorder, "NINE_STEPS", 2), (flexmdm, "STEPS", 2), (flexmdm, "TRAIN", 100),
        (flexmdm, "N", 20), (flexmdm, "SIDE", 4), (flexmdm, "SHORTEST", 5), (flexmdm, "PAIRS", 5),
        (ddsm, "STEPS", 2), (ddsm, "BOARDS", 20), (ddsm, "CALLS", 3), (ddsm, "STRANDS", 20),
        (ddsm, "STRAND_STEPS", 2), (ddsm, "STRAND_CALLS", 3), (ddsm, "LENGTH", 24),
        (ddsm, "_CLASSES", (4,)), (ddsm, "ACTIVE", 0.0),
        (lavida, "STEPS", 2), (lavida, "EMOJI_STEPS", 2), (lavida, "SCENES", 60),
        (lavida, "HELD", 10), (lavida, "ALONE", 2), (lavida, "REPEATS", 1), (lavida, "DRAWS", 1),
        (captioners, "SIGHT", 2),
        (dllm, "STEPS", 2), (dllm, "LENGTH", 24), (dllm, "BLOCK", 8), (dllm, "N", 2),
        (sddlm, "STEPS", 2), (sddlm, "N", 100), (sddlm, "EXACT", 100), (sddlm, "TRAIN", 100),
        (sddlm, "SAMPLING", 4), (sddlm, "TIMED", 2), (vmd, "STEPS", 2), (vmd, "N", 100),
    ):  # fmt: skip
        monkeypatch.setattr(module, name, value)


@pytest.mark.parametrize("module", MODULES, ids=lambda module: module.system.id)
def test_a_trial_measures_all_that_is_claimed(module, tmp_path, monkeypatch, brown):
    small(monkeypatch)
    found = module.system.trial(Trial(100, 1.0, "cpu", tmp_path, 1.0))
    assert {claim.key for claim in module.system.claims} <= set(found)
    assert all(math.isfinite(each.method) and each.n > 0 for each in found.values())
    if module is ardm:
        assert found["exact"].ratio == 1 and found["exact"].n > 2
    if module is mdmfhs:
        assert found["calls"].method == 16 and found["calls"].baseline == 64


@pytest.mark.parametrize("module", MODULES, ids=lambda module: module.system.id)
def test_a_system_is_found_by_name_and_made_of_what_there_is(module):
    system = module.system
    assert registry().load("system", f"language/{system.id}") is system
    known = {one.name for kind in KINDS for one in registry().list(kind)}
    assert set(system.components) <= known


@pytest.mark.parametrize(("stay", "kin"), [(0.0, 1), (0.6, 1), (0.6, 3)])
def test_the_posterior_of_a_chain_is_that_of_bayes(stay, kin):
    """All 256 states of 3 tokens and a mask at 4 places, against sums over all 81 sequences."""
    chain = Chain(3, 4, random.derive(0, "chain"), stay, kin)
    every = torch.tensor(list(itertools.product(range(3), repeat=4)))
    law = (-chain.nll(every)).exp()
    assert float(law.sum()) == pytest.approx(1, abs=1e-12)
    states = torch.tensor(list(itertools.product(range(4), repeat=4)))
    fits = ((states[:, None] == 3) | (states[:, None] == every)).all(-1)  # (256, 81)
    weight = fits * law
    once = torch.nn.functional.one_hot(every, 3).double()
    expected = torch.einsum("sn,nlk->slk", weight, once) / weight.sum(1)[:, None, None]
    found = chain(states, None).probs[..., :3]
    assert torch.allclose(found, expected, rtol=0, atol=1e-12)


def test_the_law_given_the_others_is_that_of_bayes():
    """3 tokens at 3 places, one state and place at a time, by the definition."""
    chain, kernel = Chain(3, 3, random.derive(0, "chain")), uniform(3)
    t = torch.tensor(0.4, dtype=torch.float64)
    turn = kernel.rows(torch.arange(3), torch.zeros_like(t), t)  # (from, to)
    every = torch.tensor(list(itertools.product(range(3), repeat=3)))
    law = (-chain.nll(every)).exp()
    found = Others(chain, kernel)(every, t).probs
    differs = Others(chain, kernel, differs=True)(every, t).probs
    for x, p, q in zip(every, found, differs, strict=True):
        for place in range(3):
            rest = [i for i in range(3) if i != place]
            weight = law * turn[every[:, rest], x[rest]].prod(1)
            want = torch.stack([weight[every[:, place] == k].sum() for k in range(3)])
            assert torch.allclose(p[place], want / want.sum(), rtol=0, atol=1e-12)
            want[x[place]] = 0
            assert torch.allclose(q[place], want / want.sum(), rtol=0, atol=1e-12)


def test_the_minimiser_of_the_published_loss_throws_good_tokens_away(monkeypatch):
    """Its samples are far from the chain, those of the law given the others are not."""
    monkeypatch.setattr(sddlm, "TOKENS", 5)
    found = sddlm._minimisers(Trial(100, 1.0, "cpu", None, 1.0))
    assert found.method > 1.5 * found.floor and found.baseline < 1.1 * found.floor


def test_a_chain_stays_among_its_kin():
    chain = Chain(6, 4, random.derive(0, "chain"), 1.0, 2)
    pair = torch.full((2, 2), 0.5, dtype=torch.float64)
    assert torch.equal(chain.matrix, torch.block_diag(pair, pair, pair))


def test_sequences_of_a_chain_have_its_law():
    """Chi-square over the 27 sequences of 3 tokens at 3 places; false alarm in one of 1,000."""
    from scipy.stats import chi2

    chain, n = Chain(3, 3, random.derive(1, "chain")), 20000
    every = torch.tensor(list(itertools.product(range(3), repeat=3)))
    expected = n * (-chain.nll(every)).exp()
    x = chain.sample(n, random.derive(1, "x"))
    counts = torch.bincount(x @ torch.tensor([9, 3, 1]), minlength=27).double()
    statistic = float(((counts - expected) ** 2 / expected).sum())
    assert statistic < chi2.ppf(0.999, 26)


def test_entropy_within_a_sequence_and_calls():
    x = torch.tensor([[0, 0, 0, 0], [0, 1, 2, 3], [0, 0, 1, 1]])
    expected = torch.tensor([0.0, math.log(4), math.log(2)], dtype=torch.float64)
    assert torch.allclose(unigram_entropy(x, 4), expected)
    counted = Counted(lambda x, t: x)
    assert [counted(i, 0) for i in range(3)] == [0, 1, 2] and counted.calls == 3


def test_boards_are_solved_differ_and_come_again():
    x = boards(50, random.derive(0, "boards"))
    assert solved(x).all() and len(x.unique(dim=0)) == 50
    assert torch.equal(x, boards(50, random.derive(0, "boards")))
    counts = torch.bincount(x[:, 0], minlength=6)
    assert len(counts) == 6 and int(counts.min()) > 0


def test_boards_of_nine():
    x = boards(20, random.derive(0, "nine"), NINE)
    assert x.shape == (20, 81) and solved(x, NINE).all() and len(x.unique(dim=0)) == 20
    wrong = x.clone()
    wrong[:, [0, 1]] = x[:, [1, 0]]  # of one row and one box: the columns tell
    assert not solved(wrong, NINE).any()
    latin = (torch.arange(81) // 9 + torch.arange(81)) % 9  # rows and columns alone
    assert not solved(latin[None], NINE).any()
    logits = SudokuNet(8, 1, 1, rules=NINE)(x, torch.zeros(20))
    assert logits.shape == (20, 81, 10)


@pytest.mark.parametrize("group", [0, 1, 2], ids=["row", "column", "box"])
def test_a_board_needs_rows_columns_and_boxes(group):
    """Two different digits exchanged, in cells that share one kind of group alone, are seen."""
    x = boards(1, random.derive(0, "one"))
    for i, j in itertools.combinations(range(CELLS), 2):
        shared = GROUPS[:, i] == GROUPS[:, j]
        if shared.sum() == 1 and bool(shared[group]):
            wrong = x.clone()
            wrong[0, [i, j]] = x[0, [j, i]]
            assert not solved(wrong).any()
            break
    else:
        pytest.fail("no such cells")
    latin = torch.arange(36).view(6, 6) // 6 + torch.arange(6)
    assert not solved((latin % 6).view(1, 36)).any(), "rows and columns alone are not enough"


def test_all_small_boards_are_there():
    """There are 288, all different; a Latin square alone is not one."""
    x = small_boards()
    assert x.shape == (288, 16) and len(x.unique(dim=0)) == 288
    assert solved(x, FOUR).all()
    latin = (torch.arange(4)[:, None] + torch.arange(4)) % 4
    assert not solved(latin.view(1, 16), FOUR).any()


def test_the_denoiser_of_a_chain_knows_what_a_place_says_of_itself():
    """A network with nothing to say leaves Bayes' rule with an even prior."""
    net = BoardNet(16, 1, 4)  # its head begins at zero
    process = Discrete(uniform(4))
    x, t = small_boards()[:3], torch.tensor([0.1, 0.5, 0.9], dtype=torch.float64)
    q = Informed(net, process)(x, t)
    kept = torch.nn.functional.one_hot(x, 4) * (1 - t)[:, None, None] + t[:, None, None] / 4
    assert torch.allclose(q.probs, kept, atol=1e-12)


def test_tracks_show_motifs_where_they_begin(brown):
    import sfumato_data

    plain = "CCCCCCCCCTATAAAAGCCCCCCCC"
    x = torch.tensor([[BASES.index(base) for base in text] for text in (plain, "C" * 25)])
    track = activity(x)
    assert int(track[0].argmax()) == 9 and float(track[0, 9]) > 0.8
    assert float(track[1].max()) < 0.05 and float(track[0, -3:].max()) == 0
    found = strands(sfumato_data.fetch("promoters"), 24)
    assert found.shape == (40, 24) and len(found.unique(dim=0)) == 40


def test_cells_that_share_nothing_are_told_apart_from_those_that_do():
    """The network is equivariant under what leaves rows, columns and boxes as they are."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        net = SudokuNet(16, 2, 2)
    with torch.no_grad():
        for block in net.blocks:
            block.bias.add_(random.normal(block.bias, random.derive(0, "bias")))
    x = boards(3, random.derive(0, "x")).masked_fill(
        random.uniform((3, CELLS), random.derive(0, "hide")) < 0.5, 6
    )
    grid = torch.arange(CELLS).view(6, 6)
    rows = grid[[1, 0, 2, 3, 4, 5]].flatten()  # within a band of boxes
    bands = grid[[2, 3, 0, 1, 4, 5]].flatten()
    across = grid[[2, 1, 0, 3, 4, 5]].flatten()  # breaks boxes
    with torch.no_grad():
        out = net(x, torch.zeros(3))
        for order in (rows, bands):
            assert torch.allclose(net(x[:, order], torch.zeros(3)), out[:, order], atol=1e-5)
        assert not torch.allclose(net(x[:, across], torch.zeros(3)), out[:, across], atol=1e-3)


def test_training_lowers_the_loss(tmp_path):
    """Of sequences that are all one token: the bound falls well below that of even guesses."""
    from sfumato_nn.tokens import TokenTransformer
    from sfumato_train.runs import fresh

    net = fresh(0, lambda: TokenTransformer(4, width=16, depth=1, heads=1))
    denoiser = TokenDenoiser(net, Discrete(absorbing(3)))
    x = torch.ones(32, 5, dtype=torch.long)
    given = Trial(0, 1.0, "cpu", tmp_path, 1.0)
    objective = PerItem(denoiser, any_order)
    better = trained(objective, x, given, name="ones", steps=60, batch=16, lr=1e-2)
    assert not better.training
    t = (torch.arange(32).double() + 0.5) / 32
    with torch.no_grad():
        loss = PerItem(better, any_order).law(
            better.process, better, x, t, random.derive(0, "loss")
        )
    assert float(loss.mean()) < 0.5 * 5 * math.log(3)


@pytest.mark.parametrize("depth", [1, 3])
def test_a_memory_is_exact_for_one_block_of_the_network_and_not_for_three(depth, monkeypatch):
    """Keys and values of the first are of the tokens alone, of later ones of all that is read."""
    from sfumato import Model
    from sfumato_language.denoiser import TextDenoiser
    from sfumato_nn.tokens import TokenTransformer
    from sfumato_train.runs import fresh

    for name, value in (("LENGTH", 48), ("BLOCK", 16), ("N", 8)):
        monkeypatch.setattr(dllm, name, value)
    net = fresh(0, lambda: TokenTransformer(7, width=16, depth=depth, heads=1))
    source = random.derive(0, "loud")
    with torch.no_grad():
        for weight in net.parameters():
            weight.add_(0.4 * random.normal(weight, source))
    process = Discrete(absorbing(6))
    model = Model(process, TextDenoiser(net, process), None, None, 1, None)
    same, total, steps = dllm._agreement(model, 0)
    assert total > 20 and steps <= dllm.LENGTH
    assert same == total if depth == 1 else same < total


def test_the_weight_of_the_divergence_rises_to_one():
    from sfumato_language.systems.latents import LatentNet, _Encoder, _Variational

    with torch.random.fork_rng():
        denoiser = TokenDenoiser(LatentNet(3, 2), Discrete(absorbing(3)))
        objective = _Variational(denoiser, _Encoder(3, 2), 10)
    seen = []
    for step in range(5):
        seen.append(float(objective.beta))
        objective.after("denoiser", step)
    assert seen == pytest.approx([0, 1 / 3, 2 / 3, 1, 1])
    assert len(list(objective.players()["denoiser"].parameters())) == 12


def test_gradients_of_a_different_loss_are_told_apart(monkeypatch):
    """The cosine falls below what is claimed if one of the two loses its weight 1/t."""
    from sfumato_methods.discrete import losses

    small(monkeypatch)
    whole = losses.score_entropy

    def unweighted(process, denoiser, x0, t, generator):
        return whole(process, denoiser, x0, t, generator) * t.float() ** 3

    unweighted.__name__ = whole.__name__
    monkeypatch.setattr(mdmfhs, "LOSSES", 10)
    given = Trial(100, 1.0, "cpu", None, 1.0)
    right = mdmfhs._losses(given)["gradient"].ratio
    monkeypatch.setattr(losses, "score_entropy", unweighted)
    assert mdmfhs._losses(given)["gradient"].ratio < right
    assert right > 0.99
