"""`python -m sfumato_cli`, for programs that start modules, such as torchrun."""

from __future__ import annotations

from .main import main

if __name__ == "__main__":
    main()
