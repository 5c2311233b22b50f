"""Live audio over a WebSocket: what a program that is no browser sees of it."""

import asyncio
import json
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from servers import HOST, Counter
from spelling import make_beeps
from starlette.testclient import WebSocketDenialResponse
from starlette.websockets import WebSocket, WebSocketDisconnect

from espnet_wsm.recognition.live import LiveOptions
from espnet_wsm.serve import live as serve_live
from espnet_wsm.serve.live import LiveRecogniser

LIVE = f"ws://{HOST}/api/live?rate="


def to_bytes(samples: np.ndarray) -> bytes:
    return (samples * 32767).astype("<i2").tobytes()


def read_all(socket) -> list[dict]:
    """The updates until the server closes the socket as it should."""
    updates = []
    with pytest.raises(WebSocketDisconnect) as closed:
        while True:
            updates.append(socket.receive_json())
    assert closed.value.code == 1000
    return updates


@pytest.mark.parametrize("rate", [16000, 44100])
def test_each_step_is_answered_and_the_end_is_the_last_word(make_server, client, rate):
    beeps = make_beeps(3, rate)
    with client(make_server()).websocket_connect(f"{LIVE}{rate}") as socket:
        for block in np.array_split(beeps, 30):
            socket.send_bytes(to_bytes(block))
        socket.send_text("end")
        updates = read_all(socket)
    words = [word for update in updates for word in update["words"]]
    assert [word["text"] for word in words] == ["a", "a", "a"]
    assert [word["start"] for word in words] == pytest.approx([0, 1.44, 2.94], abs=0.05)
    assert {update["behind"] for update in updates} == {0.0}
    assert updates[-1]["heard"] == pytest.approx(4.5, abs=0.01) and updates[-1]["tail"] == ""
    assert sum(update["ends_utterance"] for update in updates) == 3


def test_half_a_sample_and_other_messages_are_left_out(make_server, client):
    with client(make_server()).websocket_connect(f"{LIVE}16000") as socket:
        socket.send_bytes(to_bytes(make_beeps(1)) + b"1")
        socket.send_text("what?")
        socket.send_text("end")
        (last,) = read_all(socket)[-1:]
    assert last["heard"] == 1.5


@pytest.mark.parametrize("rate", ["", "fast", "0", "12345678901"])
def test_a_rate_that_is_none_closes_it_with_the_reason(make_server, client, rate):
    with client(make_server()).websocket_connect(f"{LIVE}{rate}") as socket:
        with pytest.raises(WebSocketDisconnect) as closed:
            socket.receive_json()
    assert closed.value.code == 1008 and "give the samples in a second" in closed.value.reason


@pytest.mark.parametrize("headers", [{"host": "elsewhere.example"}, {"origin": "http://elsewhere.example"}])
def test_other_pages_are_refused(make_server, client, headers):
    with pytest.raises((WebSocketDisconnect, WebSocketDenialResponse)):
        with client(make_server()).websocket_connect(f"{LIVE}16000", headers=headers):
            pass


def test_more_than_can_be_heard_at_once_are_asked_to_come_again(make_server, client, monkeypatch):
    monkeypatch.setattr(serve_live, "MOST_AT_ONCE", 1)
    with client(make_server()) as browser:
        with browser.websocket_connect(f"{LIVE}16000") as first:
            with browser.websocket_connect(f"{LIVE}16000") as second:
                with pytest.raises(WebSocketDisconnect) as closed:
                    second.receive_json()
                assert (closed.value.code, "try again" in closed.value.reason) == (1013, True)
            first.send_text("end")
            assert read_all(first)[-1]["heard"] == 0
        with browser.websocket_connect(f"{LIVE}16000") as third:  # there is room again
            third.send_text("end")
            read_all(third)


def test_a_client_that_leaves_is_forgotten():
    """It has sent a step of audio and gone before it is told of it."""
    messages = iter(
        [{"type": "websocket.connect"}, {"type": "websocket.receive", "bytes": to_bytes(make_beeps(1))}]
    )

    async def receive() -> dict:
        return next(messages, {"type": "websocket.disconnect", "code": 1006})

    async def send(message: dict) -> None:
        if message["type"] == "websocket.send":
            assert json.loads(message["text"])["heard"] > 0
            raise OSError("nobody is there")

    recogniser = LiveRecogniser(Counter(), LiveOptions())
    scope = {"type": "websocket", "query_string": b"rate=16000", "headers": [], "path": "/api/live"}
    with ThreadPoolExecutor(1) as pool:  # playwright has a loop in this thread
        pool.submit(asyncio.run, recogniser.listen(WebSocket(scope, receive, send))).result()
    assert recogniser.count_open() == 0
