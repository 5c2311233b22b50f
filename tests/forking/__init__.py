"""Python processes that start at once: forks of one that has imported ESPnet, PyTorch and S3PRL.

A recipe of seven utterances starts some thirty Python processes, of which six import ESPnet or an upstream's
library. That takes nearly all of its minute. ``server`` imports them once for all tests; ``client`` is what
these find as ``python`` on PATH: it hands its command line, environment and open files to the server, which
forks a process for it, and ends as that process ends. What a fork cannot show, the start of a fresh
interpreter and what kills and Slurm do to it, is tested with ``plain_shell``.
"""
