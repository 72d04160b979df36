"""What the command line knows of text."""

from __future__ import annotations

__all__ = [
    "CaptionsDomain", "GrowingDomain", "LanguageDomain", "PairsDomain", "captions_domain", "domain",
    "growing_domain", "pairs_domain",
]  # fmt: skip

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

from sfumato import Batch, Dataset

from . import canvas, captioning, growing, metrics, pairs, samples, scenes, topics, windows
from .preview import preview
from .tokens import rebuilt


class LanguageDomain:
    """The `sfumato.domain.Domain` of text; see the functions that its methods call."""

    name: ClassVar[str] = "language"
    suffixes: ClassVar[Sequence[str]] = samples.SUFFIXES

    def read(self, path: Path, **options: Any) -> Dataset:
        """Windows of token ids; takes the options of `sfumato_language.windows.read`."""
        return windows.read(Path(path), **options)

    def follow(self, path: Path, about: Mapping[str, Any], **options: Any) -> Dataset:
        """Other text, by the tokenizer of a run; samples that were written are read as such."""
        own = samples.read_back(Path(path), about)
        if own is not None:
            return own
        options |= {"tokenizer": rebuilt(about["tokenizer"])}
        found: Any = self.read(path, **options)
        other: Dataset = replace(found, about=about)
        return other

    def demo_path(self) -> Path:
        """A file of the topics that Python's `help` explains, 0.5 million characters."""
        return topics.path()

    def demo(self) -> Dataset:
        """Those topics, by characters."""
        return windows.read(self.demo_path())

    def write(self, batch: Batch, path: Path, about: Mapping[str, Any]) -> list[Path]:
        """A row of JSON for each text."""
        return samples.write(batch, Path(path), about)

    def preview(self, batch: Batch, path: Path, about: Mapping[str, Any]) -> Path:
        """The first texts, letter by letter."""
        return preview(batch, Path(path), about)

    def metrics(self, train: Dataset) -> Sequence[Any]:
        """Perplexity under an n-gram model of `train`, entropy, distinct n-grams, memorisation."""
        return metrics.metrics(train)

    def condition(
        self, values: Mapping[str, str], n: int, about: Mapping[str, Any]
    ) -> Mapping[str, Any]:
        """`prompt=`, `suffix=`, `text=` with gaps, `length=`: see `canvas.conditions`."""
        return canvas.conditions(values, n, about)


class GrowingDomain(LanguageDomain):
    """The `sfumato.domain.Domain` of text whose length is generated too."""

    name: ClassVar[str] = "language-growing"

    def condition(
        self, values: Mapping[str, str], n: int, about: Mapping[str, Any]
    ) -> Mapping[str, Any]:
        """`prompt=` and `suffix=`: see `growing.conditions`."""
        return growing.conditions(values, n, about)


class PairsDomain(LanguageDomain):
    """The `sfumato.domain.Domain` of prompts with their responses."""

    name: ClassVar[str] = "language-pairs"

    def read(self, path: Path, **options: Any) -> Dataset:
        """Pairs; takes the options of `sfumato_language.pairs.read`."""
        return pairs.read(Path(path), **options)

    def demo_path(self) -> Path:
        """A file of sums: `12 + 31` and `43`."""
        return pairs.demo_path()

    def demo(self) -> Dataset:
        """Those sums, by characters."""
        return pairs.read(self.demo_path(), length=16)


class CaptionsDomain(LanguageDomain):
    """The `sfumato.domain.Domain` of pictures with captions."""

    name: ClassVar[str] = "language-captions"

    def read(self, path: Path, **options: Any) -> Dataset:
        """Pictures and captions; takes the options of `sfumato_language.captioning.read`."""
        return captioning.read(Path(path), **options)

    def demo_path(self) -> Path:
        """A folder of drawn scenes: two things, and how they stand to each other."""
        return scenes.demo_path()

    def demo(self) -> Dataset:
        """Those scenes."""
        return captioning.read(self.demo_path())

    def sources(
        self, path: Path, values: Mapping[str, str], about: Mapping[str, Any], **options: Any
    ) -> Dataset:
        """Pictures to be described; values as for text, see `canvas.conditions`."""
        return captioning.shown(Path(path), values, about)

    def write(self, batch: Batch, path: Path, about: Mapping[str, Any]) -> list[Path]:
        """A row of JSON for each caption; with its `file` where that is known."""
        if "name" in batch.about:
            return captioning.write(batch, Path(path), about)
        return super().write(batch, path, about)

    def preview(self, batch: Batch, path: Path, about: Mapping[str, Any]) -> Path:
        """Captions beside their pictures."""
        return preview(batch, Path(path), about, batch.condition.get(captioning.PICTURE))

    def condition(
        self, values: Mapping[str, str], n: int, about: Mapping[str, Any]
    ) -> Mapping[str, Any]:
        """The words of text, and `picture=` a file or a folder, gone through in turn.

        Without it some pictures of the training data are described.
        """
        words = dict(values)
        given = words.pop(captioning.PICTURE, None)
        those = (
            captioning.examples(about)
            if given is None
            else captioning.looked_at(Path(given), about)[0]
        )
        found = canvas.conditions(words, n, about)
        return {**found, captioning.PICTURE: those[[i % len(those) for i in range(n)]]}


domain = LanguageDomain()
growing_domain = GrowingDomain()
pairs_domain = PairsDomain()
captions_domain = CaptionsDomain()
