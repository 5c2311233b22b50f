"""Label Studio's exports."""

import json
from pathlib import Path

import pytest
from field_recordings import write_noise

from espnet_wsm.data.corpora.annotation_rules import AnnotationRules
from espnet_wsm.data.corpora.sources import list_source
from espnet_wsm.errors import UserError


def region(id: str, start: float, end: float, text: str | None, label: str | None = None) -> list[dict]:
    """The results of a region: its label, and its text."""
    value = {"start": start, "end": end, "channel": 0}
    results = []
    if label:
        results.append(
            {"id": id, "from_name": "labels", "type": "labels", "value": {**value, "labels": [label]}}
        )
    if text is not None:
        results.append(
            {"id": id, "from_name": "transcription", "type": "textarea", "value": {**value, "text": [text]}}
        )
    return results


def make_task(number: int, *results: list[dict], audio: str = "", **more) -> dict:
    flat = [each for result in results for each in result]
    return {
        "id": number,
        "data": {"audio": audio or f"/data/upload/1/0123abcd-talk{number}.wav"},
        "annotations": [{"id": number, "result": flat, "was_cancelled": False, **more}],
    }


@pytest.fixture
def export(tmp_path):
    """``export(tasks)`` writes an export beside two recordings of 10 s; gives its rows and what is said."""

    def write(tasks: list, name: str = "project-1.json", **rules):
        for number in (1, 2):
            write_noise(tmp_path / f"talk{number}.wav", 10)
        (tmp_path / name).write_text(json.dumps(tasks))
        listing = list_source(tmp_path / name, rules=AnnotationRules(**rules))
        return [
            (Path(row.path).name, row.speaker, row.start, row.end, row.text) for row in listing.rows
        ], listing

    return write


def test_regions_become_utterances_and_labels_speakers(export):
    first = make_task(1, region("a", 1, 2.5, "ndi na", "Anna"), region("b", 3, 4, "ehe [laughs]", "Boris"))
    second = make_task(2, region("c", 0.5, 2, "mhoro"), region("d", 3, 4, None, "Noise"))
    rows, listing = export([first, second], speaker="tier")
    assert rows == [
        ("talk1.wav", "Anna", 1.0, 2.5, "ndi na"),
        ("talk1.wav", "Boris", 3.0, 4.0, "ehe"),
        ("talk2.wav", "transcription", 0.5, 2.0, "mhoro"),
    ]
    assert listing.said[0].startswith("tiers taken: Anna [in 1 of 2]")
    rows, _ = export([first, second])
    assert [row[1] for row in rows] == ["talk1-Anna", "talk1-Boris", "talk2"]


@pytest.mark.parametrize(
    "audio",
    [
        "/data/local-files/?d=corpus/talk1.wav",
        "s3://bucket/corpus/talk1.wav",
        "C:\\corpus\\talk1.mp3",
        "talk1.wav",
    ],
)
def test_audio_is_found_by_its_name(export, audio):
    assert export([make_task(1, region("a", 1, 2, "mhoro"), audio=audio)])[0] == [
        ("talk1.wav", "talk1", 1.0, 2.0, "mhoro")
    ]


def test_a_text_without_regions_is_that_of_the_whole_audio(export):
    text = [{"id": "a", "type": "textarea", "value": {"text": ["mhoro shamwari"]}}]
    assert export([make_task(1, text)])[0] == [("talk1.wav", "talk1", 0.0, 10.0, "mhoro shamwari")]


def test_skipped_tasks_are_counted_and_the_ground_truth_is_taken(export):
    task = make_task(1, region("a", 1, 2, "mhoro"))
    task["annotations"].insert(0, {"result": region("b", 5, 6, "no"), "was_cancelled": False})
    task["annotations"][1]["ground_truth"] = True
    rows, listing = export([task, make_task(2, region("c", 1, 2, "x"), was_cancelled=True)])
    assert [row[-1] for row in rows] == ["mhoro"]
    assert "1 of 2 tasks without an annotation are left out" in listing.said[0]
    assert "of 1 tasks with several annotations the ground truth or the first is taken" in listing.said[1]


@pytest.mark.parametrize(
    ("tasks", "message"),
    [
        ([{"id": 1, "audio": "a.wav", "transcription": "mhoro"}], "task 1 has no annotations: export"),
        ([make_task(3, [{"id": "a"}])], "task 3 is not as Label Studio writes it"),
        ([make_task(3, region("a", 2, 1, "x"))], "task 3: 1 s, where it ends, is before 2 s"),
        ([{**make_task(3), "data": {"text": "x"}}], "task 3: there is no audio among its data"),
    ],
)  # fmt: skip
def test_other_exports_are_refused_with_task_and_remedy(export, tasks, message):
    with pytest.raises(UserError, match=message):
        export(tasks)


def test_json_lines_stay_tables(tmp_path):
    write_noise(tmp_path / "a.wav", 3)
    lines = [{"audio_filepath": "a.wav", "text": "mhoro", "offset": 1.0, "duration": 1.5}] * 2
    for name in ("nemo.json", "nemo.jsonl"):
        (tmp_path / name).write_text("\n".join(map(json.dumps, lines)))
        rows = list_source(tmp_path / name).rows
        assert [(row.path, row.text, row.start, row.end) for row in rows] == [
            ("a.wav", "mhoro", 1.0, 2.5)
        ] * 2
