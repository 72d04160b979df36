"""A program: download the source archive of a package, `python sdists.py NAME==VERSION FOLDER`.

`pip download` runs the setup.py of a source archive to learn its name. Here pip only looks the
archive up and fetches it, with the index, proxies and certificates that it is set up with; nothing
is unpacked or run. pip has no public interface for that, so its own session and finder are used;
if they change, the error names what is missing.
"""

from __future__ import annotations

__all__ = ["main"]

import sys
from pathlib import Path
from urllib.parse import unquote

CHUNK = 1 << 16


def main(requirement: str, folder: str) -> None:
    """Fetch the source archive of `NAME==VERSION` into a folder.

    Raises:
        SystemExit: if there is none, or the registry does not answer; the text says which.
    """
    from pip._internal.commands import create_command
    from pip._internal.req.constructors import install_req_from_line

    command = create_command("download")
    words = ["--no-deps", "--no-binary=:all:", "--no-input", "--disable-pip-version-check"]
    options, _ = command.parse_args([*words, requirement])
    wanted = install_req_from_line(requirement).req
    assert wanted is not None
    with command.main_context():
        session = command.get_default_session(options)  # type: ignore[attr-defined]
        finder = command._build_package_finder(options, session)  # type: ignore[attr-defined]
        best = finder.find_best_candidate(wanted.name, wanted.specifier).best_candidate
        if best is None:
            raise SystemExit(f"ERROR: the index has no source archive of {requirement}")
        answer = session.get(best.link.url_without_fragment, stream=True)
        answer.raise_for_status()
        with (Path(folder) / Path(unquote(best.link.filename)).name).open("xb") as file:
            for piece in answer.iter_content(CHUNK):
                file.write(piece)


if __name__ == "__main__":
    try:
        main(*sys.argv[1:])
    except Exception as error:  # of pip, requests, the network: the caller wants one line
        raise SystemExit(f"ERROR: {type(error).__name__}: {' '.join(str(error).split())}") from None
