"""The page of a report, as a reader of it finds its texts and tables."""

from __future__ import annotations

from html.parser import HTMLParser


class Parsed(HTMLParser):
    """The tables of a page by their labels, its paragraphs and list items, and the elements that are in it."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.html = html
        self.tables: dict[str, list[list[str]]] = {}
        self.texts: list[str] = []
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self._label = ""
        self._text: list[str] | None = None
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = dict(attrs)
        self.elements.append((tag, found))
        if tag == "table":
            self._label = str(found["aria-label"])
            self.tables[self._label] = []
        elif tag == "tr":
            self.tables[self._label].append([])
        elif tag in ("th", "td", "p", "li", "h1", "h2", "title", "desc", "text"):
            self._text = []

    def handle_data(self, data: str) -> None:
        if self._text is not None:
            self._text.append(data)

    def handle_endtag(self, tag: str) -> None:
        if self._text is None or tag not in ("th", "td", "p", "li", "h1", "h2", "title", "desc", "text"):
            return
        text, self._text = " ".join("".join(self._text).split()), None
        if tag in ("th", "td"):
            self.tables[self._label][-1].append(text)
        else:
            self.texts.append(text)

    def row(self, table: str, head: str) -> list[str]:
        """The cells of the row with that head, of the table whose label begins so."""
        [found] = [rows for label, rows in self.tables.items() if label.startswith(table)]
        [cells] = [cells for first, *cells in found if first == head]
        return cells

    def said(self, beginning: str) -> str:
        """The one text that begins so."""
        [found] = [text for text in self.texts if text.startswith(beginning)]
        return found
