import pytest

from worker import index


@pytest.fixture(autouse=True)
def no_index_in_memory() -> None:
    """Each test's rows are rolled back, so that the next one's encoder has the same id."""
    index._indexes.clear()
