"""The one exception that a user causes, and how a command line reports it."""

import functools
import sys
from collections.abc import Callable


class UserError(ValueError):
    """Something the user can put right: the message names the file and id, and says what to do."""


def report_user_errors(main: Callable[..., None]) -> Callable[..., None]:
    """Make ``main`` end with ``error: <sentence>`` and exit status 1 instead of a traceback."""

    @functools.wraps(main)
    def wrapped(*args, **kwargs) -> None:
        try:
            main(*args, **kwargs)
        except UserError as error:
            print(f"error: {error}", file=sys.stderr)
            sys.exit(1)

    return wrapped
