"""Unlabelled speech: the training sets of the other recipes, and prompts.

All of it comes from Debian packages; the prompts have no texts.
No audio of any recipe's development or test set is used. A fiftieth of the utterances is held out to monitor
the pre-training.
"""

import json
import shutil
import sys
from collections import defaultdict
from dataclasses import dataclass, replace
from pathlib import Path

import soundfile
from tqdm import tqdm

from espnet_wsm.data.corpora import asterisk, festvox_ru, fillets
from espnet_wsm.data.corpora.debian import Package, locate_package
from espnet_wsm.data.corpora.trees import list_files
from espnet_wsm.data.kaldi.directory import Utterance, read_data_dir, write_data_dir
from espnet_wsm.errors import UserError
from espnet_wsm.files import digest_text, write_text

VALID_SHARE = 50  # one in this many utterances is held out
PREPARE = {"asterisk": asterisk.prepare, "festvox_ru": festvox_ru.prepare, "fillets": fillets.prepare}
GSM = {"format": "RAW", "subtype": "GSM610", "samplerate": 8000, "channels": 1}


@dataclass(frozen=True)
class Source:
    """One voice or game: where it comes from, and under which licence.

    Args:
        language: ISO 639-1 code.
        licence: its SPDX name, or its name in Debian's copyright file.
        holder: holder of the copyright, who has to be named.
        recipe: the recipe whose training set it is, e.g. ``asterisk``; empty for prompts without texts.
        package: the Debian package; for a recipe, the one named in the model card.
        folder: folder of the prompts in the package.
        size: size of the download of prompts.
    """

    language: str
    licence: str
    holder: str
    package: str
    recipe: str = ""
    folder: str = ""
    size: str = ""


def _core_sounds(language: str, licence: str, holder: str) -> Source:
    return Source(language, licence, holder, f"asterisk-core-sounds-{language}-g722", "asterisk")


# Licences and holders are those in usr/share/doc/PACKAGE/copyright.
SOURCES = {
    "asterisk_en": _core_sounds("en", "CC-BY-SA-3.0", "2003-2010 Allison Smith"),
    "asterisk_es": _core_sounds("es", "CC-BY-SA-3.0", "2003-2010 Allison Smith"),
    "asterisk_fr": _core_sounds("fr", "CC-BY-SA-3.0", "2006-2008 June Wallack"),
    "asterisk_it": _core_sounds("it", "CC-BY-3.0", "2012 Carlo Flora, www.segreterietelefoniche.it"),
    "asterisk_ru": _core_sounds("ru", "CC-BY-3.0", "2010 Maxim Topal, www.ivrvoice.ru"),
    "festvox_ru": Source("ru", "BSD-like", "2005 Nickolay V. Shmyrev", "festvox-ru", "festvox_ru"),
    "armelle_fr": Source(
        "fr",
        "BSD-2-Clause with a clause against endorsement",
        "2006 Michel Gutierrez; voice of Armelle Desjardins",
        "asterisk-prompt-fr-armelle",
        folder="usr/share/asterisk/sounds/fr",
        size="1.5 MB",
    ),
    "menardi_it": Source(
        "it",
        "CC-BY-SA-3.0-IT",
        "2006-2011 Marco Menardi and Paola Dal Zot, www.voip.ammdomus.it",
        "asterisk-prompt-it-menardi-wav",
        folder="usr/share/asterisk/sounds/it_IT_f_Menardi",
        size="19 MB",
    ),
    "avatar_es": Source(
        "es",
        "GPL-2.0-only",
        "Avatar Ltda. and July E. Jimenez",
        "asterisk-prompt-es-co",
        folder="usr/share/asterisk/sounds/es",
        size="1 MB",
    ),
    "fillets_cs": Source("cs", "GPL-2.0-only", "ALTAR interactive", "fillets-ng-data-cs", "fillets"),
    "fillets_nl": Source("nl", "GPL-2.0-only", "ALTAR interactive", "fillets-ng-data-nl", "fillets"),
}


def read_training_set(name: str, source: Source, downloads: Path, out: Path) -> list[Utterance]:
    """The training set as the recipe makes it, in ``out``."""
    several = {} if source.recipe == name else {"lang": source.language}
    try:
        print("\n".join(PREPARE[source.recipe](downloads=downloads, out=out, **several)))
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        raise UserError(f"{name}: {source.recipe}/asr1/local/data.py failed (see above)") from error
    return read_data_dir(out / "train")


def read_prompts(name: str, source: Source, downloads: Path, out: Path) -> list[Utterance]:
    """All prompts of a package except its silences, as wav files in ``out``."""
    package = Package(source.package, f"{source.folder}/*", source.size)
    folder = locate_package(package, downloads) / source.folder
    (out / "wav").mkdir(parents=True, exist_ok=True)
    utterances = []
    for path in tqdm(list_files(folder, "**/*.*"), desc=f"decode {name}", unit="file"):
        key = path.relative_to(folder).with_suffix("").as_posix().replace("/", ".")
        if path.suffix not in (".gsm", ".wav") or "silence" in key:
            continue
        samples, rate = soundfile.read(path, dtype="int16", **(GSM if path.suffix == ".gsm" else {}))
        if not len(samples):
            print(f"{name}: {path} is empty, left out")
            continue
        uid = f"{name}-{key}"
        soundfile.write(out / "wav" / f"{uid}.wav", samples, rate, subtype="PCM_16")
        utterances.append(Utterance(uid, f"{out}/wav/{uid}.wav", key, name))
    return utterances


def is_held_out(utterance: Utterance) -> bool:
    """Whether an utterance is held out, according to the digest of its id."""
    return int(digest_text(utterance.id)[:8], 16) % VALID_SHARE == 0


def prepare(sources: str, downloads: Path, out: Path) -> list[str]:
    """Write ``out/{train,valid}`` and ``out/sources.json``; returns a summary.

    Args:
        sources: names of voices, separated by spaces.
        downloads: folder with the unpacked packages; missing ones are downloaded to it.
        out: folder to write.
    """
    names = sources.split()
    if unknown := [name for name in names if name not in SOURCES]:
        raise UserError(f"--sources: {unknown[0]!r} is none of {', '.join(SOURCES)}")
    if not names or len(set(names)) < len(names):
        raise UserError(f"--sources {sources!r}: name at least one, and each once")
    splits: dict[str, list[Utterance]] = {"train": [], "valid": []}
    minutes: dict[str, float] = defaultdict(float)
    for name in names:
        source = SOURCES[name]
        folder = out / "sources" / name
        shutil.rmtree(folder, ignore_errors=True)
        read = read_training_set if source.recipe else read_prompts
        for utterance in read(name, source, downloads, folder):
            # No texts are needed, but a directory without them could not be told from a damaged one.
            splits["valid" if is_held_out(utterance) else "train"].append(replace(utterance, text="-"))
            minutes[name] += soundfile.info(str(utterance.audio)).duration / 60
    for split, utterances in splits.items():
        if not utterances:
            raise UserError(f"--sources {sources}: too little to hold anything out; name more sources")
        write_data_dir(out / split, utterances)
    record = {name: {**vars(SOURCES[name]), "minutes": round(minutes[name], 1)} for name in names}
    write_text(out / "sources.json", json.dumps(record, indent=2, ensure_ascii=False).split("\n"))
    return [
        *(f"{split}: {len(utterances)} utterances" for split, utterances in splits.items()),
        *(f"{name}: {minutes[name]:.1f} minutes" for name in names),
        f"all sources: {sum(minutes.values()) / 60:.2f} hours",
    ]
