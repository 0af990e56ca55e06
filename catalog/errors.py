"""Errors of the catalogue: invalid input, illegal state transitions, lost claims."""


class Refused(Exception):
    """The request cannot be carried out because of its input or the current state; retrying unchanged does not help.

    `code` is stable, for programs; `detail` is a sentence for the user; `status` is the HTTP status.
    """

    def __init__(self, code: str, detail: str, *, status: int = 400) -> None:
        super().__init__(detail)
        self.code = code
        self.detail = detail
        self.status = status


class IllegalTransition(Exception):
    """A row cannot move from its current state to the requested one."""

    code = "illegal_transition"


class ClaimLost(Exception):
    """Another worker holds the claim, or the row was deleted: discard the computed result."""

    code = "claim_lost"
