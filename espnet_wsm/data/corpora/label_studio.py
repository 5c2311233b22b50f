"""Label Studio's export "JSON": tasks, with regions of audio that have labels and a text."""

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from espnet_wsm.annotations import Recording, Segment, Tier
from espnet_wsm.data.corpora.trees import read_utf8
from espnet_wsm.errors import UserError

UNNAMED = "transcription"  # the tier of regions without a label
ADVICE = "export it again as JSON (not JSON-MIN)"


def is_label_studio(content: Any) -> bool:
    """Whether the content of a JSON file looks like an export, of either kind."""
    return (
        isinstance(content, list)
        and bool(content)
        and all(isinstance(task, dict) and "id" in task for task in content)
    )


def read_json(path: Path) -> Any:
    """The content of a file that is one JSON value, None if it is not (JSON lines).

    Raises:
        UserError: it cannot be read.
    """
    try:
        return json.loads(read_utf8(path))
    except UserError:  # which is a ValueError
        raise
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror}") from error
    except ValueError:
        return None


def read_tasks(path: Path, tasks: list[dict[str, Any]]) -> tuple[list[tuple[str, Recording]], list[str]]:
    """A recording for each task with an annotation, and where it stands (``FILE: task 7``).

    A tier holds the regions of one label, by which speakers are told apart. Of several annotations of a task
    the one that is marked as ground truth is taken, else the first that was not skipped. A text without
    regions is that of the whole audio, which has no times: its segment goes from 0 to 0.

    Returns:
        The recordings, and what has to be said of tasks without one or with several annotations.

    Raises:
        UserError: a task or region is not as Label Studio writes it.
    """
    recordings, said, skipped, several = [], [], 0, 0
    for task in tasks:
        place = f"{path}: task {task.get('id')}"
        if "annotations" not in task:
            raise UserError(f"{place} has no annotations: {ADVICE}")
        found = [each for each in task["annotations"] if not each.get("was_cancelled")]
        found.sort(key=lambda each: not each.get("ground_truth"))
        several += len(found) > 1
        if not found:
            skipped += 1
            continue
        try:
            tiers = _read_regions(found[0]["result"])
            recordings.append((place, Recording(_find_audio(task), tiers)))
        except UserError as error:
            raise UserError(f"{place}: {error}") from None
        except (KeyError, TypeError, AttributeError, ValueError) as error:
            raise UserError(f"{place} is not as Label Studio writes it ({error!r}): {ADVICE}") from None
    if skipped:
        said.append(f"{path}: {skipped} of {len(tasks)} tasks without an annotation are left out")
    if several:
        said.append(
            f"{path}: of {several} tasks with several annotations the ground truth or the first is taken"
        )
    return recordings, said


def _find_audio(task: Mapping[str, Any]) -> str:
    """The path of the audio: of a local file its ``?d=``, of others without the address."""
    values = [task["data"][key] for key in ("audio", "audio_url", "url", "wav") if task["data"].get(key)]
    values += [value for value in task["data"].values() if isinstance(value, str) and "/" in value]
    if not values:
        raise UserError(f"there is no audio among its data ({', '.join(task['data'])}): name it 'audio'")
    parts = urlsplit(values[0])
    return unquote(parse_qs(parts.query).get("d", [parts.path])[0])


def _read_regions(results: list[dict[str, Any]]) -> tuple[Tier, ...]:
    regions: dict[str, dict[str, Any]] = {}
    for result in results:
        value = result["value"]
        region = regions.setdefault(result["id"], {"text": None, "label": None, "start": 0.0, "end": 0.0})
        if "start" in value:
            region |= {"start": float(value["start"]), "end": float(value["end"])}
        if labels := value.get("labels"):
            region["label"] = str(labels[0])
        if (text := value.get("text")) is not None and result.get("type") == "textarea":
            region["text"] = " ".join(text) if isinstance(text, list) else str(text)
    tiers: dict[str, list[Segment]] = {}
    for region in sorted(regions.values(), key=lambda each: each["start"]):
        segment = Segment(region["start"], region["end"], region["text"] or "")
        tiers.setdefault(region["label"] or UNNAMED, []).append(segment)
    return tuple(Tier(name, tuple(segments)) for name, segments in tiers.items())


def fill_wholes(recording: Recording, seconds: float) -> Recording:
    """The recording, with texts of the whole audio going to its end."""
    tiers = tuple(
        replace(
            tier, segments=tuple(replace(one, end=seconds) if not one.end else one for one in tier.segments)
        )
        for tier in recording.tiers
    )
    return replace(recording, tiers=tiers)
