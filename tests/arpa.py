"""A bigram in ARPA's format, from counts."""

import itertools
import math
from collections import Counter
from collections.abc import Iterable
from pathlib import Path


def write_arpa(path: Path, sentences: Iterable[str], unknown: bool = True) -> Path:
    """Write a bigram with absolute discounting (0.5) of the sentences' words; ``unknown``: with ``<unk>``."""
    split = [["<s>", *sentence.split(), "</s>"] for sentence in sentences]
    bigrams = Counter(pair for words in split for pair in itertools.pairwise(words))
    unigrams = Counter(word for words in split for word in words[1:])
    starts = Counter(first for first, _ in bigrams.elements())
    total = sum(unigrams.values()) + 1
    lines = [
        "\\data\\",
        f"ngram 1={len(unigrams) + 1 + unknown}",
        f"ngram 2={len(bigrams)}",
        "",
        "\\1-grams:",
    ]
    lines += [f"{-math.log10(total):.6f}\t<unk>"] if unknown else []
    for word in ["<s>", *unigrams]:
        followers = sum(first == word for first, _ in bigrams)
        back_off = f"\t{math.log10(0.5 * followers / starts[word]):.6f}" if followers else ""
        log10 = -99 if word == "<s>" else math.log10(unigrams[word] / total)
        lines.append(f"{log10:.6f}\t{word}{back_off}")
    lines += ["", "\\2-grams:"]
    for (first, second), number in bigrams.items():
        share = (number - 0.5) / starts[first]
        lines.append(f"{math.log10(share):.6f}\t{first} {second}")
    path.write_text("\n".join([*lines, "", "\\end\\", ""]), encoding="utf-8")
    return path
