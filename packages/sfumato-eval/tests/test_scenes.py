"""Scenes: drawn and turned by the one script that a page allows, from data that is escaped."""

from __future__ import annotations

import base64
import hashlib
import html
import json
import re

import pytest
from headless import look
from PIL import Image

from sfumato import InputError
from sfumato_eval.report import Note, Page, Scene, Scenes, Section, render

EVIL = "</canvas><script>document.title='broken in'</script>\"'&"


def scene(caption="water", **changes):
    given = {
        "points": [[0, 0, 0.1], [0, 0.8, -0.5], [0, -0.8, -0.5]],
        "radii": [0.5, 0.3, 0.3],
        "colours": ["#e02020", "#00d000", "#00d000"],
        "links": [(0, 1, 1), (0, 2, 2)],
    }
    return Scene(**{**given, **changes}, caption=caption)


def page(*blocks):
    return render(Page("Title", "words", sections=[Section("All", blocks)]))


def test_a_page_allows_the_script_that_it_has_and_no_other():
    text = page(Scenes([scene(), scene()]))
    (script,) = re.findall(r"<script>(.*?)</script>", text, re.S)
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    policy = re.findall(r'Content-Security-Policy" content="([^"]*)"', text)
    rules = ["default-src 'none'", "img-src data:", "style-src 'unsafe-inline'"]
    assert policy == ["; ".join([*rules, f"script-src 'sha256-{digest}'"])]
    assert "fetch" not in script and "http" not in script and "import" not in script
    assert len(script.splitlines()) < 200


def test_without_scenes_there_is_no_script():
    text = page(Note("nothing"))
    assert "<script" not in text and "script-src" not in text


def test_the_content_comes_back_and_is_escaped():
    text = page(Scenes([scene(EVIL)]))
    assert text.count("<script") == 1 and EVIL not in text
    (content,) = re.findall(r'data-scene="([^"]*)"', text)
    points, radii, colours, links = json.loads(html.unescape(content))
    assert points == [[0, 0, 0.1], [0, 0.8, -0.5], [0, -0.8, -0.5]] and radii == [0.5, 0.3, 0.3]
    assert colours[0] == "#e02020" and links == [[0, 1, 1], [0, 2, 2]]


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"points": [], "radii": [], "colours": []}, "at least one point"),
        ({"radii": [1]}, "a radius and colour for each"),
        ({"radii": [1, 1, float("nan")]}, "have to be finite"),
        ({"colours": ["red", "red", "red"]}, "written #rrggbb"),
        ({"links": [(0, 3, 1)]}, "names a point that is not one of 3"),
    ],
    ids=["none", "few", "nan", "colour", "link"],
)
def test_scenes_that_cannot_be_shown_are_told(changes, said):
    with pytest.raises(InputError, match=said):
        scene(**changes)


KEYS = """<script>{
  const canvas = document.querySelector("canvas");
  const press = key => canvas.dispatchEvent(new KeyboardEvent("keydown", {key}));
  const seen = [canvas.toDataURL()];
  for (const keys of [["ArrowLeft"], ["ArrowRight"], ["+", "+"], ["a"]]) {
    keys.forEach(press);
    seen.push(canvas.toDataURL());
  }
  document.title = seen.map(s => seen.indexOf(s)).join(" ");
}</script></body>"""


def test_a_browser_draws_and_turns_them(tmp_path):
    """Left and right undo each other, + enlarges, other keys do nothing; nothing is asked for."""
    text = page(Scenes([scene(EVIL)]))
    (tmp_path / "a.html").write_text(text, encoding="utf-8")
    seen = look(tmp_path / "a.html", tmp_path / "a.png", 500)
    assert seen["console"] == [] and seen["asked"] == [] and seen["overflow"] == 0
    assert seen["title"] == "Title"
    with Image.open(tmp_path / "a.png") as shot:
        colours = {colour[:3] for _, colour in shot.convert("RGB").getcolors(2**24)}
    assert (0xE0, 0x20, 0x20) in colours and (0, 0xD0, 0) in colours
    free = re.sub(r"; script-src '[^']*'", "; script-src 'unsafe-inline'", text)
    (tmp_path / "b.html").write_text(free.replace("</body>", KEYS), encoding="utf-8")
    assert look(tmp_path / "b.html", tmp_path / "b.png", 500)["title"] == "0 1 0 3 3"
    (tmp_path / "c.html").write_text(text.replace("</body>", KEYS), encoding="utf-8")
    refused = look(tmp_path / "c.html", tmp_path / "c.png", 500)
    assert refused["title"] == "Title" and "Content Security Policy" in str(refused["console"])
