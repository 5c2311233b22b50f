"""The lists of ``dump/raw/<set>``: those of a data directory, and ``utt2num_samples``."""

from collections.abc import Iterable
from pathlib import Path

from espnet_wsm.data.kaldi.directory import Utterance, read_data_dir, write_texts
from espnet_wsm.data.kaldi.lists import (
    byte_order,
    count,
    name_some,
    raise_collected,
    read_list,
    write_list,
)
from espnet_wsm.errors import UserError

JOINED = "joined"  # the list of joined utterances: `id ids of the parts`


def write_dump_lists(directory: Path, utterances: list[Utterance], num_samples: dict[str, int]) -> None:
    """Write ``wav.scp``, ``text`` (removed if there are no transcripts), ``utt2spk``, ``spk2utt`` and
    ``utt2num_samples`` to ``directory``, each atomically; other files in it stay."""
    write_list(directory / "wav.scp", {utterance.id: utterance.audio for utterance in utterances})
    write_texts(directory, utterances)
    write_list(directory / "utt2num_samples", {each.id: num_samples[each.id] for each in utterances})


def write_training_lists(directory: Path, utterances: list[Utterance], num_samples: dict[str, int]) -> None:
    """What :func:`write_dump_lists` writes, and ESPnet's ``speech_shape`` (``id samples``)."""
    write_dump_lists(directory, utterances, num_samples)
    write_list(directory / "speech_shape", {each.id: num_samples[each.id] for each in utterances})


def read_num_samples(path: Path, problems: list[str], may_be_empty: bool = False) -> dict[str, int]:
    """Read a list of sample counts; lines without a positive number are appended to ``problems``."""
    counts = {}
    for utterance, entry in read_list(path, problems, may_be_empty).items():
        if entry.value.isdecimal() and int(entry.value) > 0:
            counts[utterance] = int(entry.value)
        else:
            problems.append(
                f"{path}:{entry.line}: id {utterance} has {entry.value!r} instead of a number of samples: "
                "make the dump again"
            )
    return counts


def read_dump(directory: Path, need_text: bool = False) -> tuple[list[Utterance], dict[str, int]]:
    """Utterances of a dump folder (``dump/raw/train``), and the number of samples of each.

    Raises:
        UserError: its lists are faulty or do not belong together.
    """
    utterances = read_data_dir(directory, need_text=need_text)
    problems: list[str] = []
    path = directory / "utt2num_samples"
    num_samples = read_num_samples(path, problems)
    if not problems and (differing := {each.id for each in utterances} ^ num_samples.keys()):
        listed = name_some(sorted(differing, key=byte_order))
        problems.append(
            f"{path}: its ids differ from those of {directory / 'wav.scp'}: {listed}: run stage 2 again"
        )
    raise_collected(problems, directory)
    return utterances, num_samples


def find_recordings(directory: Path) -> dict[str, tuple[Path, str]]:
    """Audio file and text of each utterance of a dump that has both, wherever the command was called.

    Paths in a dump are relative to its recipe's folder.

    Raises:
        UserError: a list is faulty, or no folder above the dump is a recipe's.
    """
    problems: list[str] = []
    files, texts = (read_list(directory / name, problems) for name in ("wav.scp", "text"))
    raise_collected(problems, directory)
    recipe = next((above for above in directory.resolve().parents if (above / "run.sh").exists()), None)
    if recipe is None:
        raise UserError(f"{directory} is in no recipe: no folder above it has a run.sh")
    return {id: (recipe / files[id].value, texts[id].value) for id in sorted(files.keys() & texts.keys())}


def read_dumps(directories: Iterable[Path]) -> tuple[list[Utterance], dict[str, int]]:
    """What :func:`read_dump` gives, of several folders together, whose texts need not be there.

    Raises:
        UserError: a list is faulty, or an id is in two of them.
    """
    utterances: list[Utterance] = []
    num_samples: dict[str, int] = {}
    for directory in directories:
        more, samples = read_dump(directory)
        if shared := sorted(samples.keys() & num_samples.keys(), key=byte_order):
            raise UserError(
                f"{directory / 'wav.scp'}: {count(len(shared), 'id')} already those of other speech to learn "
                f"from: {name_some(shared)}: give the utterances of one data directory other ids, e.g. by "
                "Kaldi's utils/copy_data_dir.sh --utt-prefix, and run stage 2 again"
            )
        utterances += more
        num_samples |= samples
    return utterances, num_samples


def read_joined(directory: Path) -> dict[str, list[str]]:
    """The parts of each joined utterance of a dump folder; empty where nothing was joined.

    Raises:
        UserError: the list is faulty.
    """
    path = directory / JOINED
    if not path.exists():
        return {}
    problems: list[str] = []
    entries = read_list(path, problems, may_be_empty=True)
    raise_collected(problems, directory)
    return {id: entry.value.split(" ") for id, entry in entries.items()}
