"""Word n-grams in ARPA or KenLM format, trained by lmplz or given by the user."""

import codecs
import os
import re
import shutil
import subprocess
from collections.abc import Iterable
from pathlib import Path

import kenlm

from espnet_wsm.data.dump.lists import read_joined
from espnet_wsm.data.dump.subset import COPY_PREFIX
from espnet_wsm.data.kaldi.lists import name_some, raise_collected, read_list
from espnet_wsm.data.text.characters import JOINERS, is_sign, remove_lone_marks, remove_signs
from espnet_wsm.data.text.rules import TextRules
from espnet_wsm.errors import UserError
from espnet_wsm.files import refuse_stand_in, write_atomically, write_text

MODEL_SUFFIXES = (".arpa", ".gz", ".bin", ".binary", ".klm")
ARPA_START, KENLM_START = b"\\data\\", b"mmap lm http://kheafield.com/code"
LARGEST_ORDER = 6  # the largest that KenLM is built for
UTF_16_MARKS = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
REMEDY = "name an n-gram of words in ARPA's format (as lmplz or SRILM write it) or KenLM's binary one"


def is_model(path: Path) -> bool:
    """Whether a file is a model rather than a text to train on, according to its name or its first bytes."""
    refuse_stand_in(path)
    with path.open("rb") as file:
        start = file.read(len(KENLM_START) + 100)
    # A mark of the encoding, or UTF-16, makes a model that is refused, but no text.
    start = start.replace(b"\0", b"").lstrip(codecs.BOM_UTF8 + codecs.BOM_UTF16 + b" \t\r\n")
    return path.suffix in MODEL_SUFFIXES or start.startswith((ARPA_START, KENLM_START))


def load_model(path: Path) -> kenlm.Model:
    """Load a word n-gram.

    Raises:
        UserError: there is no such file, or it is not a complete model that KenLM can read.
    """
    if not path.is_file():
        raise UserError(f"{path} does not exist: {REMEDY}")
    if path.suffix == ".gz":
        raise UserError(f"{path} is compressed: unpack it with `gunzip --keep {path}` and name the result")
    _refuse_marks(path)
    _refuse_other_bytes(path)
    config = kenlm.Config()
    config.show_progress = False
    config.arpa_complain = kenlm.ARPALoadComplain.NONE
    try:
        return kenlm.Model(str(path), config)
    except (OSError, RuntimeError, UnicodeDecodeError) as error:
        if missing := re.search(r"missing (</?s>) and", str(error)):
            raise UserError(
                f"{path} has no {missing[1]}, so it does not know where sentences begin or end: train it "
                "again on sentences, one a line, with <s> and </s> (as lmplz does, and SRILM's ngram-count "
                "without -no-sos and -no-eos)"
            ) from None
        reason = re.sub(r"\(\S+:\d+ in .*? threw \w+\.?\s*", "(", " ".join(str(error).split()))
        reason = reason.removeprefix(f"Cannot read model '{path}' ")
        raise UserError(f"{path} cannot be read as a language model {reason}: {REMEDY}") from None


def _refuse_marks(path: Path) -> None:
    """Refuse a model that begins with the mark of an encoding, as editors and Windows programs write it."""
    refuse_stand_in(path)
    with path.open("rb") as file:
        start = file.read(3)
    if start == codecs.BOM_UTF8:
        raise UserError(
            f"{path} begins with a byte order mark, which ARPA's format has not: remove it, e.g. "
            f"`sed -i '1s/^\\xEF\\xBB\\xBF//' {path}`"
        )
    if start.startswith(UTF_16_MARKS):
        raise UserError(
            f"{path} is UTF-16: convert it, e.g. `iconv -f UTF-16 -t UTF-8 {path}`, and name the result"
        )


def _refuse_other_bytes(path: Path) -> None:
    """Refuse a model in ARPA's format whose words are not UTF-8: no transcript would have one of them."""
    with path.open("rb") as file:
        if not file.readline().lstrip().startswith(ARPA_START):
            return
        for number, line in enumerate(file, start=2):
            if line.startswith(b"\\2-grams:"):
                return
            try:
                line.decode()
            except UnicodeDecodeError:
                raise UserError(
                    f"{path} is not UTF-8 at line {number}: convert it, e.g. `iconv -f ISO-8859-1 -t UTF-8 "
                    f"{path}`, and name the result"
                ) from None


