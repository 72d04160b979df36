"""Small data sets that tests and READMEs make on the spot: pictures, a font of emoji, IDX files."""

from __future__ import annotations

import gzip
import io
import random
import struct
from pathlib import Path

__all__ = ["brown", "clothes", "font", "photos"]

COLOURS = {
    "red": (220, 40, 40), "orange": (240, 140, 30), "yellow": (240, 220, 40),
    "green": (40, 160, 60), "blue": (40, 80, 220), "purple": (140, 60, 180),
    "brown": (130, 80, 40), "black": (20, 20, 20), "white": (235, 235, 235),
}  # fmt: skip
"""Of the large circles and squares among the emoji."""

CIRCLES = dict(
    zip(
        (0x1F534, 0x1F7E0, 0x1F7E1, 0x1F7E2, 0x1F535, 0x1F7E3, 0x1F7E4, 0x26AB, 0x26AA),
        COLOURS,
        strict=True,
    )
)
SQUARES = dict(
    zip(
        (0x1F7E5, 0x1F7E7, 0x1F7E8, 0x1F7E9, 0x1F7E6, 0x1F7EA, 0x1F7EB, 0x2B1B, 0x2B1C),
        COLOURS,
        strict=True,
    )
)
LINE = (
    "ascender descender widthMax caretSlopeNumerator caretSlopeDenominator caretOffset minOriginSB "
    "minAdvanceSB maxBeforeBL minAfterBL pad1 pad2"
)
"""The metrics of a line in the table CBLC, none of which matters here."""

HAND, TONES = 0x270B, range(0x1F3FB, 0x1F400)


def photos(folder: Path, count: int = 160, size: int = 48) -> None:
    """Make a folder of `count` square PNG files, each a few coloured discs on a plain ground."""
    from PIL import Image, ImageDraw

    draw = random.Random(0)
    folder.mkdir(parents=True)
    for index in range(count):
        image = Image.new("RGB", (size, size), tuple(draw.choices(range(256), k=3)))
        for _ in range(3):
            x, y, radius = draw.randrange(size), draw.randrange(size), draw.randrange(4, size // 3)
            box = (x - radius, y - radius, x + radius, y + radius)
            ImageDraw.Draw(image).ellipse(box, fill=tuple(draw.choices(range(256), k=3)))
        image.save(folder / f"{index:02}.png")


def clothes(folder: Path, train: int = 60, test: int = 20) -> None:
    """Make a folder of the four files of MNIST: a bright bar for each of ten classes."""
    draw = random.Random(0)
    folder.mkdir(parents=True)
    for part, count in (("train", train), ("t10k", test)):
        labels = bytes(i % 10 for i in range(count))
        pixels = bytearray()
        for label in labels:
            for row in range(28):
                bright = row // 3 == label
                pixels += bytes(draw.randrange(150, 256) if bright else 0 for _ in range(28))
        head = struct.pack(">BBBB3I", 0, 0, 8, 3, count, 28, 28)
        images = folder / f"{part}-images-idx3-ubyte.gz"
        images.write_bytes(gzip.compress(head + pixels, mtime=0))
        head = struct.pack(">BBBBI", 0, 0, 8, 1, count)
        (folder / f"{part}-labels-idx1-ubyte.gz").write_bytes(gzip.compress(head + labels, mtime=0))


def brown(folder: Path, count: int = 12) -> None:
    """Make a folder of documents with tags, as those of the Brown corpus are."""
    draw = random.Random(0)
    folder.mkdir(parents=True)
    names = [f"ca{i:02}" for i in range(1, count + 1)]
    (folder / "cats.txt").write_text("".join(f"{name} news\n" for name in names))
    for name in names:
        words = []
        for _ in range(60):
            who, what = draw.choice(("committee", "jury")), draw.choice(("met", "closed", "said"))
            words.append(f"The/at {who}/nn {what}/vbd it/pps on/in Friday/nr ./.\n")
        (folder / name).write_text("".join(words))


def font(path: Path) -> None:
    """Make a font with 24 colour bitmaps: circles and squares, and a hand of six skin tones."""
    from fontTools.fontBuilder import FontBuilder
    from fontTools.ttLib import newTable
    from fontTools.ttLib.tables import E_B_L_C_ as sizes
    from fontTools.ttLib.tables.BitmapGlyphMetrics import SmallGlyphMetrics
    from fontTools.ttLib.tables.C_B_D_T_ import cbdt_bitmap_format_17

    drawn = {f"u{point:X}": _disc(COLOURS[name], True) for point, name in CIRCLES.items()}
    drawn |= {f"u{point:X}": _disc(COLOURS[name], False) for point, name in SQUARES.items()}
    points = {point: f"u{point:X}" for point in (*CIRCLES, *SQUARES)}
    drawn["hand"] = _disc((250, 200, 60), True, 8)
    points[HAND] = "hand"
    for i, point in enumerate(TONES):
        points[point] = f"tone{i}"
        drawn[f"hand{i}"] = _disc((240 - 40 * i, 190 - 35 * i, 150 - 30 * i), True, 8)
    glyphs = [".notdef", *(f"tone{i}" for i in range(5)), *drawn]
    builder = FontBuilder(128, isTTF=True)
    builder.setupGlyphOrder(glyphs)
    builder.setupCharacterMap(points)
    builder.setupHorizontalMetrics(dict.fromkeys(glyphs, (136, 0)))
    builder.setupHorizontalHeader()
    builder.setupNameTable({"familyName": "Small", "styleName": "Regular"})
    builder.setupPost()
    tones = " ".join(f"sub hand tone{i} by hand{i};" for i in range(5))
    builder.addOpenTypeFeatures(f"feature ccmp {{ {tones} }} ccmp;")
    one = builder.font
    strike = {}
    for name, content in drawn.items():
        glyph = cbdt_bitmap_format_17(b"", one)
        glyph.metrics = SmallGlyphMetrics()
        glyph.metrics.height, glyph.metrics.width = 64, 68
        glyph.metrics.BearingX = glyph.metrics.BearingY = 0
        glyph.metrics.Advance = 68
        glyph.imageData = content
        strike[name] = glyph
    one["CBDT"] = bitmaps = newTable("CBDT")
    bitmaps.version, bitmaps.strikeData = 3.0, [strike]
    one["CBLC"] = index = newTable("CBLC")
    table = sizes.eblc_index_sub_table_1(b"", one)
    table.names, table.indexFormat, table.imageFormat = list(drawn), 1, 17
    size = sizes.BitmapSizeTable()
    size.colorRef = size.flags = 0
    size.bitDepth, size.ppemX, size.ppemY = 32, 64, 64
    for direction in ("hori", "vert"):
        line = sizes.SbitLineMetrics()
        for field in LINE.split():
            setattr(line, field, 0)
        setattr(size, direction, line)
    whole = sizes.Strike()
    whole.bitmapSizeTable, whole.indexSubTables = size, [table]
    index.version, index.strikes = 3.0, [whole]
    path.parent.mkdir(parents=True, exist_ok=True)
    one.save(path)


def _disc(colour: tuple[int, int, int], round_: bool, margin: int = 4) -> bytes:
    """A PNG file of 68 x 64 pixels, transparent around a shape."""
    from PIL import Image, ImageDraw

    image = Image.new("RGBA", (68, 64), (0, 0, 0, 0))
    draw = ImageDraw.Draw(image)
    box = (margin, margin, 67 - margin, 63 - margin)
    (draw.ellipse if round_ else draw.rectangle)(box, fill=(*colour, 255))
    content = io.BytesIO()
    image.save(content, "PNG")
    return content.getvalue()
