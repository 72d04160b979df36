"""One worker of a sampling job: `python -m sfumato_train.jobs JOB RUN [MINUTES]`."""

from __future__ import annotations

import sys

from .workers import main

if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
