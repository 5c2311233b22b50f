"""Speech of a page while it is recorded: samples come over a WebSocket, text goes back."""

import asyncio
from typing import TYPE_CHECKING

from starlette.concurrency import run_in_threadpool
from starlette.websockets import WebSocket, WebSocketDisconnect

from espnet_wsm.errors import UserError
from espnet_wsm.recognition.live import LiveOptions, LiveTranscriber
from espnet_wsm.recognition.live_audio import Receiver, decode_pcm
from espnet_wsm.recognition.live_output import describe

if TYPE_CHECKING:
    from espnet_wsm.recognition.transcriber import Transcriber

MOST_AT_ONCE = 8
END = "end"  # of the client, when no more audio comes
NORMAL, REFUSED, BUSY = 1000, 1008, 1013  # closing codes of RFC 6455


class LiveRecogniser:
    """Several may speak at once; the model hears one step after the other.

    The client opens the socket with ``?rate=HZ`` and sends binary messages of raw samples, 16 bits,
    little-endian, one channel, and the text ``end``. It gets an update (JSON, as ``transcribe --events``
    prints it) for each step, with the seconds by which the model is behind, and the closing of the socket.

    Args:
        transcriber: of ``espnet_wsm.load``.
        options: how soon text is final.
    """

    def __init__(self, transcriber: "Transcriber", options: LiveOptions):
        self.transcriber, self.options = transcriber, options
        self._open = 0

    async def listen(self, socket: WebSocket) -> None:
        """One client, until it says that it has ended, or has gone."""
        await socket.accept()
        try:
            receiver = Receiver(_read_rate(socket), may_wait=False)
        except UserError as error:
            await socket.close(REFUSED, str(error))
            return
        if self._open >= MOST_AT_ONCE:
            await socket.close(BUSY, "as many speak as can be heard: try again in a while")
            return
        self._open += 1
        receiving = asyncio.create_task(_receive(socket, receiver))
        try:
            await self._recognise(socket, receiver)
            await socket.close(NORMAL)
        except (WebSocketDisconnect, RuntimeError):
            if not receiving.done() or not receiving.result():  # it is not that the client has gone
                raise
        finally:
            self._open -= 1
            receiving.cancel()
            receiver.end()

    def count_open(self) -> int:
        """How many speak."""
        return self._open

    async def _recognise(self, socket: WebSocket, receiver: Receiver) -> None:
        live = LiveTranscriber(self.transcriber, self.options)
        while True:
            lag = receiver.measure_lag()
            samples = await run_in_threadpool(receiver.take, live.missing)
            if samples is None:
                break
            update = await run_in_threadpool(live.push, samples)
            if update is not None:
                await socket.send_json(describe(update) | {"behind": round(lag, 1)})
        await socket.send_json(describe(await run_in_threadpool(live.finish)) | {"behind": 0.0})


def _read_rate(socket: WebSocket) -> int:
    given = socket.query_params.get("rate", "")
    return int(given) if given.isdecimal() and len(given) < 9 else 0


async def _receive(socket: WebSocket, receiver: Receiver) -> bool:
    """Put what comes until the end; whether the client has gone without saying so."""
    try:
        while True:
            message = await socket.receive()
            if message["type"] == "websocket.disconnect":
                return True
            if samples := message.get("bytes"):
                receiver.put(decode_pcm(samples))
            elif message.get("text") == END:
                return False
    finally:
        receiver.end()
