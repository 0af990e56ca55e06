"""Assert the stable code of a raised error instead of its sentence."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest


@contextmanager
def raises_code(error: type[BaseException], code: str, *mentioned: object) -> Iterator[pytest.ExceptionInfo[Any]]:
    """Expect `error` with `error.code == code`, whose message names each of `mentioned`."""
    with pytest.raises(error) as caught:
        yield caught
    assert getattr(caught.value, "code", None) == code, caught.value
    missing = [value for value in mentioned if str(value) not in str(caught.value)]
    assert not missing, f"{caught.value!r} does not mention {missing}"
