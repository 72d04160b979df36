"""Compression: back to the byte, near the bits of the model, and bad files told apart."""

from __future__ import annotations

import zlib

import constriction
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from sfumato import InputError
from sfumato_cli.main import application
from sfumato_language import compression, topics
from sfumato_language.compression import Coder, header
from sfumato_language.counts import count
from sfumato_language.recipes import Text
from sfumato_language.tokens import Byte, Text8, rebuilt
from sfumato_language.windows import read

ABOUT = {"vocabulary": 257, "length": 32, "tokenizer": Byte().facts()}


@pytest.fixture(scope="module")
def model():
    """By bytes, its weights random and loud, so that some tokens are far likelier than others."""
    torch.manual_seed(0)
    made = Text(network_size="nano").model(ABOUT)
    with torch.no_grad():
        made.denoiser.net.table.weight.mul_(20)
    made.denoiser.eval().requires_grad_(False)
    return made


@settings(max_examples=10)
@given(st.text(max_size=120), st.sampled_from([1, 7, 64]))
def test_any_text_comes_back(model, text, calls):
    coder = Coder(model, Byte(), 32)
    assert coder.decompress(coder.compress(text, calls=calls).content) == text


def test_the_code_is_near_the_bits_of_the_model(model):
    text = "The committee met, and the school was closed until Friday. " * 17
    coder = Coder(model, Byte(), 32)
    packed = coder.compress(text)
    _, code = header(packed.content)
    assert abs(8 * len(code) - packed.bits) <= 0.001 * packed.bits + 9
    assert len(packed.content) - len(code) <= 26
    assert coder.decompress(packed.content) == text


@settings(max_examples=200)
@given(st.integers(0, 2**32), st.integers(0, 400), st.floats(0.02, 20))
def test_no_code_has_a_byte_too_many(seed, count, spread):
    """Of random symbols, likely and not: decoded alike, and within 9 bits of the information.

    A range of 2^-b takes b bits, up to 8 to end on a byte, and up to 1 to lie inside.
    """
    numpy = np.random.default_rng(seed)
    p = numpy.dirichlet(np.full(7, spread), size=count).astype(np.float32).clip(1e-6)
    p /= p.sum(1, keepdims=True)
    symbols = np.array([numpy.choice(7, p=row / row.sum(dtype=float)) for row in p.astype(float)])
    law, queue = compression._law(), constriction.stream.queue
    encoder = queue.RangeEncoder()
    encoder.encode(symbols.astype(np.int32), law, p) if count else None
    code = compression._shortest(encoder)
    bits = -np.log2(p[np.arange(count), symbols.astype(int)]).sum() if count else 0.0
    assert 8 * len(code) <= bits * (1 + 1e-4) + 9
    words = np.frombuffer(code + bytes(8 + -len(code) % 4), ">u4").astype(np.uint32)
    if count:
        assert (queue.RangeDecoder(words).decode(law, p) == symbols).all()


@given(
    st.lists(st.integers(0, 255), min_size=12, max_size=12),
    st.integers(1, 300), st.integers(0, 1 << 30), st.integers(1, 1 << 16), st.binary(max_size=9),
)  # fmt: skip
def test_headers_are_read_as_they_were_written(marks, threads, tokens, length, code):
    found = compression.Header(
        tuple(bytes(marks[i : i + 4]) for i in (0, 4, 8)), threads, tokens, length, length
    )
    content = found.content() + code
    assert header(content + zlib.crc32(content).to_bytes(4, "little")) == (found, code)


def test_impossible_numbers_are_told(model):
    marks = (bytes(4),) * 3
    for wrong in ((1, (1 << 30) + 1, 4, 4), (1, 9, 4, 5), (1, 9, 4, 0), (1, 9, 1 << 40, 2)):
        content = compression.Header(marks, *wrong).content()
        with pytest.raises(InputError, match="holds impossible numbers"):
            header(content + zlib.crc32(content).to_bytes(4, "little"))
    for short in (b"SFZ3", b"SFZ3" + bytes(13)):
        with pytest.raises(InputError, match="holds impossible numbers"):
            header(short + zlib.crc32(short).to_bytes(4, "little"))


def test_a_trained_model_needs_fewer_bits_for_text_like_its_own(run):
    tokenizer = rebuilt(run.about["tokenizer"])
    texts = [f"The {thing} was sold on day 3." for thing in ("bridge", "school", "library")]
    coder = Coder(run.model(device="cpu"), tokenizer, run.about["length"])
    bits = [coder.compress(text).bits for text in texts]
    assert sum(bits) < 4.4 * sum(map(len, texts)), "38 characters, taken alike, need 5.25 bits"


