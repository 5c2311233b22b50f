"""Run SCTK's sclite safely and read its counts.

sclite silently gives wrong counts for some texts: ``{ a / b }`` is an alternation, ``;`` ends a word, ``\\``
and ``@`` vanish, ``a*`` equals ``a``, and a parenthesis in an id turns part of the id into a word. Therefore
it is given copies in which these characters are private-use code points, the same on both sides, and its
counts are checked per utterance against the lengths of both texts.
"""

import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Sequence
from dataclasses import replace
from itertools import chain
from pathlib import Path

from espnet_wsm.files import write_text
from espnet_wsm.scoring.python_scorer import Counts, ScorerResult
from espnet_wsm.scoring.trn import TextPair, write_trns

DEBIAN_SCLITE = "/usr/lib/sctk/bin/sclite"  # Debian's package keeps it off the PATH, behind `sctk sclite`
NOT_FOUND = "sclite not found; install Debian's sctk (`apt-get install sctk`) or put SCTK's bin on the PATH"
SPECIAL = "{}();\\@*/\0"
# sclite 2.10 never returns from a token of 993 bytes or more (its buffers hold about 1000).
MAX_TOKEN_BYTES = 900


class ScliteError(RuntimeError):
    """sclite ran, but its counts do not match the text it was given."""


def find_sclite() -> list[str] | None:
    """The command that starts sclite, None if there is none.

    It is looked for on PATH, beside this Python (where tools/setup.sh puts it), where Debian has it, and as
    ``sctk sclite``.
    """
    beside = Path(sys.executable).with_name("sclite")
    if path := shutil.which("sclite") or shutil.which(beside) or shutil.which(DEBIAN_SCLITE):
        return [os.path.abspath(path)]
    if path := shutil.which("sctk"):
        return [os.path.abspath(path), "sclite"]
    return None


def read_sclite_version(command: Sequence[str]) -> str | None:
    """E.g. ``2.10 (SCTK 1.3)``, None if ``command`` does not say; sclite prints it above its usage."""
    _, stdout, stderr = run_program(command, Path.cwd(), timeout=10)
    match = re.search(r"sclite Version: (\S+), SCTK Version: (\S+)", stdout + stderr)
    return f"{match[1]} (SCTK {match[2]})" if match else None


def make_escapes(texts: Iterable[str]) -> dict[int, int]:
    """Table for ``str.translate``, special characters -> private-use code points not in ``texts``."""
    used = {ord(char) for text in texts for char in text}
    free = (code for code in chain(range(0xE000, 0xF900), range(0xF0000, 0xFFFFE)) if code not in used)
    return dict(zip(map(ord, SPECIAL), free, strict=False))


def parse_result(text: str) -> dict[str, Counts]:
    """Per-utterance counts from the ``id:`` and ``Scores:`` lines of a result.txt, keyed ``speaker-id``."""
    lines = re.findall(r"^id: \((.*)\)\nScores: \(#C #S #D #I\) (\d+) (\d+) (\d+) (\d+)$", text, re.MULTILINE)
    return {key: Counts.of_utterance(*map(int, numbers)) for key, *numbers in lines}


def run_sclite(pairs: Sequence[TextPair], result: Path, timeout: float = 600) -> ScorerResult:
    """Score ``pairs`` with ``sclite -s -i rm -o all stdout`` and write its report to ``result``, atomically.

    The report shows the original characters. If sclite cannot be used (not installed, a token too long for
    it, two utterances with the same ``speaker-id``, more than ``timeout`` seconds, a crash), there is no
    report, and the result holds the reason instead of counts.

    Raises:
        ScliteError: sclite scored other utterances, or other numbers of tokens, than it was given.
    """
    result.unlink(missing_ok=True)
    command = find_sclite()
    if command is None:
        return ScorerResult(None, None, NOT_FOUND)
    version = None
    try:
        version = read_sclite_version(command)
        if reason := _find_obstacle(pairs):
            return ScorerResult(None, version, reason)
        report = _score(command, pairs, timeout)
    except subprocess.TimeoutExpired as error:
        return ScorerResult(None, version, f"sclite did not finish within {error.timeout:g} s")
    except (OSError, subprocess.CalledProcessError) as error:
        return ScorerResult(None, version, f"sclite failed: {error}")
    counts = _check_counts(parse_result(report), pairs)
    write_text(result, report.removesuffix("\n").split("\n"))
    return ScorerResult(counts, version)


