"""The process of one trial: `python -m sfumato_eval.claims.child NAME TRIAL OUT`.

Started by `running`; NAME is a registered system, TRIAL the fields of a `Trial` as JSON, OUT the
file for the numbers. It ends by an exception, whose last line is the cause that the row keeps.
"""

from __future__ import annotations

__all__ = ["main"]

import json
import signal
import sys
from pathlib import Path

from sfumato import InputError, registry
from sfumato.survey import Measured, System, Trial

from .rows import measured_json, write_json

GRACE = 30
"""Seconds after which a trial ends that nobody stopped, its parent having been killed."""


def main() -> None:
    """Run the trial."""
    name, text, out = sys.argv[1:]
    facts = json.loads(text)
    trial = Trial(**{**facts, "scratch": Path(facts["scratch"])})
    if hasattr(signal, "alarm"):
        signal.alarm(int(60 * trial.minutes) + GRACE)
    system: System = registry().load("system", name)
    measured = system.trial(trial)
    missing = sorted({claim.key for claim in system.claims} - set(measured))
    if missing:
        raise InputError(f"the trial of {name} measured nothing named {', '.join(missing)}")
    for key, one in measured.items():
        if not isinstance(one, Measured):
            raise InputError(f"the trial of {name} gave {key} as a {type(one).__name__}")
    write_json(Path(out), measured_json(measured))


if __name__ == "__main__":
    main()
