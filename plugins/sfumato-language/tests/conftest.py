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
