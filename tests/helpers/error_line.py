"""The one line on stderr with which `python -m ml` refuses bad input."""

import pytest


def error_line(capsys: pytest.CaptureFixture[str]) -> str:
    """Return the only line on stderr apart from progress bars, which are drawn with a carriage return."""
    lines = [line for line in capsys.readouterr().err.split("\n") if line.strip() and "\r" not in line]
    assert len(lines) == 1, lines
    assert lines[0].startswith("python -m ml")
    return lines[0]
