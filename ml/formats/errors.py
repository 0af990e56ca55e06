"""`InputError`, the base class of all errors about unusable input (user errors, as opposed to bugs)."""


class InputError(Exception):
    """An input of `ml` is unusable. The message is one sentence for a person; `code` is stable, for programs and tests.

    Each subclass sets a `code` of its own; `raise ManifestError("…", code="column_missing")` narrows it.
    The command line prints the message and exits with code 2.
    """

    code = "invalid_input"

    def __init__(self, message: str = "", *, code: str | None = None) -> None:
        super().__init__(message)
        if code is not None:
            self.code = code
