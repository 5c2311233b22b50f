"""Which tiers are taken where nobody names them."""

import pytest
from field_recordings import make_tier

from espnet_wsm.annotations import Recording
from espnet_wsm.annotations.eaf import TierOutline
from espnet_wsm.data.corpora.tier_choice import TierWish, choose_tiers, describe_tiers
from espnet_wsm.errors import UserError


def choose(tiers, outlines=(), **wish):
    made = Recording(tiers=tuple(tiers))
    outlines = [TierOutline(*each) for each in outlines]
    return [tier.name for tier in choose_tiers(made, outlines, TierWish(**wish) if wish else None)]


TOOLBOX = (
    make_tier("ref@A", (0, 1, "story.001"), (1, 2, "story.002")),
    make_tier("tx@A", (0, 1, "ndi na"), (1, 2, "iwe")),
    make_tier("mb@A", (0, 0.5, "ndi"), (0.5, 1, "na-"), (1, 2, "iwe")),
    make_tier("ft@A", (0, 1, "it is me and that is all"), (1, 2, "and you too, my friend")),
    make_tier("ref@B", (4, 5, "story.003")),
    make_tier("tx@B", (4, 5, "ehe")),
    make_tier("ft@B", (4, 5, "yes, it is as you say")),
)
TOOLBOX_TYPES = (
    ("ref@A", "ref", None), ("tx@A", "tx", "ref@A"), ("mb@A", "mb", "tx@A"), ("ft@A", "ft", "ref@A"),
    ("ref@B", "ref", None), ("tx@B", "tx", "ref@B"), ("ft@B", "ft", "ref@B"),
)  # fmt: skip


def test_the_outermost_type_with_text_is_taken():
    tiers = [make_tier("A", (0, 1, "ndi na")), make_tier("ft", (0, 1, "a long translation of it"))]
    assert choose(tiers, [("A", "utt", None), ("ft", "ft", "A")]) == ["A"]


def test_below_reference_numbers_the_text_is_taken_and_not_its_translation():
    assert choose(TOOLBOX, TOOLBOX_TYPES) == ["tx@A", "tx@B"]
    translated_first = sorted(TOOLBOX, key=lambda tier: not tier.name.startswith("ft"))
    assert choose(translated_first, TOOLBOX_TYPES) == ["tx@A", "tx@B"]
    without_words = [
        (tier, outline)
        for tier, outline in zip(TOOLBOX, TOOLBOX_TYPES, strict=True)
        if "mb" not in outline[1]
    ]
    assert choose(*zip(*without_words, strict=True)) == ["tx@A", "tx@B"]


def test_of_one_speech_in_several_layers_the_first_and_coarsest_is_taken():
    sentences = make_tier("sentences", (0, 2, "ndi na iwe"), (3, 4, "ehe"))
    words = make_tier("words", (0, 0.5, "ndi"), (0.5, 1, "na"), (1, 2, "iwe"), (3, 4, "ehe"))
    translation = make_tier("translation", (0, 2, "it is me and you"), (3, 4, "yes"))
    assert choose([words, sentences, translation]) == ["sentences"]
    assert choose([translation, sentences]) == ["translation"]  # nothing says which is the speech


def test_speakers_who_do_not_say_the_same_are_all_taken():
    anna = make_tier("anna", (0, 2, "a"), (3, 4, "b"), (7, 9, "c"))
    boris = make_tier("boris", (0.5, 1, "d"))  # within one of Anna's, but she has more
    assert choose([anna, boris]) == ["anna", "boris"]
    alike = make_tier("x", (0, 2, "a"), speaker="X"), make_tier("y", (0, 2, "b"), speaker="Y")
    assert choose(alike) == ["x", "y"]


def test_tiers_without_letters_are_not_taken():
    assert choose(
        [make_tier("numbers", (0, 1, "12")), make_tier("empty"), make_tier("said", (0, 1, "a"))]
    ) == ["said"]
    assert choose([make_tier("numbers", (0, 1, "12"))]) == []


@pytest.mark.parametrize(
    ("wish", "names"),
    [
        ({"names": ("tx@*",)}, ["tx@A", "tx@B"]),
        ({"names": ("tx@A", "ft@B")}, ["tx@A", "ft@B"]),
        ({"type": "tx"}, ["tx@A", "tx@B"]),
        ({"names": ("*@A",), "type": "[mf]*"}, ["mb@A", "ft@A"]),
        ({"number": 2}, ["tx@A"]),
        ({"names": ("nothing",)}, []),
        ({"number": 99}, []),
    ],
)
def test_tiers_by_name_type_and_number(wish, names):
    assert choose(TOOLBOX, TOOLBOX_TYPES, **wish) == names


def test_tiers_are_described_with_type_and_parent():
    outlines = [TierOutline(*each) for each in TOOLBOX_TYPES[:2]]
    shown = describe_tiers(Recording(tiers=TOOLBOX[:2]), outlines)
    assert shown == "ref@A (type ref), tx@A (type tx, of ref@A)"


def test_there_is_no_tier_before_the_first():
    with pytest.raises(UserError, match="--tier_number 0: the first tier is 1"):
        TierWish(number=0)
