"""`espnet-wsm report`: what stands in the page."""

import base64
import hashlib
import json
import re
from pathlib import Path

import pytest
from made_experiments import SPOKEN, run_stage_5, take, write_ctm, write_dump, write_experiment, write_lines
from pages import ParsedPage

from espnet_wsm.bin.report import main
from espnet_wsm.recognition.calibration import Calibration, write_calibration


@pytest.fixture
def recipe(tmp_path: Path) -> Path:
    """A recipe's folder with the test set of two systems, ``first`` and ``second``."""
    recipe = tmp_path / "egs" / "mini" / "asr1"
    write_dump(recipe, take(SPOKEN, 0))
    write_experiment(recipe, "first", take(SPOKEN, 1))
    write_experiment(recipe, "second", take(SPOKEN, 2), mixer="attention")
    return recipe


@pytest.fixture
def render(tmp_path: Path):
    """Runs the command; gives the parsed page."""

    def run(*arguments: object) -> ParsedPage:
        page = tmp_path / "page.html"
        main([*map(str, arguments), "--out", str(page), "--overwrite"])
        return ParsedPage(page)

    return run


def find_utterance(page: ParsedPage, id: str) -> dict:
    return next(one for one in page.data["utterances"] if one["id"] == id)


def test_a_page_has_one_entry_an_utterance(recipe, render):
    data = render(recipe / "exp/asr_first").data
    assert [one["id"] for one in data["utterances"]] == sorted(SPOKEN)
    assert data["unit"] == "word" and data["sets"] == ["test"] and data["speakers"] == ["anna", "boris"]
    (found,) = [one for one in data["utterances"] if one["id"] == "boris-1"]
    assert found["reference"] == ["where", "is", "the", "station"] and found["seconds"] == 1.2
    assert data["speakers"][found["speaker"]] == "boris" and found["characters"] == 20
    (system,) = found["systems"]
    assert system == {"hypothesis": ["were", "is", "station"], "steps": "SCDC", "characterErrors": 5}


def test_words_to_touch_stand_under_the_word_error_rate_of_stage_5(recipe, render):
    assert "to touch" not in render(recipe / "exp/asr_first").text, "stage 5 has not counted them"
    run_stage_5(recipe, recipe / "exp/asr_first")
    assert "5 of 14 words to touch (35.7 %" in render(recipe / "exp/asr_first").text


def test_an_empty_hypothesis_is_all_deletions(recipe, render):
    (system,) = find_utterance(render(recipe / "exp/asr_first"), "boris-2")["systems"]
    assert system == {"hypothesis": [], "steps": "DD", "characterErrors": 9}


def test_the_summary_says_what_was_trained_and_how_long(recipe, render):
    text = render(recipe / "exp/asr_first").text
    assert "mini/asr_first decode_greedy" in text
    assert "Upstream whisper_local (whisper_base)" in text and "/somewhere" not in text
    assert "Mixer wsm Layers replaced (k) 2 Window 10 Parameters trained 1,000 of 4,000 (25 %)" in text
    assert "Training time 3 min (3 epochs in train.log)" in text


def test_a_mixer_without_a_window_has_none(recipe, render):
    assert "Window" not in render(recipe / "exp/asr_second").text


def test_rates_are_those_of_stage_5_with_both_scorers(recipe, render):
    exp = recipe / "exp/asr_first"
    run_stage_5(recipe, exp)
    record = json.loads((exp / "decode_greedy/test/score.json").read_text())
    low, high = record["cer"]["python"]["interval"]
    text = render(exp).text
    assert f"{low:.1f} to {high:.1f}" in text
    assert "test WER Python 14 42.86" in text
    reason = record["cer"]["sclite"]["reason"]
    assert f"test CER sclite {reason or '63 33.33 –'}" in text


def test_without_stage_5_python_counts_and_the_page_says_so(recipe, render):
    text = render(recipe / "exp/asr_first").text
    assert "test CER sclite stage 5 has not scored this set" in text and "test CER Python 63 33.33 " in text


def test_curves_have_a_point_an_epoch(recipe, render):
    page = render(recipe / "exp/asr_first")
    assert "epoch training validation 1 100 100 2 50 50 3 33.33 33.33" in page.text
    assert "epoch 3: validation CER 30" in page.text


