"""The one exception that a user causes, and how a command line reports it and what the system refuses."""

import errno
import functools
import sys
from collections.abc import Callable


class UserError(ValueError):
    """Something the user can put right: the message names the file and id, and says what to do."""


REMEDIES = {
    errno.ENOSPC: "make room on that disk, or choose a folder on another",
    errno.EDQUOT: "make room within your quota, or choose a folder elsewhere",
    errno.EROFS: "choose a folder that can be written",
    errno.EACCES: "look at the permissions of the file and its folders",
    errno.EPERM: "look at the permissions of the file and its folders",
    errno.EIO: "the disk or its connection is failing",
    errno.ENOTDIR: "a file stands where a folder has to be: choose another path",
    errno.EEXIST: "move away what stands there, or choose another path",
    errno.EISDIR: "a folder stands where a file has to be: choose another path",
}


def report_user_errors(main: Callable[..., None]) -> Callable[..., None]:
    """Make ``main`` end with ``error: <sentence>`` and exit status 1 instead of a traceback.

    So end :class:`UserError` and what the system says of a path: disk full, read-only, not permitted, a file
    for a folder.
    """

    @functools.wraps(main)
    def wrapped(*args, **kwargs) -> None:
        try:
            main(*args, **kwargs)
        except UserError as error:
            print(f"error: {error}", file=sys.stderr)
            sys.exit(1)
        except OSError as error:
            if error.errno not in REMEDIES:
                raise
            place = "" if error.filename is None else f"{error.filename}: "
            print(f"error: {place}{error.strerror}: {REMEDIES[error.errno]}", file=sys.stderr)
            sys.exit(1)

    return wrapped
