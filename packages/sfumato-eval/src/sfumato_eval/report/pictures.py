"""PNG pictures as they stand in a page: inside it, with their size."""

from __future__ import annotations

__all__ = ["Picture"]

import base64
import struct
from dataclasses import dataclass
from pathlib import Path

from sfumato import InputError

_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_SMALL = 160  # pixels; what is smaller is shown enlarged, with its pixels kept sharp


@dataclass(frozen=True)
class Picture:
    """A picture.

    Attributes:
        png: the content of a PNG file.
        alt: what it shows, for who cannot see it.
    """

    png: bytes
    alt: str

    def __post_init__(self) -> None:
        if len(self.png) < 24 or not self.png.startswith(_SIGNATURE) or 0 in self.size:
            raise InputError(f"the picture of {self.alt} is no PNG file")

    @classmethod
    def read(cls, path: Path, alt: str) -> Picture:
        """The picture in a file.

        Raises:
            InputError: if the file is missing or is no PNG file.
        """
        try:
            return cls(path.read_bytes(), alt)
        except FileNotFoundError:
            raise InputError(f"the picture of {alt} was not written") from None

    @property
    def size(self) -> tuple[int, int]:
        """Width and height in pixels, from the header of the file."""
        width, height = struct.unpack(">II", self.png[16:24])
        return width, height

    @property
    def small(self) -> bool:
        """Whether it is shown enlarged."""
        return max(self.size) < _SMALL

    @property
    def uri(self) -> str:
        """The picture as an address that holds it whole."""
        return "data:image/png;base64," + base64.b64encode(self.png).decode("ascii")