def test_a_log_that_begins_later_is_told(recipe, render):
    log = recipe / "exp/asr_first/train.log"
    log.write_text("".join(log.read_text().splitlines(keepends=True)[2:]))
    assert "the training was resumed after epoch 2, where its log begins" in render(log.parent).text


def test_times_and_confidences_come_from_ctm(recipe, render):
    exp = recipe / "exp/asr_first"
    write_ctm(exp, take(SPOKEN, 1))
    (system,) = find_utterance(render(exp), "boris-1")["systems"]
    assert system["starts"] == [0.1, 0.3, 0.5] and system["confidences"] == [0.8] * 3
    assert system["confidence"] == 0.8


def test_confidences_are_calibrated_where_that_is_known(recipe, render):
    exp = recipe / "exp/asr_first"
    write_ctm(exp, take(SPOKEN, 1))
    write_calibration(exp / "decode_greedy/confidence.json", Calibration((0.0, 1.0), (0.0, 0.5)), {})
    (system,) = find_utterance(render(exp), "anna-2")["systems"]
    assert system["confidence"] == 0.4


def test_without_ctm_the_page_says_how_to_get_times(recipe, render):
    page = render(recipe / "exp/asr_first")
    assert (
        "test has no times and confidences of words: decode it again with --search greedy or lm" in page.text
    )
    assert "starts" not in find_utterance(page, "anna-1")["systems"][0]


def test_a_ctm_of_other_words_is_told(recipe, render):
    exp = recipe / "exp/asr_first"
    write_ctm(exp, take(SPOKEN, 1) | {"anna-1": "something else"})
    page = render(exp)
    assert "has other words than" in page.text and "for 1 utterance, e.g. anna-1" in page.text
    assert "starts" in find_utterance(page, "anna-2")["systems"][0]


def test_a_reliability_plot_is_embedded(recipe, render):
    (recipe / "exp/asr_first/decode_greedy/confidence.png").write_bytes(b"\x89PNG")
    page = render(recipe / "exp/asr_first")
    assert page.find("img")[0]["src"] == "data:image/png;base64," + base64.b64encode(b"\x89PNG").decode()


def test_frequent_errors_are_counted(recipe, render):
    text = render(recipe / "exp/asr_first").text
    words = text[text.index("Words Substituted") :]
    assert words.startswith(
        "Words Substituted where → were 1 Deleted thank 1 the 1 you 1 Inserted to 1 you 1"
    )
    characters = words[words.index("Characters") :]
    assert "Deleted h 3 t 2 ␣ 2 " in characters


def test_speakers_have_the_most_errors_first(recipe, render):
    text = render(recipe / "exp/asr_first").text
    assert "CER % boris 2 0.0 48.3" in text and "anna 2 0.0 " in text
    assert text.index("boris 2") < text.index("anna 2")


def test_a_validation_set_is_taken_as_it_was_decoded(recipe, render):
    write_dump(recipe, take(SPOKEN, 0), name="org/dev", audio=False)
    shorter = {id: text for id, text in take(SPOKEN, 0).items() if id != "anna-1"}
    write_dump(recipe, shorter, name="dev", audio=False)
    exp = write_experiment(recipe, "dev", shorter, sets=("dev",))
    page = render(exp, "--audio", "none")
    assert [one["id"] for one in page.data["utterances"]] == sorted(shorter)


def test_two_systems_stand_side_by_side_with_a_verdict(recipe, render):
    page = render(recipe / "exp/asr_first", "--versus", recipe / "exp/asr_second")
    assert page.data["badges"] == ["A", "B"]
    one, other = find_utterance(page, "anna-1")["systems"]
    assert (one["steps"], other["steps"]) == ("CCCCCC", "CCCCDC")
    assert re.search(
        r"On test, (A and B are not told apart by|B makes fewer) character errors.* A − B = "
        r"\+\d+\.\d\d points, 95 % interval .* \(paired bootstrap over 4 utterances; only 4 were resampled",
        page.text,
    )
    assert "Mixer wsm attention" in page.text and "These are one training of each" in page.text


