from collections.abc import Callable

import pytest
from matplotlib.figure import Figure
from matplotlib.text import Text


@pytest.fixture
def drawn(monkeypatch) -> list[Figure]:
    """The figures that a test saves, in order; they are saved all the same."""
    figures: list[Figure] = []
    save = Figure.savefig

    def remembered(figure: Figure, *args: object, **options: object) -> None:
        figures.append(figure)
        save(figure, *args, **options)

    monkeypatch.setattr(Figure, "savefig", remembered)
    return figures


@pytest.fixture
def written_words(drawn) -> Callable[[], list[str]]:
    """Answers with all that is written in the last picture."""
    return lambda: [text.get_text() for text in drawn[-1].findobj(Text) if text.get_text()]
