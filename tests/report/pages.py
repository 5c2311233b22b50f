"""What stands in a page, by Python's HTML parser."""

import json
from html.parser import HTMLParser
from pathlib import Path
from typing import Any


class ParsedPage(HTMLParser):
    """Elements with their attributes, the text that is seen, and the content of scripts and styles."""

    def __init__(self, file: Path) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.raw: dict[str, list[str]] = {"script": [], "style": []}
        self.texts: list[str] = []
        self._open: list[str] = []
        self.feed(file.read_text(encoding="utf-8"))
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        self._open.append(tag)
        if tag in self.raw:
            self.raw[tag].append("")

    def handle_endtag(self, tag: str) -> None:
        if tag in self._open:
            while self._open.pop() != tag:
                pass

    def handle_data(self, data: str) -> None:
        if self._open and self._open[-1] in self.raw:
            self.raw[self._open[-1]][-1] += data
        else:
            self.texts.append(data)

    @property
    def text(self) -> str:
        """All that is seen, with single spaces."""
        return " ".join(" ".join(self.texts).split())

    @property
    def data(self) -> dict[str, Any]:
        """What the page's script reads."""
        return json.loads(self.raw["script"][0])

    def find(self, tag: str, **attributes: str) -> list[dict[str, str | None]]:
        """Attributes of the elements that have these."""
        return [
            found for name, found in self.elements
            if name == tag and all(found.get(key) == value for key, value in attributes.items())
        ]  # fmt: skip
