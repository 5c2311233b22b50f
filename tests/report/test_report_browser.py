"""The page in a browser: it opens without a fault, sorts, filters and plays, by mouse and keyboard."""

from pathlib import Path

import pytest
from made_experiments import SPOKEN, take, write_ctm, write_dump, write_experiment
from processes import wait_for

from espnet_wsm.bin.report import main

MANY = 3000


@pytest.fixture(scope="module")
def recipe(tmp_path_factory) -> Path:
    recipe = tmp_path_factory.mktemp("recipe") / "asr1"
    write_dump(recipe, take(SPOKEN, 0), seconds=lambda number: 3 - number / 2)
    for name, number in (("first", 1), ("second", 2)):
        exp = write_experiment(recipe, name, take(SPOKEN, number))
        write_ctm(exp, take(SPOKEN, number), sure=0.9 - 0.1 * number)
    return recipe


@pytest.fixture(scope="module")
def one(recipe) -> Path:
    """The page of one system, with its audio in it."""
    page = recipe / "one.html"
    main([str(recipe / "exp/asr_first"), "--out", str(page)])
    return page


@pytest.fixture(scope="module")
def two(recipe) -> Path:
    """The page of two systems."""
    page = recipe / "two.html"
    main([str(recipe / "exp/asr_first"), "--versus", str(recipe / "exp/asr_second"), "--out", str(page)])
    return page


def list_ids(page) -> list[str]:
    """Of the rows that are shown, from the top."""
    return page.locator("#rows td.who > bdi").all_inner_texts()


def find_row(page, id: str):
    return page.locator("#rows tr", has=page.locator("td.who > bdi", has_text=id))


def find_sorted(page) -> dict[str, str]:
    """Key of the column -> aria-sort, of those that have one."""
    return page.evaluate(
        "Object.fromEntries([...document.querySelectorAll('th[aria-sort]')]"
        ".map(th => [th.dataset.key, th.getAttribute('aria-sort')]))"
    )


def wait_until_plays(page, after: float, before: float = 60) -> None:
    """Until a second between these is heard. The page's policy forbids playwright's own way of waiting."""
    playing = f"!audio.paused && audio.currentTime >= {after} && audio.currentTime < {before}"
    wait_for(lambda: page.evaluate(playing))


def test_rows_are_sorted_by_each_column(open_page, one):
    page = open_page(one)
    assert list_ids(page) == ["anna-2", "boris-1", "boris-2", "anna-1"]
    assert find_sorted(page) == {"errors0": "descending"}
    page.get_by_role("button", name="Utterance", exact=True).click()
    assert list_ids(page) == sorted(SPOKEN) and find_sorted(page) == {"id": "ascending"}
    page.get_by_role("button", name="Seconds").click()
    assert list_ids(page) == sorted(SPOKEN) and find_sorted(page) == {"seconds": "descending"}
    page.get_by_role("button", name="Seconds").click()
    assert list_ids(page) == sorted(SPOKEN, reverse=True) and find_sorted(page) == {"seconds": "ascending"}
    page.get_by_label("Sort by").select_option("CER %")
    assert list_ids(page)[0] == "boris-2" and find_sorted(page) == {"cer0": "descending"}
    page.get_by_label("Sort by").select_option("Confidence")
    assert list_ids(page)[-1] == "boris-2"  # has none
    page.get_by_role("button", name="Descending").click()
    assert find_sorted(page) == {"confidence0": "ascending"} and list_ids(page)[-1] == "boris-2"


def test_rows_are_filtered(open_page, one):
    page = open_page(one)
    page.get_by_label("Find", exact=True).fill("STATION")
    assert list_ids(page) == ["boris-1"] and page.locator("#count").inner_text() == "1 of 4 utterances"
    page.get_by_label("Find", exact=True).fill("no such text")
    assert list_ids(page) == [] and page.locator("#place").inner_text() == "0 to 0"
    page.get_by_label("Find", exact=True).fill("")
    page.get_by_label("Speaker", exact=True).select_option("anna")
    assert sorted(list_ids(page)) == ["anna-1", "anna-2"]
    page.get_by_label("Show", exact=True).select_option("with errors")
    assert list_ids(page) == ["anna-2"]


def test_a_frequent_error_shows_where_it_was_made(open_page, one):
    page = open_page(one)
    page.get_by_role("button", name="Show utterances: substituted where by were").click()
    assert list_ids(page) == ["boris-1"]
    page.get_by_role("button", name="Remove the filter").click()
    assert len(list_ids(page)) == 4
    page.locator("button.find[data-speaker=boris]").click()
    assert sorted(list_ids(page)) == ["boris-1", "boris-2"]


