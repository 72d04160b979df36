"""The page of a report: what a reader sees, offline, and that nothing in it is more than text."""

from __future__ import annotations

import base64
import functools
import io
import re
import struct
import xml.etree.ElementTree as ElementTree
from html.parser import HTMLParser

import pytest
from headless import look
from PIL import Image

from sfumato import InputError
from sfumato_eval import Score, table
from sfumato_eval.report import (
    Chart,
    Charts,
    Code,
    Figure,
    Figures,
    Line,
    Note,
    Page,
    Picture,
    Section,
    Strip,
    StripRow,
    Table,
    render,
    scores,
)

EVIL = "<script>alert(1)</script><img src='http://example.invalid/x.png'>\"'&"


def picture(size=(40, 30), colour="red", alt="a square"):
    file = io.BytesIO()
    Image.new("RGB", size, colour).save(file, "PNG")
    return Picture(file.getvalue(), alt)


def chart(**options):
    lines = [Line("training", [1, 10, 100], [1.0, None, 0.01]), Line("held-out", [100], [0.02])]
    return Chart(**{"title": "Loss", "x": "step", "y": "loss", "lines": lines} | options)


def page(text="words"):
    """One of each block, with a text wherever there may be one."""
    score = Score(1.5, 1000, None, text, parts={text: 0.1})
    blocks = [
        Note(text),
        Note(text, missing=True),
        Charts([chart(), chart(title=text, x=text, y=text, levels={text: 0.5}, note=text)]),
        Figures([Figure(picture((300, 200), alt=text), text), Figure(picture(), text)]),
        Strip([text, "t = 0"], [StripRow(text, [picture(colour="blue"), None])], text),
        scores(table({text: score})),
        Table(["n", text], [["1", text]], numbers=(0,)),
        Code(text),
    ]
    return Page(text, text, {text: text}, [Section("All blocks", blocks, text)])


