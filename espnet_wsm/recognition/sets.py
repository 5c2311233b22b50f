"""The audio of a set in batches, for decoding."""

import argparse
import itertools
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
import soundfile
import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from espnet_wsm.errors import UserError

Batches = Iterable[tuple[list[str], dict[str, Tensor]]]


def read_batches(args: argparse.Namespace, train_args: argparse.Namespace) -> Batches:
    """Ids, and ``speech`` (B, N) with ``speech_lengths`` (B,), in the order of the list.

    ESPnet's iterator takes seconds to import. It is left to read what is more than a list of audio files that
    the model takes as they are.

    Args:
        args: the options of ``asr_inference_greedy``.
        train_args: those of the training.

    Raises:
        UserError: an audio file cannot be read.
    """
    if _is_plain(args, train_args):
        ((path, _, _),) = args.data_path_and_name_and_type
        return _read_audio(Path(path), args.batch_size)
    from espnet_wsm.plugin.task import WsmASRTask

    return WsmASRTask.build_streaming_iterator(
        args.data_path_and_name_and_type,
        dtype="float32",
        batch_size=args.batch_size,
        key_file=args.key_file,
        num_workers=args.num_workers,
        preprocess_fn=WsmASRTask.build_preprocess_fn(train_args, False),
        collate_fn=WsmASRTask.build_collate_fn(train_args, False),
        inference=True,
    )


def _is_plain(args: argparse.Namespace, train_args: argparse.Namespace) -> bool:
    (path, *what), *more = args.data_path_and_name_and_type
    train = vars(train_args)
    return (
        not more
        and what == ["speech", "sound"]
        and args.key_file is None
        and args.num_workers == 0
        and not (Path(path).parent / "utt2category").exists()
        and train.get("preprocessor", "default") == "default"
        and not train.get("preprocessor_conf")
        and train.get("speech_volume_normalize") is None
    )


def _read_audio(path: Path, size: int) -> Iterator[tuple[list[str], dict[str, Tensor]]]:
    with path.open(encoding="utf-8") as lines:
        entries = [line.rstrip().split(maxsplit=1) for line in lines]
    for batch in itertools.batched(entries, size):
        speech = [torch.from_numpy(_read(id, audio)) for id, audio in batch]
        lengths = torch.tensor([len(samples) for samples in speech])
        padded = pad_sequence(speech, batch_first=True)
        yield [id for id, _ in batch], {"speech": padded, "speech_lengths": lengths}


def _read(id: str, audio: str) -> np.ndarray:
    try:
        return soundfile.read(audio, dtype="float32")[0]
    except (soundfile.LibsndfileError, OSError) as error:
        raise UserError(f"the audio of {id} cannot be read, {audio}: {error}; run stage 2 again") from error
