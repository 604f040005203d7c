"""Errors that a user can cause and mend."""


class Refusal(Exception):
    """Bad input, refused in one sentence that names what was wrong and where.

    Command lines print it without a traceback and exit with status 2.
    """


class ExecutionFault(Exception):
    """Work that was well specified failed while it ran (a peer died, a disk filled up).

    Command lines print it without a traceback and exit with status 1.
    """
