"""What a format cannot hold of a recording."""

from collections.abc import Callable, Iterable

from espnet_wsm.annotations.model import Recording, Segment, Span, find_spoken_tiers, to_milliseconds


def _segments(recording: Recording) -> Iterable[Segment]:
    return (segment for tier in recording.tiers for segment in tier.segments)


def _spans(recording: Recording) -> Iterable[Span]:
    for segment in _segments(recording):
        yield segment
        for word in segment.words:
            yield word
            yield from word.characters


def _count_other_tiers(recording: Recording) -> int:
    return len(recording.tiers) - len(find_spoken_tiers(recording))


def _count_fine_times(recording: Recording) -> int:
    def is_fine(seconds: float) -> bool:
        return abs(seconds * 1000 - to_milliseconds(seconds)) > 1e-4

    return sum(is_fine(span.start) or is_fine(span.end) for span in _spans(recording))


# What can be lost -> its words, and how much of it there is in a recording.
FEATURES: dict[str, tuple[str, Callable[[Recording], int]]] = {
    "audio": ("name of the audio", lambda recording: recording.audio is not None),
    "folder": (
        "folder and suffix of the audio's name",
        lambda recording: any(mark in (recording.audio or "") for mark in "/\\."),
    ),
    "duration": ("duration of the audio", lambda recording: recording.duration is not None),
    "language": ("language", lambda recording: recording.language is not None),
    "times": ("times", lambda recording: sum(1 for _ in _segments(recording))),
    "tiers": ("which tier a segment is of", lambda recording: len(find_spoken_tiers(recording)) > 1),
    "other tiers": ("tiers of words or characters beside those of utterances", _count_other_tiers),
    "kinds": (
        "what tiers hold",
        lambda recording: sum(tier.kind != "utterances" for tier in recording.tiers),
    ),
    "speakers": (
        "speakers",
        lambda recording: len(
            {name for tier in recording.tiers for one in tier.segments if (name := tier.speaker_of(one))}
        ),
    ),
    "speakers of segments": (
        "speakers of single segments",
        lambda recording: sum(
            segment.speaker not in (None, tier.speaker)
            for tier in recording.tiers
            for segment in tier.segments
        ),
    ),
    "segments": ("which words are one segment", lambda recording: sum(1 for _ in _segments(recording))),
    "confidences": (
        "confidences",
        lambda recording: sum(span.confidence is not None for span in _spans(recording)),
    ),
    "confidences of segments": (
        "confidences of segments",
        lambda recording: sum(
            segment.confidence is not None and tier.kind == "utterances"
            for tier in recording.tiers
            for segment in tier.segments
        ),
    ),
    "words": (
        "times of words",
        lambda recording: sum(len(segment.words) for segment in _segments(recording)),
    ),
    "characters": (
        "times of characters",
        lambda recording: sum(len(word.characters) for one in _segments(recording) for word in one.words),
    ),
    "empty": ("segments without text", lambda recording: sum(not one.text for one in _segments(recording))),
    "line breaks": (
        "tabs and line breaks in texts",
        lambda recording: sum("\n" in span.text or "\t" in span.text for span in _spans(recording)),
    ),
    "fine times": ("times finer than a millisecond", _count_fine_times),
}


def describe_losses(recording: Recording, features: Iterable[str]) -> list[str]:
    """Which of some features a recording has, each with how many there are where that says something."""
    found = []
    for feature in features:
        words, measure = FEATURES[feature]
        amount = measure(recording)
        if amount:
            found.append(words if isinstance(amount, bool) else f"{words} ({amount})")
    return found
