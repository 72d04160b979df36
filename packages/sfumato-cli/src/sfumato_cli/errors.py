"""The one place that turns what a user can mend into a sentence and an exit code.

Everything else is a defect of ours and keeps its traceback.
"""

from __future__ import annotations

__all__ = ["reported"]

import errno
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NoReturn

import typer

from sfumato import InputError, Unsupported
from sfumato.components import PluginError

# What a disk or a file system says to a program that is right.
DISK = {
    errno.EACCES,
    errno.EDQUOT,
    errno.EISDIR,
    errno.ENAMETOOLONG,
    errno.ENOSPC,
    errno.ENOTDIR,
    errno.EPERM,
    errno.EROFS,
}


@contextmanager
def reported() -> Iterator[None]:
    """Report expected errors on stderr and exit: 1, or 130 for an interrupt (Ctrl-C).

    A `KeyboardInterrupt` that carries a text (what was kept, how to go on) has it printed.
    """
    try:
        yield
    except KeyboardInterrupt as error:
        _fail(f"interrupted{': ' if error.args else ''}{error}", 130)
    except (InputError, Unsupported, PluginError) as error:
        _fail(str(error))
    except OSError as error:
        if error.errno not in DISK:
            raise
        where = f" {error.filename!r}" if error.filename else ""
        _fail(f"cannot write or read{where}: {error.strerror}")
    except ValueError as error:
        # Without pydantic in memory this is not its error; importing it to ask would cost 100 ms.
        pydantic = sys.modules.get("pydantic")
        if pydantic is None or not isinstance(error, pydantic.ValidationError):
            raise
        from sfumato_train.words import sentence

        _fail(sentence(error, pydantic.BaseModel))


def _fail(message: str, code: int = 1) -> NoReturn:
    typer.echo(f"Error: {' '.join(message.split())}", err=True)
    raise SystemExit(code)
