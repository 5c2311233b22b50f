"""What a transfer learns from: which utterances, and the pairs of each layer, computed from the cache."""

from collections import ChainMap
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from espnet_wsm.data.dump.batches import make_batches
from espnet_wsm.data.dump.lists import read_dumps, read_num_samples, write_dump_lists
from espnet_wsm.data.features.plan import CacheInput, plan_cache, read_batches
from espnet_wsm.data.features.reader import FeatureReader, check_cache, read_stamps
from espnet_wsm.data.features.writer import ShardWriter
from espnet_wsm.data.kaldi.directory import Utterance
from espnet_wsm.data.kaldi.lists import byte_order, raise_collected
from espnet_wsm.errors import UserError
from espnet_wsm.files import digest_text
from espnet_wsm.frames import SAMPLE_RATE
from espnet_wsm.transfer.folder import CHECKPOINT_FILE, TransferPlan, write_result
from espnet_wsm.transfer.learning import Curve, TransferSettings, learn, list_students
from espnet_wsm.transfer.pairs import PairBatches, compute_pairs, describe_pairs, pad_states
from espnet_wsm.upstream.checkpoint import find_checkpoint
from espnet_wsm.upstream.config import WsmConfig
from espnet_wsm.upstream.heads_record import HEADS_FILE, with_windows
from espnet_wsm.upstream.identity import encode_identity
from espnet_wsm.upstream.stored_cut import describe_key, find_cut, load_suffix, read_cut
from espnet_wsm.upstream.surgery import prepare_suffix

TRAIN, HELD_OUT = "train", "held_out"
HELD_OUT_MINUTES = 5.0
LISTS = "lists"


@dataclass(frozen=True)
class Preparation:
    """Where the pairs of a transfer are.

    Args:
        cut: folder of the stored features.
        pairs: folder of the pairs below it, with a cache for each of ``TRAIN`` and ``HELD_OUT``.
        config: of the encoder, with windows as lists.
        plan: what the transfer depends on.
        chosen: of each part the utterances, without texts, and the number of samples of each id.
    """

    cut: Path
    pairs: Path
    config: WsmConfig
    plan: TransferPlan
    chosen: dict[str, tuple[list[Utterance], dict[str, int]]]


def assign_sets(sets: Sequence[str]) -> dict[str, list[str]]:
    """What each part of a transfer is taken from, of the sets as given to :func:`prepare`."""
    train, held_out, *more = sets
    return {TRAIN: [train, *more], HELD_OUT: [held_out]}


def prepare(
    dump: Path, sets: Sequence[str], config: WsmConfig, dtype: str, settings: TransferSettings
) -> Preparation:
    """Check the stored features, choose the utterances, and say what the transfer depends on.

    No text is read. Of the sets to learn from together, ``settings.minutes`` are taken, of the validation
    set ``HELD_OUT_MINUTES``, in the order of the digests of their ids.

    Args:
        dump: folder of stage 2.
        sets: names of the training and of the validation set, then of others to learn from.
        config: with one of ``espnet_wsm.arms.STUDENTS`` for a mixer.
        dtype: in which features are stored.
        settings: how the blocks are to learn.

    Raises:
        UserError: there are no stored features for this, or they are stale; two sets share an id.
    """
    folder = find_cut(dump / "cache", config, dtype)
    cut = read_cut(folder)
    layers = cut.list_replaced(config)
    if not layers:
        raise UserError(
            "num_replaced is 0: no layer has a block that could learn; --transfer 0 trains without"
        )
    config = with_windows(config, folder / HEADS_FILE, cut.key["upstream digest"], layers)
    pairs = folder / f"pairs_{settings.target}_{'_'.join(map(str, layers))}_{settings.minutes:g}min"
    if len(sets) > 2:  # lists of its own, which do not change under a transfer without these sets
        pairs = pairs.with_name("_".join([pairs.name, *sets[2:]]))
    audio, chosen = {}, {}
    for part, names in assign_sets(sets).items():
        for name in names:
            check_cache(folder / name, describe_key(config), dtype, dump / "raw" / name / "wav.scp")
        utterances, num_samples = read_dumps([dump / "raw" / name for name in names])
        minutes = settings.minutes if part == TRAIN else HELD_OUT_MINUTES
        taken, used = [], 0
        for each in sorted(utterances, key=lambda utterance: digest_text(utterance.id)):
            used += num_samples[each.id]
            if taken and used > minutes * 60 * SAMPLE_RATE:
                break
            taken.append(each)
        stamps = ChainMap(*(read_stamps(folder / name) for name in names))
        audio[part] = digest_text("\n".join(sorted(f"{each.id} {stamps[each.id].digest}" for each in taken)))
        ordered = sorted(taken, key=lambda each: byte_order(each.id))
        chosen[part] = [replace(each, text="") for each in ordered], num_samples
    plan = TransferPlan.make(cut, config, audio, settings, layers)
    return Preparation(folder, pairs, config, plan, chosen)