def test_calls_go_through_all_places_in_strides():
    """Each place once; within a call they are `calls` apart, and those before are known."""
    batches = list(compression._batches(2 * 8 * 10 + 25, 10))
    assert [(start, len(rows), int(rows.sum())) for start, rows in batches] == [
        (0, 8, 80), (80, 8, 80), (160, 3, 25)
    ]  # fmt: skip
    rows = batches[-1][1]
    seen = torch.zeros_like(rows)
    for k, group in enumerate(compression._groups(rows, 4)):
        assert not bool((group & seen).any())
        assert (group.nonzero()[:, 1] % 4 == k).all()
        seen |= group
    assert torch.equal(seen, rows)


def test_more_calls_take_fewer_bits(tmp_path):
    """By contexts counted in other text: the more neighbours are known, the fewer bits it takes."""
    text = topics.path().read_text()
    file = tmp_path / "some.txt"
    file.write_text(text[:40_000])
    data = read(file, length=48, tokenizer="byte", documents="line", empty="skip")
    model = Text(contexts=4000, network_size="pico").model(data.about)
    count(model.denoiser.net, data)
    coder = Coder(model, Byte(), 48)
    few, some, more = (coder.compress(text[50_000:53_000], calls=n).bits for n in (2, 8, 48))
    assert more < 0.97 * some < 0.94 * few


def test_cut_off_damaged_and_foreign_files_are_refused(model):
    coder = Coder(model, Byte(), 32)
    content = coder.compress("some text").content
    for cut in range(4, len(content)):
        with pytest.raises(InputError, match="damaged or cut off"):
            coder.decompress(content[:cut])
    for place in range(4, len(content)):
        wrong = bytearray(content)
        wrong[place] ^= 1
        with pytest.raises(InputError, match="damaged or cut off"):
            coder.decompress(bytes(wrong))
    with pytest.raises(InputError, match=r"is of format '2', and only format '3' can be read"):
        coder.decompress(b"SFZ2" + content[4:])
    with pytest.raises(InputError, match=r"no \.sfz file"):
        coder.decompress(b"PK\3\4")


def test_another_model_or_number_of_threads_is_refused(model, monkeypatch):
    coder = Coder(model, Byte(), 32)
    content = coder.compress("some text").content
    with pytest.raises(InputError, match="in windows of 32 tokens, and here they have 64"):
        Coder(model, Byte(), 64).decompress(content)
    other = Text(network_size="nano").model(ABOUT)
    with pytest.raises(InputError, match="with another model than here .*nothing can be decoded"):
        Coder(other, Byte(), 32).decompress(content)
    with monkeypatch.context() as patched:
        patched.setattr(compression.torch, "get_num_threads", lambda: 77)
        with pytest.raises(InputError, match=r"with \d+ thread\(s\), and here there are 77"):
            coder.decompress(content)
    monkeypatch.setattr(compression.sfumato, "__version__", "0.0.9")
    with pytest.raises(
        InputError, match=r"another version of sfumato or torch than here \(0\.0\.9"
    ):
        coder.decompress(content)


def test_a_tokenizer_that_changes_text_is_refused(model):
    with pytest.raises(InputError, match=r"\(text8\) does not give this text back"):
        Coder(model, Text8(), 32).compress("Capitals")


def test_the_verbs_round_trip_a_file(run_folder, tmp_path):
    def cli(*words):
        return CliRunner().invoke(application(), list(map(str, words)))

    text, small, back = tmp_path / "a.txt", tmp_path / "a.sfz", tmp_path / "b.txt"
    text.write_bytes(b"The bridge was closed on day 3." * 5)
    done = cli("compress", run_folder, text, small, "--calls", 8)
    assert done.exit_code == 0 and "155 -> " in done.output, done.output
    assert cli("decompress", run_folder, small, back).exit_code == 0
    assert back.read_bytes() == text.read_bytes()
    assert "exists already" in cli("decompress", run_folder, small, back).output
    text.write_bytes(b"\xff")
    assert "is not UTF-8" in cli("compress", run_folder, text, tmp_path / "c.sfz").output
    small.write_bytes(small.read_bytes()[:-9])
    told = cli("decompress", run_folder, small, tmp_path / "d.txt").output
    assert "a.sfz: the file is damaged or cut off" in told
    assert not (tmp_path / "d.txt").exists() and not (tmp_path / "c.sfz").exists()
