"""Cluster ids as targets of masked prediction, one per 20 ms frame."""

import json
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from tqdm import tqdm

from espnet_wsm.data.dump.lists import read_dump
from espnet_wsm.data.kaldi.lists import write_list
from espnet_wsm.errors import UserError
from espnet_wsm.files import write_text
from espnet_wsm.pretraining.extraction import count_frames, extract_dump
from espnet_wsm.pretraining.features import Extractor

LABELS_FILE = "labels"
SUMMARY_FILE = "targets.json"
# Frames to which k-means is fitted; more take longer and hardly change the clusters.
FIT_FRAMES = 300_000


@dataclass(frozen=True)
class TargetSummary:
    """Statistics of the clusters of a set of utterances.

    ``perplexity`` is the exponential of the entropy of the cluster frequencies, close to ``num_clusters`` if
    all are equally frequent. ``frames_per_run`` is the mean length of a run of one cluster.
    """

    utterances: int
    frames: int
    num_clusters: int
    used_clusters: int
    perplexity: float
    frames_per_run: float

    def __str__(self) -> str:
        return (
            f"{self.utterances} utterances, {self.frames} frames; {self.used_clusters} of "
            f"{self.num_clusters} clusters used, perplexity {self.perplexity:.0f}, "
            f"{self.frames_per_run:.1f} frames a run"
        )


@dataclass(frozen=True)
class _Frames:
    """Features of a set: (N, D) on disk, and the place of each utterance; ``voice`` is its speaker."""

    features: np.ndarray
    spans: dict[str, tuple[int, int]]
    voice: dict[str, str]


def _extract(directory: Path, extract: Extractor, scratch: Path) -> _Frames:
    utterances, num_samples = read_dump(directory)
    total = sum(count_frames(num_samples[utterance.id]) for utterance in utterances)
    features, spans, end = None, {}, 0
    for utterance, frames in extract_dump(directory, extract):
        if features is None:
            shape = (total, frames.shape[1])
            features = np.memmap(scratch / f"{directory.name}.f32", np.float32, "w+", shape=shape)
        features[end : end + len(frames)] = frames.numpy()
        spans[utterance.id] = (end, end + len(frames))
        end += len(frames)
    return _Frames(features, spans, {utterance.id: utterance.speaker for utterance in utterances})


def _standardise_voices(frames: _Frames, num_static: int) -> None:
    """Mean 0 within each voice, and deviation 1 of the static features, in place.

    Differences keep their relative size: scaled up to 1 too, they would mask the static features with noise.
    """
    rows: dict[str, list[tuple[int, int]]] = {}
    for utterance, span in frames.spans.items():
        rows.setdefault(frames.voice[utterance], []).append(span)
    for spans in rows.values():
        index = np.concatenate([np.arange(*span) for span in spans])
        values = frames.features[index]
        deviation = np.maximum(values[:, :num_static].std(0), 1e-5)
        frames.features[index] = (values - values.mean(0)) / np.tile(deviation, values.shape[1] // num_static)


def make_targets(
    train: Path,
    others: list[Path],
    out: Path,
    extract: Extractor,
    num_clusters: int,
    seed: int,
    num_static: int = 0,
    features: str = "",
) -> dict[str, TargetSummary]:
    """Fit k-means on ``train`` and write ``out/SET/labels`` (``id cluster cluster ...``) of all sets.

    Args:
        train: dump folder (``dump/raw/train``) that the clusters are fitted on.
        others: further dump folders to label.
        out: folder for ``SET/labels`` of each set, ``centroids.npy`` (K, D), and finally ``targets.json``.
        extract: computes the features, one vector per frame.
        num_clusters: K.
        seed: seed of the sample for k-means, and of k-means.
        num_static: number of static features; the others are their differences. Features are first
            standardised within each voice, so that clusters distinguish sounds rather than voices. 0: no
            standardisation. Our choice for a handful of voices; HuBERT does not do this.
        features: description of the features, for ``targets.json``.

    Raises:
        UserError: fewer frames than clusters, or lists and audio that do not belong together.
    """
    from sklearn.cluster import MiniBatchKMeans

    out.mkdir(parents=True, exist_ok=True)
    random = np.random.default_rng(seed)
    summaries = {}
    with tempfile.TemporaryDirectory(prefix=".features-", dir=out) as scratch:
        sets = {each.name: _extract(each, extract, Path(scratch)) for each in (train, *others)}
        for frames in sets.values():
            if num_static:
                _standardise_voices(frames, num_static)
        of_train = sets[train.name].features
        if len(of_train) < num_clusters:
            raise UserError(f"{train}: {len(of_train)} frames cannot make {num_clusters} clusters")
        sample = np.sort(random.choice(len(of_train), min(FIT_FRAMES, len(of_train)), replace=False))
        print(f"k-means: {num_clusters} clusters of {len(sample)} frames", flush=True)
        kmeans = MiniBatchKMeans(
            num_clusters, batch_size=10_000, n_init=5, max_iter=100, max_no_improvement=50, random_state=seed
        ).fit(of_train[sample])
        np.save(out / "centroids.npy", kmeans.cluster_centers_)
        for name, frames in sets.items():
            labels = {
                utterance: kmeans.predict(frames.features[first:last])
                for utterance, (first, last) in tqdm(frames.spans.items(), desc=f"label {name}", unit="utt")
            }
            write_list(
                out / name / LABELS_FILE, {key: " ".join(map(str, ids)) for key, ids in labels.items()}
            )
            summaries[name] = _summarise(list(labels.values()), num_clusters)
    record = {"features": features, "seed": seed}
    record |= {name: asdict(of_set) for name, of_set in summaries.items()}
    write_text(out / SUMMARY_FILE, json.dumps(record, indent=2).split("\n"))
    return summaries


def _summarise(labels: list[np.ndarray], num_clusters: int) -> TargetSummary:
    joined = np.concatenate(labels)
    counts = np.bincount(joined, minlength=num_clusters)
    share = counts[counts > 0] / len(joined)
    runs = sum(1 + int((each[1:] != each[:-1]).sum()) for each in labels)
    return TargetSummary(
        utterances=len(labels),
        frames=len(joined),
        num_clusters=num_clusters,
        used_clusters=len(share),
        perplexity=round(float(np.exp(-(share * np.log(share)).sum())), 1),
        frames_per_run=round(len(joined) / runs, 2),
    )