def read_training_sentences(text: Path) -> list[str]:
    """The transcripts of a list (``id words``); copies at other speeds count once, joined utterances not.

    Raises:
        UserError: the list is missing, empty or faulty.
    """
    problems: list[str] = []
    entries = read_list(text, problems)
    raise_collected(problems, text)
    joined = read_joined(text.parent)
    unique = {
        (COPY_PREFIX.sub("", id), entry.value): entry.value
        for id, entry in entries.items()
        if id not in joined
    }
    return list(unique.values())


def read_sentences(path: Path) -> list[str]:
    """The lines of a text that hold words.

    Raises:
        UserError: it is not UTF-8, or there are no words.
    """
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except UnicodeDecodeError as error:
        raise UserError(
            f"{path} is not UTF-8 at byte {error.start}: convert it, e.g. `iconv -f ISO-8859-1 -t UTF-8`; "
            f"or if it is meant as a model, {REMEDY}"
        ) from None
    if not (sentences := [line for line in lines if line.strip()]):
        raise UserError(f"{path} is empty: it needs one sentence per line")
    return sentences


class Spelling:
    """The spelling of the training texts, which is applied to other texts.

    First come the rules of stage 2. Then everything is removed that the training texts do not have: upper (or
    lower) case and punctuation marks. Letters and digits that they lack are kept; words with them are useless
    but harmless.

    Args:
        texts: texts of the training set.
        rules: rules by which stage 2 spelt them.
    """

    def __init__(self, texts: Iterable[str], rules: TextRules):
        self.rules = rules
        self.characters = {char for text in texts for char in text}
        self.lower = not any(char.isupper() for char in self.characters)
        self.upper = not any(char.islower() for char in self.characters)

    def apply(self, sentence: str) -> str:
        """``sentence`` in this spelling, its words separated by single spaces."""
        sentence = self.rules.apply(sentence)
        if self.lower != self.upper:  # both are set for a script without case
            sentence = sentence.lower() if self.lower else sentence.upper()
        sentence = "".join(char for char in sentence if char in self.characters or char not in JOINERS)
        sentence = remove_signs(sentence, "", lambda char: char not in self.characters and is_sign(char))
        return " ".join(remove_lone_marks(sentence).split())


def train_model(sentences: Iterable[str], order: int, out: Path) -> Path:
    """Train ``out/lm.arpa`` on sentences with KenLM's lmplz; the text and the log are written beside it.

    The order is from 2 to 6. Smoothing is modified Kneser-Ney, with fixed discounts if the text is too small
    to estimate them.

    Raises:
        UserError: lmplz is not on PATH, or fails.
    """
    if (lmplz := shutil.which("lmplz")) is None:
        raise UserError(
            "lmplz, which trains the language model, is not on PATH: build it from github.com/kpu/kenlm "
            "(cmake, boost), or train elsewhere and name the file, --lm FILE.arpa"
        )
    text, log = out / "text", out / "lmplz.log"
    write_text(text, sentences)

    def write(arpa: Path) -> None:
        command = [lmplz, "--order", str(order), "--text", str(text), "--arpa", str(arpa), "-S", "20%"]
        command += ["-T", f"{out}{os.sep}", "--discount_fallback", "--skip_symbols"]
        with log.open("wb") as file:
            status = subprocess.run(command, stdout=file, stderr=subprocess.STDOUT).returncode
        if status != 0:
            lines = log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
            raise UserError(
                f"{lmplz} made no model of {text} (status {status}): "
                f"{' '.join(lines[-2:]) or 'no message'}; see {log}"
            )

    write_atomically(out / "lm.arpa", write)
    return out / "lm.arpa"


def check_vocabulary(model: kenlm.Model, path: Path, texts: dict[Path, list[str]]) -> list[str]:
    """How many of the words of each text the model knows, one sentence per text.

    Raises:
        UserError: it knows none of them, because its language or spelling is different.
    """
    told, unknown, any_known = [], {}, False
    for text, sentences in texts.items():
        words = [word for sentence in sentences for word in sentence.split()]
        unknown |= dict.fromkeys(word for word in words if word not in model)
        known = sum(word not in unknown for word in words)
        any_known |= known > 0
        share = 100 * known / len(words)
        told.append(f"{path} knows {known} of the {len(words)} words of {text} ({share:.1f} %)")
    if not any_known:
        raise UserError(
            f"{path} knows none of the {len(unknown)} different words of {' and '.join(map(str, texts))} "
            f"({name_some(unknown)}): it is of another language, spells otherwise (capitals, accents), or is "
            "not of words; name one of words as they stand there, or a text to train it on (--lm FILE)"
        )
    return told
