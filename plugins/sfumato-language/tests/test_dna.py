"""Sequences from FASTA, by diffusion on the simplex, and back to FASTA."""

from __future__ import annotations

import pytest
import torch

from sfumato import InputError, Model, Padded, Streams, sample
from sfumato_language.canvas import Clamped, conditions
from sfumato_language.denoiser import StrandDenoiser
from sfumato_language.reading import Reading, documents
from sfumato_language.samples import texts_of
from sfumato_language.stream import stream
from sfumato_language.tokens import Char
from sfumato_methods.grids import uniform
from sfumato_methods.simplex import Dilated, Simplex, SimplexDenoiser
from sfumato_nn.tokens import TokenTransformer
from sfumato_train import draw, open_run, start
from sfumato_train.runs import fresh

STRANDS = ("ACGTTGCA" * 2, "TTAACCGG" * 2)


def test_a_run_learns_strands_and_writes_them(tmp_path):
    data = tmp_path / "my.fa"
    data.write_text("".join(f">s{i}\n{STRANDS[i % 2]}\n" for i in range(80)))
    words = ["steps=150", "batch=16", "length=17", "network_size=nano", "lr=4e-3", "ema=0",
             "warmup=5", "sampling_steps=60", "held=0.1"]  # fmt: skip
    out = start("language/dna", words, data, tmp_path / "run", device="cpu")
    run = open_run(out)
    made = draw(run.model(), 16, seed=3)
    texts = texts_of(made, run.about)
    known = {s[i : i + 4] for s in STRANDS for i in range(13)}
    seen = [text[i : i + 4] for text in texts for i in range(len(text) - 3)]
    assert sum(part in known for part in seen) / len(seen) > 0.35  # of 256 there are 16
    (file,) = run.domain.write(made, tmp_path / "out.fasta", run.about)
    rows = file.read_text().splitlines()
    assert rows[0] == ">sample-1" and rows[1] == texts[0] and len(rows) == 32
    assert [text for _, text in documents(file, Reading())] == texts


class Copied(torch.nn.Module):
    """What is known of a strand whose second half repeats the first: the other half's letters."""

    def forward(self, x, clock):
        return Padded(x.data.roll(x.data.shape[1] // 2, 1).log().clamp_min(-60), x.mask)


@pytest.mark.parametrize("sampler", ["dilated", "euler"])
def test_a_known_part_of_a_strand_is_kept_and_is_heeded(sampler):
    """Kept to the letter; the other half, which must repeat it, does in 95 % of letters or more.

    The clamp noises what is known like the rest, so that it is seen in full at the end alone.
    """
    process = Simplex(5)
    model = Model(
        process=process, denoiser=StrandDenoiser(Copied(), process), sampler=Dilated(),
        grid=uniform, steps=100, blank=Clamped(8, 5, axes=1), sizing=("canvas",),
    )  # fmt: skip
    about = {"tokenizer": Char("ACGT").facts(), "length": 8, "vocabulary": 5}
    asked = conditions({"text": "GATT[MASK*4]"}, 100, about)
    made = draw(model, 100, condition=asked, seed=1, sampler=sampler)
    texts = texts_of(made, about, whole=True)
    assert all(text.startswith("GATT") for text in texts)
    assert sum(a == b for text in texts for a, b in zip("GATT", text[4:], strict=True)) >= 380
    free = texts_of(draw(model, 100, seed=1, sampler=sampler), about, whole=True)
    assert sum(text.startswith("GATT") for text in free) < 5
    asked = conditions({"prompt": "GA", "suffix": "T"}, 50, about)
    ends = draw(model, 50, condition=asked, seed=1, sampler=sampler).x.data
    assert bool((ends[:, [0, 1, 7]] == torch.tensor([2, 0, 3])).all())
    assert not bool((ends == 4).any()), "no strand ends before what is known"
    steps = list(stream(model, 3, condition=conditions({"prompt": "GA"}, 3, about), seed=4))
    assert bool((steps[-1].x.data[:, :2] == torch.tensor([2, 0])).all())
    with pytest.raises(InputError, match="a pattern is for models that mask"):
        model.denoiser.given(pattern=torch.zeros(1))


def test_padding_changes_nothing():
    process = Simplex(4)
    net = fresh(0, lambda: TokenTransformer(4, width=16, depth=1, heads=2, time=True))
    denoiser = SimplexDenoiser(net, process)
    mask = torch.tensor([[True, True, True, False], [True] * 4])
    like = Padded(torch.zeros(2, 4, dtype=torch.long), mask)
    grid = torch.linspace(1, 0, 6, dtype=torch.float64)

    def drawn(like, numbers):
        return sample(
            process, denoiser, like,
            sampler=Dilated(), grid=grid, generator=Streams.derive(0, "dna", numbers),
        )  # fmt: skip

    both = drawn(like, [0, 1])
    assert torch.equal(both.data[:1, :3], drawn(like.data[:1, :3], [0]))
    assert torch.equal(both.data[1:], drawn(like.data[1:], [1]))


def test_a_network_over_ids_takes_their_probabilities():
    """Sure ones are ids; another number of classes is refused."""
    net = fresh(1, lambda: TokenTransformer(4, width=16, depth=1, heads=2, time=True))
    ids, clock = torch.tensor([[0, 3, 1]]), torch.zeros(1)
    once = torch.nn.functional.one_hot(ids, 4).float()
    assert torch.allclose(net(once, clock), net(ids, clock), atol=1e-6)
    with pytest.raises(InputError, match="token ids are long"):
        net(once[..., :3], clock)