def plan_pairs(prepared: Preparation, dtype: str, batch_seconds: float) -> list[str]:
    """Write the lists of the chosen utterances and the plan of their pairs; returns a line for each part."""
    for part, (utterances, num_samples) in prepared.chosen.items():
        write_dump_lists(prepared.pairs / LISTS / part, utterances, num_samples)
    cut, plan = read_cut(prepared.cut), prepared.plan
    key = describe_pairs(cut, plan.layers, plan.settings.target, dtype)
    return [
        str(
            plan_cache(
                prepared.pairs / LISTS / part,
                prepared.pairs / part,
                key,
                dtype,
                2 * len(plan.layers) * cut.dim,
                batch_seconds,
            )
        )
        for part in (TRAIN, HELD_OUT)
    ]


def list_jobs(pairs: Path, nj: int, job: int) -> dict[str, list[list[CacheInput]]]:
    """The batches of pairs that a job computes."""
    return {part: read_batches(pairs / part, nj, job) for part in (TRAIN, HELD_OUT)}


def store_pairs(
    prepared: Preparation,
    sets: Sequence[str],
    jobs: dict[str, list[list[CacheInput]]],
    job: int,
    device: torch.device,
    on_batch: Callable[[int], Any],
) -> None:
    """Compute one job's share of the pairs from the stored features.

    Args:
        prepared: where they are and go, planned by :func:`plan_pairs`.
        sets: as given to :func:`prepare`.
        jobs: of :func:`list_jobs`.
        job: number of this job.
        device: where to compute.
        on_batch: called with the number of utterances that were done.
    """
    cut, plan = read_cut(prepared.cut), prepared.plan
    suffix = load_suffix(prepared.cut, cut).to(device)
    places = [layer - cut.num_below - 1 for layer in plan.layers]
    for part, names in assign_sets(sets).items():
        reader = ChainMap(*(FeatureReader(prepared.cut / name / "feats.scp") for name in names))
        stamps = ChainMap(*(read_stamps(prepared.cut / name) for name in names))
        with ShardWriter(prepared.pairs / part, job) as writer:
            for batch in jobs[part]:
                hidden, frames, mask = pad_states([reader[each.id] for each in batch], device)
                came = compute_pairs(suffix, hidden, mask, places, plan.settings.target)
                for each, stored, length in zip(batch, came, frames, strict=True):
                    writer.add(each.id, stored[:length], stamps[each.id])
                on_batch(len(batch))


def learn_pairs(
    prepared: Preparation, folder: Path, device: torch.device, on_step: Callable[[int, Curve], None]
) -> Curve:
    """Build the blocks, let them learn from the stored pairs, and write the result to ``folder``.

    Raises:
        UserError: the pairs are not complete; or see :func:`espnet_wsm.transfer.learning.learn`.
    """
    cut, plan = read_cut(prepared.cut), prepared.plan
    suffix = load_suffix(prepared.cut, cut)
    places = [layer - cut.num_below - 1 for layer in plan.layers]
    torch.manual_seed(plan.settings.seed)
    prepare_suffix(suffix, places, cut.dim, prepared.config)
    students = list_students(suffix.to(device), places, plan.settings.target)
    train, held_out = (
        read_pairs(prepared.pairs, part, plan.settings.frames, len(places)) for part in (TRAIN, HELD_OUT)
    )
    checkpoint = folder / CHECKPOINT_FILE
    curve = learn(
        students,
        train,
        held_out,
        plan.settings,
        plan.layers,
        prepared.config.suffix_dtype,
        device,
        checkpoint,
        on_step,
    )
    identity = encode_identity(find_checkpoint(prepared.config.upstream, prepared.config.trust))
    write_result(folder, identity, suffix, [student.block for student in students], curve)
    return curve


def read_pairs(pairs: Path, part: str, frames: int, count: int) -> PairBatches:
    """The stored pairs in batches of at most ``frames`` padded frames, or of one longer utterance.

    Raises:
        UserError: they are not complete.
    """
    reader = FeatureReader(pairs / part / "feats.scp")
    problems: list[str] = []
    lengths = read_num_samples(pairs / part / "utt2num_frames", problems)  # of frames here
    raise_collected(problems, pairs / part)
    ids = sorted(lengths, key=lambda id: (lengths[id], byte_order(id)))
    return PairBatches(reader, list(make_batches(ids, lengths.__getitem__, frames)), count)
