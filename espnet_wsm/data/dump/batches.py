"""Batches of utterances of similar length, which waste little on padding."""

import itertools
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from espnet_wsm.data.dump.lists import read_dump
from espnet_wsm.data.kaldi.lists import byte_order
from espnet_wsm.errors import UserError


def make_batches[T](
    items: Iterable[T], length: Callable[[T], int], limit: float, padded: bool = True
) -> Iterator[list[T]]:
    """Batches of neighbours, each of at most ``limit`` in all, or of one item.

    Args:
        items: sorted by length, so that neighbours are alike.
        length: of an item, e.g. in samples.
        limit: the largest size of a batch.
        padded: whether all items of a batch take the room of its longest; else their lengths add up.
    """
    batch: list[T] = []
    longest = total = 0
    for item in items:
        longest, total = max(longest, length(item)), total + length(item)
        if batch and (longest * (len(batch) + 1) if padded else total) > limit:
            yield batch
            batch, longest, total = [], length(item), length(item)
        batch.append(item)
    if batch:
        yield batch


def check_job(job: int, nj: int) -> None:
    """Raise UserError for the number of a job that is not one of ``nj``."""
    if not 1 <= job <= nj:
        raise UserError(f"--job {job} of --nj {nj}: the job must lie between 1 and the number of jobs")


def take_batches(directory: Path, size: int, nj: int, job: int) -> dict[str, str]:
    """``{id: audio}`` of every ``nj``-th batch of ``size`` utterances of similar length, in order.

    The batches depend only on the set, so the result for an utterance does not depend on ``nj``.

    Raises:
        UserError: a list is faulty, or the lists differ in their ids.
    """
    utterances, num_samples = read_dump(directory)
    utterances.sort(key=lambda each: (num_samples[each.id], byte_order(each.id)))
    batches = itertools.islice(itertools.batched(utterances, size), job - 1, None, nj)
    return {each.id: each.audio for batch in batches for each in batch}
