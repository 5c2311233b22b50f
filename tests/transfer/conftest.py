"""The corpus and the training of tiny_training.py, the stages on them, and commands in an empty folder."""

from collections.abc import Callable

import pytest
from tiny_training import corpus, dump, training_arguments  # noqa: F401
from transfer_stages import recipe  # noqa: F401


@pytest.fixture
def run_main(tmp_path, monkeypatch, capsys) -> Callable[..., tuple[int, str, str]]:
    """``run_main(main, *words)`` in an empty folder gives exit status, standard output and the errors."""
    monkeypatch.chdir(tmp_path)

    def do(main: Callable[[list[str]], None], *words: object) -> tuple[int, str, str]:
        status = 0
        try:
            main([str(word) for word in words])
        except SystemExit as end:
            status = end.code
        said = capsys.readouterr()
        return status, said.out, said.err

    return do
