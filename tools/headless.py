"""A browser without a screen: what a page looks like, and what it says and asks for on the way.

The browser is the Chromium inside PySide6-WebEngine, which pip alone installs. It runs in a process
of its own, and every request of the page for anything but itself is refused and written down.

For a look by hand: `python -c "from headless import look; ..."`, in the folder of this file.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypedDict

__all__ = ["Seen", "look"]

LIMIT = 60  # seconds
SETTLE = 150  # milliseconds between two looks; the page is drawn when they are equal
SCREEN = 1000  # pixels, height of the window
TALLEST = 20_000  # pixels of a picture

QUESTIONS = """(() => JSON.stringify({
  title: document.title,
  sections: [...document.querySelectorAll("section")].map(s => s.id),
  images: [...document.images].map(i => [i.naturalWidth, i.naturalHeight, i.alt]),
  charts: [...document.querySelectorAll("svg")].map(s => s.getBoundingClientRect().width),
  height: document.documentElement.scrollHeight,
  overflow: document.documentElement.scrollWidth - document.documentElement.clientWidth,
  dark: matchMedia("(prefers-color-scheme: dark)").matches,
  paper: getComputedStyle(document.body).backgroundColor,
  targets: [...document.querySelectorAll("a")].map(a => a.getAttribute("href")),
  lost: [...document.querySelectorAll("a")].map(a => a.getAttribute("href"))
    .filter(h => !document.getElementById(h.slice(1))),
}))()"""


class Seen(TypedDict):
    """What a browser found.

    Attributes:
        title: of the page.
        sections: the ids of its sections.
        images: width, height and alternative text of each image; 0 where it cannot be shown.
        charts: width on the screen of each SVG element.
        height: of the page in pixels.
        overflow: pixels by which the page is wider than the window.
        dark: whether the page was asked to be dark.
        paper: colour of its background.
        targets: where its links point.
        lost: those that point to nothing.
        console: what was said on the console: errors, warnings, refused content.
        asked: addresses that the page asked for, besides itself and what it holds.
    """

    title: str
    sections: list[str]
    images: list[tuple[int, int, str]]
    charts: list[float]
    height: int
    overflow: int
    dark: bool
    paper: str
    targets: list[str]
    lost: list[str]
    console: list[str]
    asked: list[str]


def look(page: Path, picture: Path, width: int = 1200, *, dark: bool = False) -> Seen:
    """Open a page in a window of some width, and write a picture of the whole of it.

    Raises:
        RuntimeError: if the browser does not start, or the page does not load.
    """
    # the sandbox of Chromium does not run as root, nor in most containers
    flags = f"--no-sandbox --disable-gpu --blink-settings=preferredColorScheme={0 if dark else 1}"
    done = subprocess.run(
        [sys.executable, __file__, str(page), str(picture), str(width)],
        env=os.environ | {"QT_QPA_PLATFORM": "offscreen", "QTWEBENGINE_CHROMIUM_FLAGS": flags},
        capture_output=True,
        text=True,
        timeout=2 * LIMIT,
        check=False,
    )
    if done.returncode:
        raise RuntimeError(f"the browser could not show {page}: {done.stderr[-2000:]}")
    seen: Seen = json.loads(done.stdout)
    return seen


def _main(page: str, picture: str, width: str) -> int:
    """The process of the browser: one page, one picture, one line of JSON."""
    from PySide6.QtCore import QTimer, QUrl
    from PySide6.QtWidgets import QApplication

    application = QApplication(["headless"])
    itself = QUrl.fromLocalFile(str(Path(page).absolute()))
    view, console, asked = _window(itself, int(width))
    code = 1

    def answered(text: str) -> None:
        found = json.loads(text)
        height = min(found["height"], TALLEST)

        def finish(canvas: Any) -> None:
            nonlocal code
            if canvas.save(picture):
                print(json.dumps(found | {"console": console, "asked": asked}), flush=True)
                code = 0
            application.quit()

        _photograph(view, int(width), height, finish)

    def loaded(well: bool) -> None:
        if well:
            view.page().runJavaScript(QUESTIONS, 0, answered)
        else:
            application.quit()

    view.loadFinished.connect(loaded)
    view.load(itself)
    QTimer.singleShot(1000 * LIMIT, application.quit)
    application.exec()
    os._exit(code)  # the order in which Python takes a browser of Qt down at its end is unsafe


def _window(itself: Any, width: int) -> tuple[Any, list[str], list[str]]:
    """A window that shows one address and refuses all others; what it says, what it refused."""
    from PySide6.QtWebEngineCore import (
        QWebEnginePage,
        QWebEngineProfile,
        QWebEngineSettings,
        QWebEngineUrlRequestInfo,
        QWebEngineUrlRequestInterceptor,
    )
    from PySide6.QtWebEngineWidgets import QWebEngineView

    console: list[str] = []
    asked: list[str] = []

    class Guard(QWebEngineUrlRequestInterceptor):
        def interceptRequest(self, info: QWebEngineUrlRequestInfo) -> None:  # noqa: N802
            if info.requestUrl() != itself and info.requestUrl().scheme() != "data":
                asked.append(info.requestUrl().toString())
                info.block(True)

    class Told(QWebEnginePage):
        def javaScriptConsoleMessage(  # noqa: N802
            self, level: Any, message: str, line: int, source: str
        ) -> None:
            console.append(message)

    view: Any = QWebEngineView()
    profile = QWebEngineProfile(view)
    page = Told(profile, view)
    view.guard = Guard()  # kept here: Qt itself does not keep it alive
    page.setUrlRequestInterceptor(view.guard)
    settings, name = page.settings(), QWebEngineSettings.WebAttribute
    settings.setAttribute(name.ShowScrollBars, False)
    # otherwise the engine itself is silent about what a file asks of the network
    settings.setAttribute(name.LocalContentCanAccessRemoteUrls, True)
    view.setPage(page)
    view.resize(width, SCREEN)
    view.show()
    return view, console, asked


def _photograph(view: Any, width: int, height: int, then: Callable[[Any], None]) -> None:
    """Scroll through a page and put what the window shows together to one picture."""
    from PySide6.QtCore import QTimer
    from PySide6.QtGui import QImage, QPainter

    canvas = QImage(width, height, QImage.Format.Format_RGB32)
    tops = [*range(0, max(height - SCREEN, 0), SCREEN), max(height - SCREEN, 0)]
    before: Any = None

    def turn() -> None:
        nonlocal before
        tile = view.grab().toImage()
        if tile != before:  # it is being drawn still
            before = tile
        else:
            painter = QPainter(canvas)
            painter.drawImage(0, tops.pop(0), tile)
            painter.end()
            before = None
            if not tops:
                then(canvas)
                return
            view.page().runJavaScript(f"scrollTo(0, {tops[0]})")
        QTimer.singleShot(SETTLE, turn)

    QTimer.singleShot(SETTLE, turn)


if __name__ == "__main__":
    raise SystemExit(_main(*sys.argv[1:]))
