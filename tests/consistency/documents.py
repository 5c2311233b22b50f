"""What the documents hold, read from their Markdown: blocks, commands, links, headings, messages."""

import ast
import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[2]
DOCUMENTS = [
    ROOT / "README.md",
    ROOT / "CONTRIBUTING.md",
    *sorted((ROOT / "docs").glob("*.md")),
    *sorted((ROOT / "egs").glob("*/*/README.md")),
]
# A span that begins so is a command of this project.
COMMAND = re.compile(
    r"(?:\./)?run\w*\.sh\b|tools/\S+\.(?:sh|py)\b|espnet-wsm\b|mkdocs\b|python (?:-m|tools/|local/)"
)
# Of any system: nothing of this project is in their arguments.
SYSTEM = {"mkdir", "pip", "tar", "wget"}


class Block(NamedTuple):
    """A fenced block."""

    language: str
    text: str


class Command(NamedTuple):
    """A command line as words, and whether it stands in a sentence, where its arguments may be left out."""

    words: tuple[str, ...]
    inline: bool


def read_blocks(markdown: str) -> list[Block]:
    """The fenced blocks, without the indentation of a list that they stand in."""
    fences = re.findall(r"^( *)```(\w*)\n(.*?)^\1```", markdown, re.DOTALL | re.MULTILINE)
    return [Block(language, re.sub(rf"(?m)^{indent}", "", text)) for indent, language, text in fences]


def read_prose(markdown: str) -> str:
    """Everything but the fenced blocks."""
    return re.sub(r"^( *)```.*?^\1```", "", markdown, flags=re.DOTALL | re.MULTILINE)


def split_commands(shell: str) -> Iterator[tuple[str, ...]]:
    """The words of each command of a script, without redirections, comments and the words of loops."""
    for line in shell.replace("\\\n", " ").splitlines():
        lexer = shlex.shlex(line, posix=True, punctuation_chars=";&|<>")
        lexer.whitespace_split = True
        words: list[str] = []
        for word in [*lexer, ";"]:
            if set(word) <= set(";&|"):
                if words[:1] == ["do"]:
                    del words[0]
                if words and words[0] not in ("for", "done"):
                    yield tuple(words)
                words = []
            elif words[-1:] == [">"]:
                words.pop()
            else:
                words.append(word)


def read_scripts(markdown: str) -> list[list[Command]]:
    """Each block of commands as a script, then each command that stands in a sentence as one of its own."""
    blocks = [block.text for block in read_blocks(markdown) if block.language in ("", "bash", "sh")]
    scripts = [[Command(words, False) for words in split_commands(text)] for text in blocks]
    for span in re.findall(r"`([^`\n]+)`", read_prose(markdown)):
        if COMMAND.match(span):
            scripts.append([Command(words, True) for words in split_commands(span)])
    return scripts


def read_links(markdown: str) -> list[str]:
    """The targets of links and images that lead to this repository."""
    return re.findall(r"\]\((?!\w+:)([^)\s]+)\)", read_prose(markdown))


def read_anchors(markdown: str) -> set[str]:
    """What ``#...`` may name: the headings as code hosts spell them."""
    headings = re.findall(r"^#+ +(.+)$", read_prose(markdown), re.MULTILINE)
    plain = (re.sub(r"\[([^]]*)\]\([^)]*\)", r"\1", heading).strip().lower() for heading in headings)
    return {re.sub(r"[^\w\- ]", "", heading).replace(" ", "-") for heading in plain}


def read_messages(markdown: str) -> list[str]:
    """The first cells of tables whose first column is ``message``."""
    tables = re.findall(r"^\| message \|.*\n\|[-| ]+\|\n((?:\|.*\n)+)", markdown, re.MULTILINE)
    return [row.split("`")[1] for table in tables for row in table.splitlines()]


def read_templates() -> list[str]:
    """All texts of the code, with a NUL for what is filled in."""
    templates = []
    for file in (ROOT / "espnet_wsm").rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.JoinedStr):
                parts = [part.value if isinstance(part, ast.Constant) else "\0" for part in node.values]
                templates.append("".join(map(str, parts)))
            elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                templates.append(node.value)
    for folder in ("conf", "egs", "tools"):
        for file in (ROOT / folder).rglob("*.sh"):
            text = file.read_text(encoding="utf-8").replace('" \\\n', " ")
            templates += re.sub(r"\$\((?:[^()]|\([^()]*\))*\)|\$\{[^}]*\}|\$\d", "\0", text).splitlines()
    return templates


def is_in_code(message: str, templates: list[str]) -> bool:
    """Whether one of the texts reads like a message, whose ``…`` stands for anything."""
    parts = message.split("…")
    near = [template for template in templates if all(part in template for part in parts)]
    pattern = re.compile(".*".join(map(re.escape, parts)), re.DOTALL)
    return any(pattern.search(template) for template in near)
