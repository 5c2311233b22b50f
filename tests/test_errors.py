"""What commands print, and how they report errors, does not depend on the terminal."""

import subprocess
import sys

import pytest

PRINTS = "print('привет', '\\udcff')"
FAILS = "raise UserError('привет: correct it')"
COMMAND = "from espnet_wsm.errors import *\n@report_user_errors\ndef main():\n    {}\nmain()"


@pytest.mark.parametrize("encoding", ["latin-1", "ascii:strict", "cp1251", "utf-8:surrogateescape"])
@pytest.mark.parametrize(
    ("code", "status", "stdout", "stderr"),
    [
        (PRINTS, 0, "привет ".encode() + b"\xff\n", b""),
        (FAILS, 1, b"", "error: привет: correct it\n".encode()),
    ],
)
def test_output_is_utf8(monkeypatch, encoding, code, status, stdout, stderr):
    monkeypatch.setenv("PYTHONIOENCODING", encoding)
    result = subprocess.run([sys.executable, "-c", COMMAND.format(code)], capture_output=True)
    assert (result.returncode, result.stdout, result.stderr) == (status, stdout, stderr)
