"""The commands that stage scripts and launchers call; those that people type are in bin."""


def split_arguments(argv: list[str]) -> tuple[list[str], list[str]]:
    """The arguments before the first ``--``, and those after it, which belong to another program."""
    if "--" not in argv:
        return argv, []
    place = argv.index("--")
    return argv[:place], argv[place + 1 :]
