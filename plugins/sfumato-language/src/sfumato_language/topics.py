"""A small corpus that every Python has: the topics that `help` explains."""

from __future__ import annotations

__all__ = ["path"]

import json
import platform
from pathlib import Path

from sfumato_data.sources import cache
from sfumato_train.files import make_folder, write_text


def path() -> Path:
    """A file of JSON lines, a topic each, in the cache of data; written when it is first asked for.

    Its content is that of this version of Python.
    """
    file = cache() / "python-topics" / f"{platform.python_version()}.jsonl"
    if not file.is_file():
        from pydoc_data.topics import topics

        rows = (json.dumps({"topic": name, "text": topics[name]}) for name in sorted(topics))
        make_folder(file.parent)
        write_text(file, "".join(row + "\n" for row in rows))
    return file
