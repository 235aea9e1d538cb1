"""Opens files or addresses in Chromium and prints as JSON what they look like there: `python browse.py WIDTHS PAGE...`.

A program of its own, since a browser that fails may take its process with it.
"""

from __future__ import annotations

import json
import os
import sys
from statistics import median
from typing import Any

os.environ["QT_QPA_PLATFORM"] = "offscreen"
os.environ["QTWEBENGINE_DISABLE_SANDBOX"] = "1"
os.environ["QTWEBENGINE_CHROMIUM_FLAGS"] = "--no-sandbox --disable-gpu --single-process"

from PySide6.QtCore import QEventLoop, QTimer, QUrl
from PySide6.QtWebEngineCore import QWebEnginePage
from PySide6.QtWebEngineWidgets import QWebEngineView
from PySide6.QtWidgets import QApplication

# Tables in folds have no size until these are opened.
MEASURE = """
document.querySelectorAll("details").forEach(fold => { fold.open = true; });
const scrolls = element => ["auto", "scroll"].includes(getComputedStyle(element).overflowX);
JSON.stringify({
  width: document.documentElement.scrollWidth,
  room: window.innerWidth,
  pictures: {
    shown: document.images.length, broken: [...document.images].filter(image => !image.naturalWidth).length,
  },
  tables: [...document.querySelectorAll("table")].map(table => {
    let box = table.parentElement;
    while (box.parentElement && !scrolls(box)) box = box.parentElement;
    return {
      wide: table.offsetWidth > box.clientWidth, scrolls: scrolls(box) && box !== document.body,
      role: box.getAttribute("role"), tabindex: box.getAttribute("tabindex"), label: box.getAttribute("aria-label"),
    };
  }),
})
"""
FIND_WIDE = """
globalThis.wide = [...document.querySelectorAll("[role=region]")].find(box => box.scrollWidth > box.clientWidth);
wide === undefined ? "" : (wide.scrollIntoView(), wide.scrollLeft = SIDE, JSON.stringify([
  Math.round(wide.getBoundingClientRect().left + wide.clientLeft + wide.clientWidth),
  Math.round(wide.getBoundingClientRect().top), Math.round(wide.getBoundingClientRect().top + wide.clientHeight),
]))
"""


class _Page(QWebEnginePage):
    """Remembers what the console said."""

    messages: list[str]

    def javaScriptConsoleMessage(  # noqa: N802
        self, level: QWebEnginePage.JavaScriptConsoleMessageLevel, message: str, line: int, source: str
    ) -> None:
        self.messages.append(f"{level.name}: {message} ({source}:{line})")


def look(page: str, width: int) -> dict[str, Any]:
    """What one page looks like in a window of `width` pixels."""
    view = QWebEngineView()
    content = _Page(view)
    content.messages = []
    view.setPage(content)
    view.resize(width, 900)
    view.show()
    loop = QEventLoop()
    view.loadFinished.connect(loop.quit)
    view.load(QUrl(page) if page.startswith("http:") else QUrl.fromLocalFile(page))
    loop.exec()
    found: dict[str, Any] = json.loads(_ask(view, MEASURE))
    return {"page": page, **found, "console": content.messages, "edge": [_edge(view, side) for side in ("0", "1e6")]}


def _edge(view: QWebEngineView, side: str) -> float | None:
    """Median lightness, in [0, 255], of the last pixels of the first table that scrolls, scrolled to one side."""
    place = _ask(view, FIND_WIDE.replace("SIDE", side))
    if not place:
        return None
    _wait(400)
    right, top, bottom = json.loads(place)
    image = view.grab().toImage()
    rows = range(max(0, top), min(bottom, image.height()))
    return median(image.pixelColor(x, y).lightness() for x in range(right - 3, right) for y in rows)


def _ask(view: QWebEngineView, script: str) -> str:
    answers: list[str] = []
    loop = QEventLoop()

    def take(answer: str) -> None:
        answers.append(answer)
        loop.quit()

    view.page().runJavaScript(script, take)
    loop.exec()
    return answers[0]


def _wait(milliseconds: int) -> None:
    loop = QEventLoop()
    QTimer.singleShot(milliseconds, loop.quit)
    loop.exec()


if __name__ == "__main__":
    application = QApplication([])
    widths, pages = sys.argv[1].split(","), sys.argv[2:]
    print(json.dumps([look(page, int(width)) for page in pages for width in widths]), flush=True)
    # Chromium does not always survive being taken down in order.
    os._exit(0)
