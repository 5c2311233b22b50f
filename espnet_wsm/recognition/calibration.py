"""From a confidence to the probability of being right, as it was on the validation set."""

import json
from dataclasses import asdict, dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from espnet_wsm.errors import UserError
from espnet_wsm.files import write_text

CALIBRATION = "confidence.json"  # in a folder of stage 4
BINS = 10
FEWEST_WORDS = 50


class Rated(NamedTuple):
    """Words of a set that was not trained on: how sure the model was of each, and whether it was right."""

    confidences: tuple[float, ...]
    right: tuple[bool, ...]


@dataclass(frozen=True)
class Calibration:
    """A function that never falls, given by points between which it is straight.

    Args:
        confidences: of words, rising, from 0 to 1.
        shares: of these words, how many were right.
    """

    confidences: tuple[float, ...]
    shares: tuple[float, ...]

    def __post_init__(self) -> None:
        for values in (self.confidences, self.shares):
            rises = all(low <= high for low, high in pairwise((0.0, *values, 1.0)))  # NaN does not
            if not values or not rises:
                raise UserError("a calibration is two lists of as many numbers, from 0 to 1, that never fall")
        if len(self.confidences) != len(self.shares):
            raise UserError("a calibration has as many shares as confidences")

    def __call__(self, confidence: float) -> float:
        """The probability that a word of this confidence is right."""
        return float(np.interp(confidence, self.confidences, self.shares))


def fit_calibration(words: Rated) -> Calibration:
    """Isotonic regression (Zadrozny and Elkan 2002) by scikit-learn.

    No n words make a word certain: the shares stay between 1 / (n + 2) and its complement.

    Raises:
        UserError: there are fewer than ``FEWEST_WORDS`` words, or all of them are right, or all wrong.
    """
    number, right = len(words.right), sum(words.right)
    if number < FEWEST_WORDS or right in (0, number):
        raise UserError(
            f"{number} words, {right} of them right, do not tell what a confidence is worth: that takes "
            f"{FEWEST_WORDS} and more, right ones and wrong ones"
        )
    from sklearn.isotonic import IsotonicRegression  # takes a second

    least = 1 / (number + 2)
    model = IsotonicRegression(y_min=least, y_max=1 - least)
    model.fit(np.asarray(words.confidences), np.asarray(words.right, dtype=float))
    points = (tuple(map(float, values)) for values in (model.X_thresholds_, model.y_thresholds_))
    return Calibration(*points)


@dataclass(frozen=True)
class Reliability:
    """What the confidences of a set are worth.

    Args:
        words, right: how many.
        auc: probability that a right word has more confidence than a wrong one, ties counted half; None
            without words of both kinds.
        ece: expected calibration error: mean over ten bins of |confidence - share right|, weighted by words.
        ece_calibrated: the same after the calibration; None without one.
    """

    words: int
    right: int
    auc: float | None
    ece: float
    ece_calibrated: float | None = None


def measure_reliability(words: Rated, calibration: Calibration | None = None) -> Reliability:
    """See :class:`Reliability`; there has to be a word."""
    raw, right = np.asarray(words.confidences), np.asarray(words.right, dtype=bool)
    calibrated = None
    if calibration is not None:
        calibrated = find_calibration_error(np.array([calibration(value) for value in raw]), right)
    return Reliability(
        len(raw), int(right.sum()), find_auc(raw, right), find_calibration_error(raw, right), calibrated
    )


def find_auc(confidences: np.ndarray, right: np.ndarray) -> float | None:
    """The area under the receiver operating characteristic, from ranks (Mann and Whitney)."""
    from scipy.stats import rankdata

    positives, negatives = int(right.sum()), int((~right).sum())
    if not positives or not negatives:
        return None
    ranks = rankdata(confidences)
    return float((ranks[right].sum() - positives * (positives + 1) / 2) / (positives * negatives))


def find_calibration_error(confidences: np.ndarray, right: np.ndarray) -> float:
    """Expected calibration error over ``BINS`` bins of equal width."""
    return float(
        sum(
            abs(confidences[bin_].mean() - right[bin_].mean()) * bin_.sum() / len(right)
            for bin_ in split_into_bins(confidences)
        )
    )


def split_into_bins(confidences: np.ndarray) -> list[np.ndarray]:
    """Masks of the bins that are not empty, from the lowest."""
    places = np.minimum((confidences * BINS).astype(int), BINS - 1)
    return [places == place for place in np.unique(places)]


def write_calibration(file: Path, calibration: Calibration | None, about: dict[str, Any]) -> None:
    """Write a JSON file with the calibration, which may be missing, and what else is known ``about`` it."""
    content = {"calibration": None if calibration is None else asdict(calibration), **about}
    write_text(file, json.dumps(content, indent=1).split("\n"))


def read_calibration(file: Path) -> tuple[Calibration | None, dict[str, Any]]:
    """What :func:`write_calibration` wrote.

    Raises:
        UserError: it is damaged.
    """
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
        points = content.pop("calibration")
        if points is not None:
            points = Calibration(*(tuple(map(float, points[name])) for name in ("confidences", "shares")))
    except (OSError, ValueError, TypeError, KeyError, AttributeError, UserError) as error:
        raise UserError(f"{file} is damaged ({error}): run stage 5 again") from None
    return points, content