def _find_obstacle(pairs: Sequence[TextPair]) -> str | None:
    """Why sclite must not be given ``pairs``, None if it may. An escaped character takes at most 4 bytes."""
    keys = set()
    for pair in pairs:
        key = f"{pair.speaker}-{pair.id}"
        if key in keys:
            return f"two utterances share sclite's id {key} (speaker-id)"
        keys.add(key)
        for token in (key, *pair.reference, *pair.hypothesis):
            size = len(token.encode()) + 3 * sum(map(token.count, SPECIAL))
            if size > MAX_TOKEN_BYTES:
                return (
                    f"utterance {pair.id} has a word or id of {size} bytes ({token[:20]}...), and sclite "
                    f"hangs on such words; the limit is {MAX_TOKEN_BYTES}"
                )
    return None


def _score(command: Sequence[str], pairs: Sequence[TextPair], timeout: float) -> str:
    """sclite's report on escaped copies of ``pairs``, with the original characters restored."""
    escapes = make_escapes(chain.from_iterable((p.id, p.speaker, *p.reference, *p.hypothesis) for p in pairs))

    def escape(tokens: Iterable[str]) -> tuple[str, ...]:
        return tuple(token.translate(escapes) for token in tokens)

    copies = [
        replace(
            pair,
            id=pair.id.translate(escapes),
            speaker=pair.speaker.translate(escapes),
            reference=escape(pair.reference),
            hypothesis=escape(pair.hypothesis),
        )
        for pair in pairs
    ]
    with tempfile.TemporaryDirectory(prefix="sclite.") as directory:
        write_trns(Path(directory), copies)
        options = ["-r", "ref.trn", "trn", "-h", "hyp.trn", "trn", "-i", "rm", "-s", "-o", "all", "stdout"]
        status, stdout, stderr = run_program([*command, *options], Path(directory), timeout)
    if status != 0:
        raise subprocess.CalledProcessError(status, command[-1], stdout, stderr)
    return stdout.translate({code: special for special, code in escapes.items()})


def run_program(
    command: Sequence[str], directory: Path, timeout: float, stdin: Path | None = None
) -> tuple[int, str, str]:
    """Exit status, stdout and stderr of ``command`` run in ``directory``, with the file ``stdin`` or none.

    Raises:
        subprocess.TimeoutExpired: it took more than ``timeout`` seconds, and was killed with its children.
    """
    with (
        open(stdin or os.devnull, "rb") as source,
        subprocess.Popen(
            command,
            cwd=directory,
            env={**os.environ, "LC_ALL": "C"},
            stdin=source,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            encoding="utf-8",
            errors="replace",
            start_new_session=True,
        ) as process,
    ):
        try:
            stdout, stderr = process.communicate(timeout=timeout)
        except BaseException:
            # The whole group: `sctk` is a shell script, and killing only the script would leave sclite
            # hanging.
            os.killpg(process.pid, signal.SIGKILL)
            raise
    return process.returncode, stdout, stderr


def _check_counts(scores: dict[str, Counts], pairs: Sequence[TextPair]) -> Counts:
    """The total of ``scores``, after checking that each pair is there with the same numbers of tokens."""
    given = {f"{pair.speaker}-{pair.id}": pair for pair in pairs}
    if scores.keys() != given.keys():
        odd = min(scores.keys() ^ given.keys())
        raise ScliteError(
            f"sclite scored {len(scores)} of {len(given)} utterances, the first that differs: {odd}"
        )
    for key, pair in given.items():
        counts = scores[key]
        seen = counts.words, counts.correct + counts.substitutions + counts.insertions
        if seen != (len(pair.reference), len(pair.hypothesis)):
            raise ScliteError(
                f"sclite read {seen[0]} reference and {seen[1]} hypothesis words of {key}, which has "
                f"{len(pair.reference)} and {len(pair.hypothesis)}"
            )
    return sum(scores.values(), Counts())
