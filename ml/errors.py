"""The root of every error that is about what was handed in, not about a fault of this library."""


class InputError(Exception):
    """Something given to `ml` cannot be used. The message is one sentence that a person understands.

    The command line prints that sentence and exits with code 2; every module derives its own named errors from it.
    """