def test_errors_are_told_by_more_than_colour(open_page, one):
    page = open_page(one)
    styles = {
        kind: page.locator(f"#rows .{kind}").first.evaluate(
            "e => [getComputedStyle(e).textDecorationLine, getComputedStyle(e).textDecorationStyle, "
            "getComputedStyle(e).outlineStyle]"
        )
        for kind in ("sub", "del", "ins")
    }
    assert styles["sub"][:2] == ["underline", "wavy"] and styles["del"][0] == "line-through"
    assert styles["ins"][2] == "dashed"
    assert find_row(page, "boris-1").locator(".word.sub").inner_text().split() == ["were", "(substituted)"]


def test_a_word_plays_from_where_it_begins(open_page, one):
    page = open_page(one)
    assert page.locator("#player").is_hidden()
    find_row(page, "anna-1").locator(".word", has_text="mat").click()
    wait_until_plays(page, after=1.1, before=2.1)
    assert page.locator("#playing").inner_text() == "anna-1"
    find_row(page, "anna-1").locator(".word", has_text="cat").click()
    wait_until_plays(page, after=0.3, before=1.1)


def test_the_word_that_is_heard_is_marked(open_page, one):
    page = open_page(one)
    find_row(page, "anna-1").locator(".word", has_text="sat").click()
    page.wait_for_selector(".word.now")
    page.get_by_label("Pause anna-1").click()
    page.wait_for_selector(".word.now", state="detached")
    page.get_by_label("Play anna-1").click()
    page.get_by_label("Close the player").click()
    assert page.evaluate("audio.paused") and page.locator("#player").is_hidden()


def test_audio_beside_the_page_plays_and_what_is_gone_is_told(open_page, recipe):
    file = recipe / "beside.html"
    main([str(recipe / "exp/asr_first"), "--out", str(file), "--audio", "beside"])
    page = open_page(file)
    page.get_by_label("Play boris-1").click()
    wait_until_plays(page, after=0.05)
    (recipe / "beside_audio/00001.flac").unlink()
    page.expected.append("00001.flac|ERR_FILE_NOT_FOUND")
    page.get_by_label("Play anna-1").click()
    page.get_by_text("This audio cannot be played: it may have been moved.").wait_for()


def test_everything_can_be_done_by_keyboard(open_page, one):
    page = open_page(one)
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")  # to the utterances
    page.get_by_label("Find", exact=True).focus()
    page.keyboard.type("anna")
    assert sorted(list_ids(page)) == ["anna-1", "anna-2"]
    seen = []
    for _ in range(12):
        page.keyboard.press("Tab")
        seen.append(page.evaluate("document.activeElement.textContent || document.activeElement.ariaLabel"))
        outline = page.evaluate("getComputedStyle(document.activeElement).outlineStyle")
        assert outline != "none", seen[-1]
        if seen[-1] == "Errors↓":
            break
    page.keyboard.press("Enter")
    assert find_sorted(page) == {"errors0": "ascending"} and list_ids(page) == ["anna-1", "anna-2"]
    first, second = find_row(page, "anna-1").locator(".word").all()[:2]
    assert (first.get_attribute("tabindex"), second.get_attribute("tabindex")) == ("0", "-1")
    first.focus()
    page.keyboard.press("ArrowRight")
    assert page.evaluate("document.activeElement.textContent") == "cat"
    page.keyboard.press("End")
    page.keyboard.press("ArrowLeft")
    assert page.evaluate("document.activeElement.textContent") == "the"
    page.keyboard.press("Home")
    page.keyboard.press("ArrowRight")
    page.keyboard.press("Enter")
    wait_until_plays(page, after=0.3)


def test_two_systems_are_sorted_by_their_difference(open_page, two):
    page = open_page(two)
    assert list_ids(page) == ["boris-2", "anna-2", "boris-1", "anna-1"]
    assert find_sorted(page) == {"difference": "descending"}
    numbers = find_row(page, "boris-2").locator("td.number").all_inner_texts()
    assert numbers == ["100.0", "0.0", "+100.0", "1.5"]
    assert find_row(page, "anna-1").locator(".column.changed").all_inner_texts() == ["the\nthe\n·\n(deleted)"]
    page.get_by_label("Find", exact=True).fill("boris")
    page.get_by_label("Show", exact=True).select_option("where A and B differ")
    assert list_ids(page) == ["boris-2", "boris-1"]
    find_row(page, "boris-1").locator(".column", has_text="where").locator(".word").last.click()
    wait_until_plays(page, after=0.1)


@pytest.mark.parametrize("width", [1280, 400])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_page_is_readable_in_light_and_dark_wide_and_narrow(open_page, two, scheme, width):
    page = open_page(two, color_scheme=scheme, viewport={"width": width, "height": 800})
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    contrast = page.evaluate(CONTRAST)
    assert len(contrast) > 20 and min(contrast.values()) >= 4.5, min(contrast, key=contrast.get)


