"""A small corpus, and a cache of its own for each test."""

from __future__ import annotations

from pathlib import Path

import pytest

VERBS = ("closed", "opened", "painted", "sold")
THINGS = ("bridge", "school", "market", "station", "library")


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch) -> Path:
    monkeypatch.setenv("SFUMATO_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def lines() -> list[str]:
    """200 sentences of a few words, all of one pattern, so that little is to be learned."""
    return [
        f"The {THINGS[i % 5]} was {VERBS[i // 5 % 4]} on day {i % 7}, they said."
        for i in range(200)
    ]


@pytest.fixture
def text(tmp_path, lines) -> Path:
    """A file of the sentences, a line each."""
    path = tmp_path / "news.txt"
    path.write_text("\n".join(lines), encoding="utf-8")
    return path


@pytest.fixture(scope="session")
def run_folder(tmp_path_factory) -> Path:
    """A run of a tiny model of sentences by characters; read only."""
    from sfumato_train import start

    root = tmp_path_factory.mktemp("trained")
    lines = [f"The {t} was {v} on day {d}." for t in THINGS for v in VERBS for d in range(7)]
    (root / "news.txt").write_text("\n".join(lines))
    words = ["steps=60", "batch=16", "length=48", "tokenizer=char", "documents=line", "held=0.2"]
    words += ["network_size=nano", "lr=1e-2", "warmup=5", "ema=0", "sampling_steps=8"]
    words += ["sampler=cached-ancestral"]
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SFUMATO_CACHE", str(root / "cache"))
        out: Path = start("language/text", words, root / "news.txt", root / "run", device="cpu")
    return out


@pytest.fixture
def run(run_folder):
    from sfumato_train import open_run

    return open_run(run_folder)
