"""What may go wrong, and whose fault it is."""


class Refused(Exception):
    """The input is at fault; the same input again would be refused again.

    `code` is for machines and never changes; `detail` is a sentence for people.
    """

    def __init__(self, code: str, detail: str, *, status: int = 400) -> None:
        super().__init__(detail)
        self.code = code
        self.detail = detail
        self.status = status


class IllegalTransition(Exception):
    """The code asked a row to go from its state to one that does not follow it: a bug, nobody's input."""


class ClaimLost(Exception):
    """Someone else has taken the row over; whatever was computed must be thrown away."""