def test_two_decodings_of_one_experiment_are_compared(recipe, render):
    exp = recipe / "exp/asr_first"
    write_lines(exp / "decode_lm_x" / "test" / "text", take(SPOKEN, 2))
    page = render(exp, "--versus", exp / "decode_lm_x")
    assert [one["steps"] for one in find_utterance(page, "boris-2")["systems"]] == ["DD", "CC"]
    assert "These are two decodings of one training" in page.text
    assert "There are other decodings, name one to see it: decode_lm_x." in render(exp).text


def test_everything_is_in_the_one_file(recipe, render):
    page = render(recipe / "exp/asr_first")
    named = [value for _, found in page.elements for key, value in found.items() if key in ("src", "href")]
    assert named and all(value.startswith(("#", "data:")) for value in named)
    assert "@import" not in page.raw["style"][0] and "url(" not in page.raw["style"][0]
    assert "http" not in page.raw["script"][1].replace("http://www.w3.org/2000/svg", "")
    assert [
        one for _, found in page.elements for one in found if one.startswith("on") or one == "style"
    ] == []


def test_the_policy_lets_only_the_page_s_own_script_and_style_run(recipe, render):
    page = render(recipe / "exp/asr_first")
    (policy,) = page.find("meta", **{"http-equiv": "Content-Security-Policy"})
    for kind, content in (("style", page.raw["style"][0]), ("script", page.raw["script"][1])):
        digest = base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()
        assert f"{kind}-src 'sha256-{digest}'" in policy["content"]
    assert policy["content"].startswith("default-src 'none'")


def test_hostile_ids_and_texts_are_inert(tmp_path, render):
    recipe = tmp_path / "<b>egs" / "asr1"
    evil = {
        "<script>alert(1)</script>-1": "</script><script>alert(2)</script> <!-- <img/src=x/onerror=alert(3)>",
        '"onclick="alert(4)-2': "{{7*7}} {%raw%} & &lt;b&gt; <!--<script>",
    }
    write_dump(recipe, evil, audio=False)
    exp = write_experiment(recipe, "x", {id: text[::-1] for id, text in evil.items()})
    (exp / "run.json").write_text(
        json.dumps({"command": "<img src=x onerror=alert(5)>", "git": "</style>", "date": "<!--"})
    )
    page = render(exp, "--audio", "none")
    assert len(page.raw["script"]) == 2 and len(page.raw["style"]) == 1 and page.find("img") == []
    shown = {one["id"]: " ".join(one["reference"]) for one in page.data["utterances"]}
    assert shown == evil
    assert "<img src=x onerror=alert(5)>" in page.text and "49" not in page.raw["script"][0]
    assert [one for _, found in page.elements for one in found if one.startswith("on")] == []


def test_text_from_right_to_left_is_marked(tmp_path, render):
    recipe = tmp_path / "asr1"
    spoken = {"a-1": "שלום עולם", "a-2": "مرحبا", "a-3": "123 hello"}
    write_dump(recipe, spoken, audio=False)
    page = render(write_experiment(recipe, "x", spoken), "--audio", "none")
    assert [one.get("rtl", False) for one in page.data["utterances"]] == [True, True, False]


def test_texts_without_spaces_are_aligned_by_characters(tmp_path, render):
    recipe = tmp_path / "asr1"
    write_dump(recipe, {"a-1": "สวัสดีครับ", "a-2": "ขอบคุณ"}, audio=False)
    hypotheses = {"a-1": "สวัสดีคับ", "a-2": "ขอบคุณ"}
    exp = write_experiment(recipe, "x", hypotheses)
    write_ctm(exp, hypotheses)
    page = render(exp, "--audio", "none")
    assert page.data["unit"] == "character"
    first = page.data["utterances"][0]
    assert first["reference"] == ["ส", "วั", "ส", "ดี", "ค", "รั", "บ"]
    (system,) = first["systems"]
    assert len(system["starts"]) == len(system["hypothesis"]) and set(system["starts"]) == {0.1}
    assert "Words" not in page.text and "WER" in page.text


def test_combining_characters_can_be_seen(tmp_path, render):
    recipe = tmp_path / "asr1"
    write_dump(recipe, {"a-1": "e\u0301te\u0301", "a-2": "x"}, audio=False)
    page = render(write_experiment(recipe, "x", {"a-1": "ete", "a-2": "\u0301 x"}), "--audio", "none")
    assert "e\u0301 → e 2" in page.text and "◌\u0301" in page.text
