"""Run SCTK's sc_stats on two systems: NIST's own MAPSSWE, to check ours against.

It is given numbers in place of words and ids, because its input format does not allow quotation marks, colons
or commas in words.
"""

import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from espnet_wsm.files import write_text
from espnet_wsm.scoring.sclite import find_sclite, run_program
from espnet_wsm.scoring.trn import TextPair, write_trns

NOT_FOUND = "sc_stats not found; install Debian's sctk (`apt-get install sctk`) or put SCTK's bin on the PATH"


@dataclass(frozen=True)
class ScStats:
    """The result of sc_stats for systems A and B, as rounded by it; ``p`` as printed: ``0.131``, ``<0.001``.

    ``differs`` is its verdict at 95 %. It looks up p with z truncated to two decimals, so p may be 0.008 too
    large.
    """

    segments: int
    mean: float
    deviation: float
    z: float
    differs: bool
    p: str


def find_sc_stats() -> list[str] | None:
    """The command that starts sc_stats: the one beside sclite, else on PATH; None if there is none."""
    sclite = find_sclite()
    if sclite is None:
        return None
    if len(sclite) > 1:  # Debian's `sctk` starts both
        return [*sclite[:-1], "sc_stats"]
    path = shutil.which(Path(sclite[0]).with_name("sc_stats")) or shutil.which("sc_stats")
    return [os.path.abspath(path)] if path else None


def run_sc_stats(
    pairs_a: Sequence[TextPair], pairs_b: Sequence[TextPair], timeout: float = 600
) -> tuple[ScStats | None, str | None]:
    """MAPSSWE of two systems by ``sclite -o sgml`` and ``sc_stats``: the result, or why there is none.

    Args:
        pairs_a: Reference and hypothesis of A.
        pairs_b: The same utterances in the same order, with the hypotheses of B.
        timeout: Time limit in seconds for each of the four calls of a program.
    """
    sclite, sc_stats = find_sclite(), find_sc_stats()
    if sclite is None or sc_stats is None:
        return None, NOT_FOUND
    try:
        with tempfile.TemporaryDirectory(prefix="sc_stats.") as name:
            return _compare(sclite, sc_stats, Path(name), pairs_a, pairs_b, timeout)
    except subprocess.TimeoutExpired as error:
        return None, f"sc_stats did not finish within {error.timeout:g} s"
    except (OSError, subprocess.CalledProcessError) as error:
        # It reads beyond an empty list if no segment has an error.
        return None, f"sc_stats failed: {error}"


def _compare(
    sclite: list[str],
    sc_stats: list[str],
    directory: Path,
    pairs_a: Sequence[TextPair],
    pairs_b: Sequence[TextPair],
    timeout: float,
) -> tuple[ScStats | None, str | None]:
    codes: dict[str, str] = {}

    def encode(tokens: Sequence[str]) -> tuple[str, ...]:
        return tuple(codes.setdefault(token, f"w{len(codes)}") for token in tokens)

    alignments = ""
    for name, pairs in (("A", pairs_a), ("B", pairs_b)):
        numbered = (
            replace(
                pair,
                id=f"u{index}",
                speaker="s",
                reference=encode(pair.reference),
                hypothesis=encode(pair.hypothesis),
            )
            for index, pair in enumerate(pairs)
        )
        write_trns(directory / name, numbered)
        texts = ["-r", f"{name}/ref.trn", "trn", "-h", f"{name}/hyp.trn", "trn", name]
        alignments += _call([*sclite, *texts, "-i", "rm", "-s", "-o", "sgml", "stdout"], directory, timeout)
    write_text(directory / "alignments.sgml", alignments.removesuffix("\n").split("\n"))
    test = [*sc_stats, "-p", "-t", "mapsswe", "-n", "-"]
    # -v prints z but not p, -u prints p but not z.
    detailed, unified = (
        _call([*test, option], directory, timeout, directory / "alignments.sgml") for option in ("-v", "-u")
    )
    figures = re.search(
        r"# segs: (\d+)\).*\(mean: *(\S+)\) \(std dev: *(\S+)\) \(Z Stat: *(\S+)\) \(Stat Diff: (\w+)\)",
        detailed,
    )
    p = re.search(r"^\| +MP +\|\| +A +\| +\| +\S+ +(<?[0-9.]+) ", unified, re.MULTILINE)
    sentences = re.search(r"Number of Sentences +(\d+)", detailed)
    if not (figures and p and sentences) or int(sentences[1]) != len(pairs_a):
        return None, "sc_stats printed something else than its report on all utterances"
    segments, mean, deviation, z, differs = figures.groups()
    return ScStats(int(segments), float(mean), float(deviation), float(z), differs == "Yes", p[1]), None


def _call(command: Sequence[str], directory: Path, timeout: float, stdin: Path | None = None) -> str:
    status, stdout, stderr = run_program(command, directory, timeout, stdin)
    if status != 0:
        raise subprocess.CalledProcessError(status, command[0], stdout, stderr)
    return stdout
