"""Hook of MkDocs: take the files of the repository that pages link to into the site.

A page says ``../conf/train_ctc.yaml`` or ``../egs/asterisk/asr1/README.md``, which leads somewhere on the
disk and on a code host. MkDocs knows the files in docs/ alone, so those that lie outside get a place below
``repository/`` in the site, and links that leave docs/ are turned there. Markdown becomes a page, whose own
links are followed.
"""

import os
import re
from pathlib import Path, PurePosixPath

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).parents[1]
FOLDER = "repository"
# The target of [text](target), ![alt](target); fenced blocks do not hold any.
LINK = re.compile(r"(?<=\]\()(?!\w+:|#)([^)#\s]+)")


def find_linked(page: Path) -> list[Path]:
    """The files that a Markdown file links to, those that are there."""
    targets = LINK.findall(page.read_text(encoding="utf-8"))
    return [file for target in targets if (file := Path(os.path.normpath(page.parent / target))).is_file()]


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add what the pages link to, directly or by way of each other."""
    docs = Path(config.docs_dir)
    pending, seen = sorted(docs.glob("*.md")), set()
    while pending:
        for file in find_linked(pending.pop()):
            if file in seen or file.is_relative_to(docs):
                continue
            seen.add(file)
            place = f"{FOLDER}/{file.relative_to(ROOT).as_posix()}"
            files.append(File.generated(config, place, abs_src_path=str(file)))
            if file.suffix == ".md":
                pending.append(file)
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Turn links so that they lead to where the files are in the site."""
    source = Path(page.file.abs_src_path)
    docs = Path(config.docs_dir)
    here = PurePosixPath(page.file.src_uri).parent

    def turn(match: re.Match[str]) -> str:
        file = Path(os.path.normpath(source.parent / match[1]))
        if not file.is_relative_to(ROOT):
            return match[1]
        inside = file.is_relative_to(docs)
        place = file.relative_to(docs) if inside else Path(FOLDER, file.relative_to(ROOT))
        if files.get_file_from_path(place.as_posix()) is None:
            return match[1]  # MkDocs says so
        return os.path.relpath(place.as_posix(), here)

    return LINK.sub(turn, markdown)