# The contrast of each kind of text with what is behind it, as WCAG 2 defines it.
CONTRAST = """() => {
  const parts = (colour) => colour.match(/[\\d.]+/g).map(Number);
  const light = (colour) => parts(colour).slice(0, 3).map((v) => v / 255)
    .map((v) => (v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4))
    .reduce((sum, v, i) => sum + v * [0.2126, 0.7152, 0.0722][i], 0);
  const behind = (element) => {
    for (let e = element; e; e = e.parentElement) {
      const colour = getComputedStyle(e).backgroundColor;
      if ((parts(colour)[3] ?? 1) > 0.99) return colour;
    }
    return "rgb(255, 255, 255)";
  };
  const found = {};
  for (const element of document.querySelectorAll("body *")) {
    const own = [...element.childNodes].some((node) => node.nodeType === 3 && node.data.trim());
    if (!own || !element.checkVisibility() || element.disabled || element.closest("svg, .hidden")) continue;
    const [one, other] = [light(getComputedStyle(element).color), light(behind(element))]
      .sort((a, b) => b - a);
    found[`${element.tagName} ${element.className}`] = (one + 0.05) / (other + 0.05);
  }
  return found;
}"""


def test_charts_take_the_colours_of_the_scheme(open_page, one):
    lines = [
        open_page(one, color_scheme=scheme)
        .locator(".chart polyline")
        .first.evaluate("e => getComputedStyle(e).stroke")
        for scheme in ("light", "dark")
    ]
    assert lines[0] != lines[1] and "none" not in lines


def test_nothing_moves_for_those_who_asked_for_that(open_page, one):
    behaviour = "getComputedStyle(document.documentElement).scrollBehavior"
    assert open_page(one, reduced_motion="no-preference").evaluate(behaviour) == "smooth"
    assert open_page(one, reduced_motion="reduce").evaluate(behaviour) == "auto"


def test_hostile_ids_and_texts_do_nothing(open_page, tmp_path):
    recipe = tmp_path / "asr1"
    evil = {
        "<img/src=x/onerror=window.hit=1>-1": "</script><script>window.hit=2</script> <svg/onload=hit=3>",
        "<script>window.hit=4</script>-2": "\u202egnirts <!-- --> <b>bold</b>",
    }
    write_dump(recipe, evil)
    exp = write_experiment(recipe, "x", {id: f"{text} <i>" for id, text in evil.items()})
    write_ctm(exp, {id: f"{text} <i>" for id, text in evil.items()})
    main([str(exp), "--out", str(tmp_path / "page.html")])
    page = open_page(tmp_path / "page.html")
    assert sorted(list_ids(page)) == sorted(evil)
    page.locator(".find").first.click()
    page.locator(".word").first.click()
    wait_until_plays(page, after=0.1)
    assert page.evaluate("window.hit") is None
    assert page.locator("#rows :is(img, script, b, i)").count() == 0
    assert page.evaluate("document.scripts.length") == 2


def test_arrows_follow_the_direction_of_the_text(open_page, tmp_path):
    recipe = tmp_path / "asr1"
    spoken = {"a-1": "שלום עולם גדול"}
    write_dump(recipe, spoken)
    exp = write_experiment(recipe, "x", spoken)
    write_ctm(exp, spoken)
    main([str(exp), "--out", str(tmp_path / "page.html")])
    page = open_page(tmp_path / "page.html")
    words = page.locator("#rows .word")
    assert words.nth(0).bounding_box()["x"] > words.nth(1).bounding_box()["x"]
    words.nth(0).focus()
    page.keyboard.press("ArrowLeft")
    assert page.evaluate("document.activeElement.textContent") == "עולם"


def test_thousands_of_utterances_are_shown_a_page_at_a_time(open_page, tmp_path):
    recipe = tmp_path / "asr1"
    references = {f"s{n % 700}-{n:04d}": f"utterance number {n} of many words to read" for n in range(MANY)}
    hypotheses = {id: text.replace("many", "any") if n % 3 else text for n, (id, text) in
                  enumerate(references.items())}  # fmt: skip
    write_dump(recipe, references, seconds=lambda number: 2 + number % 7, audio=False)
    exp = write_experiment(recipe, "x", hypotheses)
    main([str(exp), "--out", str(tmp_path / "page.html"), "--audio", "none"])
    page = open_page(tmp_path / "page.html")
    assert page.locator("#count").inner_text() == "3,000 utterances" and len(list_ids(page)) == 50
    page.get_by_role("button", name="Next").click()
    assert page.locator("#place").inner_text() == "51 to 100"
    page.get_by_label("Find", exact=True).fill("s69-2869")
    assert list_ids(page) == ["s69-2869"]
    assert page.get_by_label("Speaker", exact=True).is_hidden()  # too many to choose from
    page.locator("button.find[data-speaker='s1']").click()
    assert page.get_by_label("Find", exact=True).input_value() == "s1"