class Reader(HTMLParser):
    """Everything in a page that a browser would act on."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.ids, self.addresses, self.text = [], [], [], []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.tags.append(tag)
        for name, value in attributes:
            if name == "id":
                self.ids.append(value)
            if name.endswith(("src", "href", "action", "data")) or name.startswith("on"):
                self.addresses.append(value)

    def handle_data(self, data):
        self.text.append(data)


@functools.cache
def rendered(text="words"):
    return render(page(text))


def test_a_page_refers_to_nothing_outside_itself():
    text = rendered()
    read = Reader(text)
    assert "script" not in read.tags and "link" not in read.tags and "iframe" not in read.tags
    assert read.addresses
    for address in read.addresses:
        assert address.startswith(("data:image/png;base64,", "#"))
    for name in re.findall(r"url\(([^)]*)\)", text):
        assert name.startswith("#") and name[1:] in read.ids
    assert "@import" not in text and "default-src 'none'" in text
    assert len(read.ids) == len(set(read.ids))


def test_pictures_in_a_page_are_whole():
    sizes = []
    for address in Reader(rendered()).addresses:
        if address.startswith("data:"):
            with Image.open(io.BytesIO(base64.b64decode(address.partition(",")[2]))) as image:
                image.load()
                sizes.append(image.size)
    assert sizes == [(300, 200), (40, 30), (40, 30)]


def test_text_is_text_wherever_it_stands():
    """The same page with plain words and with markup in their place has the same elements."""
    texts = [rendered(), rendered(EVIL)]
    drawn = [set(Reader(text).tags) for text in re.findall(r"<svg.*?</svg>", texts[1], re.S)]
    assert set().union(*drawn) <= {"svg", "defs", "clippath", "g", "path", "use", "rect", "text"}
    plain, evil = (Reader(re.sub(r"<svg.*?</svg>", "", text, flags=re.S)) for text in texts)
    assert evil.tags == plain.tags and evil.addresses == plain.addresses
    assert "".join(evil.text).count("alert(1)") >= 15


def ticks(drawn):
    """The texts in a chart."""
    return ["".join(text.itertext()) for text in ElementTree.fromstring(drawn).iter() if
            text.tag.endswith("}text")]  # fmt: skip


def test_a_logarithmic_axis_marks_powers_of_ten():
    found = ticks(chart(log_y=True, lines=[Line("a", [1, 2], [2e-4, 3.0])]).svg)
    assert {"0.001", "0.01", "0.1", "1"} <= set(found)
    narrow = ticks(chart(log_y=True, lines=[Line("a", [1, 2], [1.1, 3.9])]).svg)
    assert {"1.5", "2", "3"} <= set(narrow)


def test_values_that_have_no_logarithm_get_a_plain_axis():
    lines = [Line("kid", [5, 10], [-0.5, 1.0])]
    plain = chart(lines=lines).svg
    assert ticks(chart(log_y=True, lines=lines).svg) == ticks(plain) and "\u22120.25" in ticks(
        plain
    )


def test_a_logarithmic_axis_of_calls_marks_each_call():
    found = ticks(chart(log_x=True, lines=[Line("a", [5, 9, 20], [1.0, 2.0, 3.0])]).svg)
    assert {"5", "9", "20"} <= set(found)


def test_every_line_and_level_is_named_and_a_single_line_is_not():
    assert {"training", "held-out", "floor"} <= set(ticks(chart(levels={"floor": 0.1}).svg))
    assert "alone" not in ticks(chart(lines=[Line("alone", [1, 2], [1, 2])]).svg)


def test_charts_take_their_colours_from_the_page():
    drawn = chart(levels={"floor": 0.5}).svg
    assert {"var(--ink)", "var(--faint)", "var(--line-0)", "var(--line-1)", "var(--line-2)"} <= set(
        re.findall(r"var\([a-z0-9-]+\)", drawn)
    )
    left = set(re.findall(r"#[0-9a-f]{6}\b", drawn))
    assert not left & {"#010101", "#020202", "#0a0000"}


def test_equal_charts_are_equal_and_others_share_no_names():
    names = [set(re.findall(r'id="([^"]+)"', c.svg)) for c in (chart(), chart(title="Other"))]
    assert chart().svg == chart().svg
    assert names[0] and not names[0] & names[1]


def test_a_dollar_sign_is_no_formula():
    assert "cost in $ per $" in ticks(chart(x="cost in $ per $").svg)


def test_a_picture_knows_its_size():
    assert picture((7, 5)).size == (7, 5) and picture((7, 5)).small
    assert not picture((400, 5)).small


@pytest.mark.parametrize("content", [b"", b"a picture", b"\x89PNG\r\n\x1a\n" + b"\0" * 30])
def test_what_is_no_png_file_is_refused(content, tmp_path):
    (tmp_path / "a.png").write_bytes(content)
    with pytest.raises(InputError, match="the picture of 4 samples is no PNG file"):
        Picture.read(tmp_path / "a.png", "4 samples")
    with pytest.raises(InputError, match="the picture of 4 samples was not written"):
        Picture.read(tmp_path / "none.png", "4 samples")


def test_scores_show_what_is_needed_to_read_them():
    score = Score(0.25, 1200, 0.125, "a distance", parts={"standard error": 0.01})
    cells = scores(table({"mine": score, "bare": Score(1.0, 5, None, "p", "higher")}))
    assert cells.rows == [
        ["mine", "0.25", "0.125", "2", "lower", "1,200", "a distance; standard error 0.01"],
        ["bare", "1", "-", "-", "higher", "5", "p"],
    ]


def colours(path):
    with Image.open(path) as image:
        return len(image.convert("RGB").getcolors(2**24))


@pytest.mark.parametrize(("width", "dark"), [(1200, False), (390, True)])
def test_a_browser_shows_the_page_without_a_network(tmp_path, width, dark):
    (tmp_path / "page.html").write_text(rendered(EVIL), encoding="utf-8")
    seen = look(tmp_path / "page.html", tmp_path / "shot.png", width, dark=dark)
    assert seen["console"] == [] and seen["asked"] == []
    assert seen["title"] == EVIL and seen["sections"] == ["all-blocks"] and seen["lost"] == []
    assert [image[:2] for image in seen["images"]] == [[300, 200], [40, 30], [40, 30]]
    assert len(seen["charts"]) == 2 and min(seen["charts"]) > 300
    assert seen["overflow"] == 0
    red, green, blue = map(int, re.findall(r"\d+", seen["paper"]))
    assert (red + green + blue < 3 * 64) if dark else (red + green + blue > 3 * 240)
    with Image.open(tmp_path / "shot.png") as shot:
        assert shot.size == (width, seen["height"])
    assert colours(tmp_path / "shot.png") > 100


def test_the_browser_notices_what_a_page_must_not_do(tmp_path):
    """Without it the test above could not fail: a page that asks, complains and is too wide."""
    broken = base64.b64encode(b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 3)).decode()
    (tmp_path / "page.html").write_text(
        f"<script>console.error('oh')</script><img src='http://example.invalid/a.png'>"
        f"<img src='data:image/png;base64,{broken}'><div style='width:3000px'>wide</div>"
        "<a href='#nowhere'>lost</a>"
    )
    seen = look(tmp_path / "page.html", tmp_path / "shot.png")
    assert "oh" in seen["console"] and seen["asked"] == ["http://example.invalid/a.png"]
    assert [image[0] for image in seen["images"]] == [0, 0]
    assert seen["overflow"] > 1000 and seen["lost"] == ["#nowhere"]
    with pytest.raises(RuntimeError, match="could not show"):
        look(tmp_path / "none.html", tmp_path / "shot.png")
