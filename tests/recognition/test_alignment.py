"""Known text in audio: the exact path, and long audio in parts."""

import random

import pytest
import torch

from espnet_wsm.errors import UserError
from espnet_wsm.recognition import alignment
from espnet_wsm.recognition.alignment import align_tokens

BLANK, SIZE = 0, 6


def make_posteriors(path: list[int], sure: float = 0.9, seed: int = 0) -> torch.Tensor:
    """(T, V) log probabilities of which the path is the most likely one at ``sure``."""
    noise = torch.rand(len(path), SIZE, generator=torch.Generator().manual_seed(seed))
    probs = (1 - sure) * noise / noise.sum(dim=1, keepdim=True)
    probs[range(len(path)), path] += sure
    return (probs / probs.sum(dim=1, keepdim=True)).log()


def make_path(length: int, seed: int = 0) -> tuple[list[int], list[int]]:
    """A path with a blank behind each token, and its tokens."""
    generator = random.Random(seed)
    tokens = [generator.randrange(1, SIZE) for _ in range(length)]
    path = [BLANK]
    for token in tokens:
        path += [token] * generator.randint(1, 2) + [BLANK] * generator.randint(1, 3)
    return path, tokens


def collapse(path: list[int]) -> list[int]:
    runs = torch.unique_consecutive(torch.tensor(path)).tolist()
    return [token for token in runs if token != BLANK]


def test_the_path_is_the_one_that_made_the_posteriors():
    path, tokens = make_path(40)
    log_probs = make_posteriors(path)
    found, probabilities = align_tokens(log_probs, tokens, BLANK)
    assert found == path
    expected = [log_probs[frame, token].exp().item() for frame, token in enumerate(path)]
    assert probabilities == pytest.approx(expected)


def test_a_text_that_was_not_said_is_placed_all_the_same():
    path, tokens = make_path(40)
    other = [*tokens[:10], 1, 2, 3, *tokens[15:]]
    assert collapse(align_tokens(make_posteriors(path), other, BLANK)[0]) == other


def test_audio_without_text_is_blank():
    log_probs = make_posteriors([1, 0, 2])
    path, probabilities = align_tokens(log_probs, [], BLANK)
    assert path == [BLANK] * 3 and probabilities == pytest.approx(log_probs[:, BLANK].exp().tolist())


@pytest.mark.parametrize(("tokens", "least"), [([1, 2, 3, 4], 4), ([1, 1], 3)])
def test_more_text_than_audio_is_refused_with_both_lengths(tokens, least):
    with pytest.raises(
        UserError, match=f"from 0.00 to 0.0{2 * least - 2} s .* {least - 1} frames .* needs {least}"
    ):
        align_tokens(make_posteriors([0] * (least - 1)), tokens, BLANK)


@pytest.mark.parametrize("wrong", [0.0, 0.2])
def test_long_audio_in_parts_gives_the_path_of_the_whole(monkeypatch, wrong):
    """With a fifth of the text's tokens misheard, too."""
    path, tokens = make_path(2000, seed=3)
    generator = random.Random(1)
    heard = [
        generator.randrange(1, SIZE) if token != BLANK and generator.random() < wrong else token
        for token in path
    ]
    log_probs = make_posteriors(heard, sure=0.6)
    whole = align_tokens(log_probs, tokens, BLANK)
    monkeypatch.setattr(alignment, "PART", 300)
    cuts = alignment._find_cuts(log_probs, tokens, BLANK)
    assert len(cuts) > (12 if wrong == 0 else 3)
    sizes = [later[0] - earlier[0] for earlier, later in zip([(0, 0), *cuts], cuts, strict=False)]
    assert min(sizes) >= 300
    in_parts = align_tokens(log_probs, tokens, BLANK)
    assert collapse(in_parts[0]) == tokens
    same = sum(one == other for one, other in zip(whole[0], in_parts[0], strict=True))
    assert same / len(path) > 0.999


def test_what_is_said_twice_is_no_place_for_a_cut(monkeypatch):
    monkeypatch.setattr(alignment, "PART", 20)
    _, tokens = make_path(30)
    agreements = alignment._find_agreements(tokens + tokens, tokens)
    assert all(text < 60 - 12 for text, _ in agreements)
    # The only runs that stand once in the doubled text are those across its seam, which were not heard.
    assert agreements == []


def test_a_chain_of_agreements_keeps_its_order():
    _, one = make_path(30, seed=1)
    _, other = make_path(40, seed=2)
    agreements = alignment._find_agreements(one + other, other + one)
    assert {text for text, _ in agreements} <= set(range(30, 70))  # the longer one stays
    assert agreements == sorted(agreements) and len(agreements) == 40 - 12 + 1


def test_a_table_that_would_not_fit_is_refused(monkeypatch):
    monkeypatch.setattr(alignment, "MOST_CELLS", 100)
    path, tokens = make_path(40)
    with pytest.raises(UserError, match="recognises nothing of the text"):
        align_tokens(make_posteriors(path), tokens, BLANK)
