"""XML with line and place of each element, read by expat; document types, and so entities, are refused.

A document can define an entity by others, so that a few lines unfold to gigabytes, or name files of the
reader's machine. Both need a document type, which the formats here do without: the first one ends the
reading. With places in the bytes, something can be inserted into a document without writing the rest anew.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from xml.parsers import expat

from espnet_wsm.annotations.text_files import BYTE_ORDER_MARKS, decode, read_bytes
from espnet_wsm.errors import UserError

_TAG = re.compile(rb"""<(?:[^>"']|"[^"]*"|'[^']*')*>""")
_DECLARED = re.compile(r"""\s*<\?xml[^>]*?encoding\s*=\s*["']([A-Za-z0-9._-]+)["']""")


@dataclass
class Element:
    """An element: places are bytes of the document in UTF-8.

    ``start`` to ``end`` is the whole element; ``inner_start`` is where its start tag has ended,
    ``inner_end`` where its end tag begins, None for ``<NAME/>``.
    """

    name: str
    attributes: dict[str, str]
    line: int
    start: int
    end: int = 0
    inner_start: int = 0
    inner_end: int | None = None
    text: str = ""
    children: list["Element"] = field(default_factory=list)

    def find_all(self, name: str) -> list["Element"]:
        """The children of that name."""
        return [child for child in self.children if child.name == name]

    def walk(self) -> Iterator["Element"]:
        """This element and all below it, in no order that matters."""
        waiting = [self]
        while waiting:
            element = waiting.pop()
            yield element
            waiting += element.children


@dataclass(frozen=True)
class Document:
    """A document: its root, its content in UTF-8 without a byte order mark, and how it was encoded."""

    root: Element
    content: bytes
    encoding: str
    mark: bytes

    def encode(self, content: bytes) -> bytes:
        """Content in UTF-8 as this document is encoded; what that cannot hold as character references."""
        return self.mark + content.decode("utf-8").encode(self.encoding, "xmlcharrefreplace")


def read_document(path: Path) -> Document:
    """Read a document in any encoding that it declares.

    Raises:
        UserError: the file cannot be read; it is not well-formed; it has a document type.
    """
    data = read_bytes(path)
    mark, encoding = next((pair for pair in BYTE_ORDER_MARKS if data.startswith(pair[0])), (b"", None))
    if encoding is None:
        declared = _DECLARED.match(data[:200].decode("latin-1"))
        encoding = declared[1] if declared else "utf-8"
    content = decode(path, data, encoding).encode("utf-8")
    return Document(_Reader(path, content).read(), content, encoding, mark)


class _Reader:
    def __init__(self, path: Path, content: bytes):
        self.path, self.content = path, content
        self.open: list[Element] = []
        self.root: Element | None = None
        # The encoding given here stands before the declared one.
        self.parser = expat.ParserCreate("utf-8")
        self.parser.buffer_text = True
        self.parser.StartElementHandler = self._start
        self.parser.EndElementHandler = self._end
        self.parser.CharacterDataHandler = self._add_text
        self.parser.StartDoctypeDeclHandler = self._refuse_document_type

    def read(self) -> Element:
        try:
            self.parser.Parse(self.content, True)
        except expat.ExpatError as error:
            raise UserError(
                f"{self.path}, line {error.lineno}: is not well-formed XML "
                f"({expat.ErrorString(error.code)}): open and save it in the program that it is of, or get "
                "it again"
            ) from None
        assert self.root is not None  # expat wants one
        return self.root

    def _start(self, name: str, attributes: dict[str, str]) -> None:
        element = Element(name, attributes, self.parser.CurrentLineNumber, self.parser.CurrentByteIndex)
        if self.open:
            self.open[-1].children.append(element)
        else:
            self.root = element
        self.open.append(element)

    def _end(self, name: str) -> None:
        element = self.open.pop()
        tag = _TAG.match(self.content, element.start)
        assert tag is not None
        element.inner_start = tag.end()
        if tag[0].endswith(b"/>"):
            element.end = tag.end()
        else:
            element.inner_end = self.parser.CurrentByteIndex
            element.end = self.content.index(b">", element.inner_end) + 1

    def _add_text(self, text: str) -> None:
        self.open[-1].text += text

    def _refuse_document_type(self, *_) -> None:
        raise UserError(
            f"{self.path}, line {self.parser.CurrentLineNumber}: has a document type (<!DOCTYPE>), by which "
            "files can read others or grow without bounds: if you trust it, save it anew in the program "
            "that it is of"
        )


def escape_text(text: str) -> str:
    """A text as the content of an element."""
    for char, reference in (("&", "&amp;"), ("<", "&lt;"), (">", "&gt;")):
        text = text.replace(char, reference)
    return text


def show_tag(name: str, attributes: dict[str, str | None], close: bool = False) -> str:
    """A start tag, or an empty element if ``close``; attributes that are None are left out."""
    shown = []
    for key, value in attributes.items():
        if value is not None:
            value = escape_text(value).replace('"', "&quot;").replace("\n", "&#10;").replace("\t", "&#9;")
            shown.append(f' {key}="{value}"')
    return f"<{name}{''.join(shown)}{'/' if close else ''}>"
