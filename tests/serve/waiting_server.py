"""A server in a process of its own, whose model never comes to an end: waiting_server.py FOLDER."""

import sys
from pathlib import Path

from servers import HOST, Counter

from espnet_wsm.recognition.live import LiveOptions
from espnet_wsm.serve.app import Settings, make_app
from espnet_wsm.serve.jobs import Jobs
from espnet_wsm.serve.live import LiveRecogniser
from espnet_wsm.serve.recogniser import Recogniser
from espnet_wsm.serve.running import format_address, listen, run

model = Counter()
model.gate.clear()
recogniser = Recogniser(model, max_minutes=1)
with listen(HOST, 0) as listening:
    jobs = Jobs(recogniser, Path(sys.argv[1]), 10)
    print(format_address(listening), flush=True)
    live = LiveRecogniser(model, LiveOptions())
    print(run(make_app(Settings("counter", HOST, 2, 1), recogniser, jobs, live), listening, jobs))
