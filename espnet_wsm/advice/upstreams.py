"""The upstreams that ``espnet-wsm suggest`` knows: those of our grids, and others that are worth a run."""

from dataclasses import dataclass

WHISPER_SECONDS = 30  # that Whisper has positions for (docs/upstreams.md)
# By the paper on the second version of ML-SUPERB: CER with 10 minutes and with 1 hour of a language.
ML_SUPERB = {"mms_300m": (33.8, 30.5), "xls_r_300m": (39.7, 30.6)}
ML_SUPERB_SOURCE = "arXiv 2406.06371"


@dataclass(frozen=True)
class Upstream:
    """An upstream that one of our grids was made with.

    Args:
        name: short.
        grid: ``conf/experiments/NAME.yaml``.
        results: folder in ``results/``.
        path: where it is, from the top of the repository.
        most_seconds: longest utterance that it takes; None = any.
        fetched_as: name for ``fetch_upstream``; None if it comes with the project.
    """

    name: str
    grid: str
    results: str
    path: str
    most_seconds: int | None = None
    fetched_as: str | None = None


UPSTREAMS = {
    "whisper_base": Upstream(
        "whisper_base",
        "whisper_base_more",
        "whisper_base_more",
        "upstreams/whisper_base",
        WHISPER_SECONDS,
        "whisper_base",
    ),
    "box": Upstream("hubert_debian_multi", "full", "full", "egs/debian_multi/ssl1/hubert_debian_multi"),
}


@dataclass(frozen=True)
class Alternative:
    """An upstream that we have not measured and that is worth a run where it fits.

    Args:
        name: of ``conf/upstream/NAME.yaml``.
        fetched_as: name for ``fetch_upstream``.
        why: the reason, a clause.
        source: where it comes from.
    """

    name: str
    fetched_as: str
    why: str
    source: str


ALTERNATIVES = (
    Alternative(
        "mms_300m",
        "facebook/mms-300m",
        "has heard 1,406 languages; in ML-SUPERB, with 10 min and 1 h of a language, a CER of "
        "{} and {} against {} and {} of XLS-R 300M".format(*ML_SUPERB["mms_300m"], *ML_SUPERB["xls_r_300m"]),
        ML_SUPERB_SOURCE,
    ),
    Alternative(
        "whisper_small",
        "openai/whisper-small",
        "the next size of Whisper, for languages that it has heard",
        "conf/upstream/whisper_small.yaml",
    ),
)
