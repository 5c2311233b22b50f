"""Recordings that hypothesis draws: what each format holds, with texts that look like markup."""

from hypothesis import strategies as st

from espnet_wsm.annotations import Character, Recording, Segment, Tier, Word, from_milliseconds

MARKS = (
    "a", "Straße", "<b>", "</i>", "<v Anna>", "<unk>", "&", "&amp;", "&#13;", '"', '""', "'", "{\\an8}",
    "\\", "\\t",
    "-->", "]]>", "<!--", ";;", "a;b", "item [1]:", '"IntervalTier"', "xmin = 3", "!", "%", "5", "1:2",
    "نص", "\u202bab\u202c", "e\u0301", "\u0301", "क्षि", "日本語", "\u00a0", "\u2028", "\u0085",
    "😀", "NOTE", "WEBVTT",
)  # fmt: skip
WORDS = st.lists(st.sampled_from(MARKS), min_size=1, max_size=3).map(lambda marks: "".join(marks))
LINES = st.lists(WORDS, min_size=1, max_size=3).map(" ".join)
TEXTS = st.lists(st.one_of(WORDS, st.sampled_from(" \t\n")), max_size=5).map("".join)
NOTHING = st.none()
CONFIDENCES = st.one_of(st.none(), st.integers(0, 1000).map(from_milliseconds))
NAMES = st.sampled_from(("anna", "Ö & <o>", 'say "a"', "نص", "a  b", "1"))


@st.composite
def draw_rows(draw, limits=(0, 20_000), min_size=1, max_size=4):
    """Pairs of milliseconds, in order, without overlap and each with a length."""
    low, high = limits
    size = draw(st.integers(min(min_size, (high - low) // 2), min(max_size, (high - low) // 2)))
    if not size:
        return []
    marks = draw(st.lists(st.integers(low, high), min_size=2 * size, max_size=2 * size, unique=True))
    marks.sort()
    return list(zip(marks[::2], marks[1::2], strict=True))


def _times(row):
    return tuple(map(from_milliseconds, row))


@st.composite
def draw_words(draw, limits, texts, confidences):
    words = []
    for row in draw(draw_rows(limits, min_size=0, max_size=3)):
        characters = [
            Character(*_times(part), draw(texts), draw(confidences))
            for part in draw(draw_rows(row, min_size=0, max_size=2))
        ]
        words.append(Word(*_times(row), draw(texts), draw(confidences), tuple(characters)))
    return tuple(words)


@st.composite
def draw_tiers(
    draw, texts, confidences=NOTHING, words=False, speakers=NOTHING, kind="utterances", names=NAMES
):
    """Tiers of unlike names; ``texts`` are of segments, and of words if there shall be any."""
    tiers = []
    for name in draw(st.lists(names, min_size=1, max_size=3, unique=True)):
        segments = [
            Segment(
                *_times(row),
                draw(texts),
                draw(confidences),
                words=draw(draw_words(row, texts, confidences)) if words else (),
            )
            for row in draw(draw_rows())
        ]
        tiers.append(Tier(name, tuple(segments), kind, draw(speakers)))
    return tuple(tiers)


@st.composite
def draw_everything(draw):
    """What only JSON holds: times as fine as they come, overlaps, no lengths, speakers of single segments."""
    seconds = st.floats(0, 1e6)
    segments = []
    for _ in range(draw(st.integers(0, 3))):
        start, end = sorted((draw(seconds), draw(seconds)))
        words = tuple(
            Word(start, end, draw(TEXTS), draw(st.one_of(st.none(), st.floats(0, 1)))) for _ in "ab"
        )
        segments.append(
            Segment(start, end, draw(TEXTS), draw(st.floats(0, 1)), draw(st.one_of(st.none(), NAMES)), words)
        )
    segments.sort(key=lambda segment: segment.start)
    tiers = draw(draw_tiers(TEXTS, CONFIDENCES, True, st.one_of(st.none(), NAMES)))
    tiers += (Tier("all", tuple(segments), draw(st.sampled_from(("words", "characters")))),)
    return Recording("a/b c.wav", tiers, draw(seconds), draw(st.one_of(st.none(), NAMES)))


def name_tiers_by_speakers(tiers):
    """The tiers as formats give them that know speakers and no tiers."""
    return tuple(Tier(tier.name, tier.segments, tier.kind, tier.name) for tier in tiers)
