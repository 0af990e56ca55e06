import numpy as np
import pytest
from PIL import Image

from ml.formats.atomic_files import UnwritableError
from ml.reporting import maps
from ml.reporting.maps import MAX_POINTS, OTHER, draw_embedding_map, project_to_plane
from ml.vectors import Floats, NotFiniteError, unit_rows
from tests.helpers.errors import raises_code


def groups(count: int, each: int, dim: int = 16) -> tuple[Floats, list[str]]:
    """`count` clusters of unit vectors, each close to a corner."""
    rng = np.random.default_rng(count)
    rows = np.repeat(np.eye(count, dim), each, axis=0) + 0.02 * rng.normal(size=(count * each, dim))
    return unit_rows(rows), [f"label {group}" for group in range(count) for _ in range(each)]


def scattered(figure) -> int:
    return sum(len(points.get_offsets()) for points in figure.axes[0].collections)


def legend(figure) -> list[str]:
    return [text.get_text() for text in figure.axes[0].get_legend().get_texts()]


def test_photos_of_a_cluster_are_nearer_to_each_other_than_to_other_clusters():
    rows, labels = groups(4, 15)
    points = project_to_plane(rows)
    apart = np.linalg.norm(points[:, None] - points[None], axis=2)
    same = np.array([[one == other for other in labels] for one in labels])
    assert points.shape == (60, 2)
    assert apart[same].max() < apart[~same].min()


def test_the_same_embeddings_give_the_same_map(tmp_path):
    rows, labels = groups(3, 8)
    for name in ("a", "b"):
        draw_embedding_map(rows, labels, tmp_path / name)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_the_global_random_state_is_neither_read_nor_changed():
    rows, _ = groups(3, 8)
    np.random.seed(1)
    before = np.random.get_state()[1].copy()
    first = project_to_plane(rows)
    assert (np.random.get_state()[1] == before).all()
    np.random.seed(2)
    assert (project_to_plane(rows) == first).all()


def test_the_main_axes_keep_all_distances_where_no_dimension_is_dropped():
    rows = np.random.default_rng(0).normal(size=(12, 5)).astype(np.float32)
    points = maps._principal_components(rows, 5)
    for one in range(12):
        for other in range(12):
            wanted = np.linalg.norm(rows[one] - rows[other])
            assert np.linalg.norm(points[one] - points[other]) == pytest.approx(wanted, abs=1e-5)
    assert (np.diff(points.var(axis=0)) <= 0).all()


def test_few_points_are_projected_by_pca_alone():
    rows = np.array([[0, 0, 3], [0, 0, -3], [1, 0, 0], [-1, 0, 0]], dtype=np.float32)
    assert np.abs(project_to_plane(rows)) == pytest.approx(np.array([[3, 0], [3, 0], [0, 1], [0, 1]]), abs=1e-6)


@pytest.mark.parametrize(("count", "dim"), [(0, 8), (1, 8), (2, 8), (4, 1), (5, 1), (5, 100), (6, 2)])
def test_any_small_number_of_photos_makes_a_map(tmp_path, drawn, count, dim):
    rows = np.random.default_rng(count).normal(size=(count, dim)).astype(np.float32)
    draw_embedding_map(rows, ["one"] * count, tmp_path / "a.png")
    assert scattered(drawn[-1]) == count


def test_a_collapsed_embedding_is_drawn_too(tmp_path, drawn):
    """It is what one wants to see when a run went wrong."""
    draw_embedding_map(np.ones((30, 8), dtype=np.float32), ["a", "b"] * 15, tmp_path / "a.png")
    assert scattered(drawn[-1]) == 30
    assert all(np.isfinite(points.get_offsets()).all() for points in drawn[-1].axes[0].collections)


def test_labels_have_a_colour_and_a_marker_and_stand_in_the_legend_with_their_counts(tmp_path, drawn, written_words):
    rows, labels = groups(3, 10)
    draw_embedding_map(rows[5:], labels[5:], tmp_path / "a.png")
    assert legend(drawn[-1]) == ["label 1 (10)", "label 2 (10)", "label 0 (5)"]
    handles = drawn[-1].axes[0].get_legend().legend_handles
    assert len({handle.get_color() for handle in handles}) == len({handle.get_marker() for handle in handles}) == 3
    assert {"label 0", "label 1", "label 2"} <= set(written_words())
    assert any(word.startswith("Map of 25 photos") for word in written_words())
    with Image.open(tmp_path / "a.png") as picture:
        picture.load()
        assert min(picture.size) > 900


def test_frequent_labels_have_a_style_each_and_the_rarest_share_one_grey(tmp_path, drawn, monkeypatch):
    monkeypatch.setattr(maps, "project_to_plane", lambda rows: rows[:, :2].astype(np.float64))
    rows = np.random.default_rng(0).normal(size=(200, 4)).astype(np.float32)
    labels = [f"label {row % 60:02}" for row in range(180)] + ["label 00"] * 20
    draw_embedding_map(rows, labels, tmp_path / "a.png")
    names = legend(drawn[-1])
    assert len(names) == 57
    assert names[:2] == [f"{OTHER} (12)", "label 00 (23)"]
    assert scattered(drawn[-1]) == 200


def test_a_random_sample_of_a_large_catalogue_is_drawn(tmp_path, drawn, written_words, monkeypatch):
    projected = []
    monkeypatch.setattr(maps, "project_to_plane", lambda rows: projected.append(rows) or rows[:, :2].astype(np.float64))
    rows = np.random.default_rng(0).normal(size=(3 * MAX_POINTS, 2)).astype(np.float32)
    labels = ["left" if row[0] < 0 else "right" for row in rows]
    draw_embedding_map(rows, labels, tmp_path / "a.png")
    assert scattered(drawn[-1]) == len(np.unique(projected[0], axis=0)) == MAX_POINTS
    assert any(word.startswith(f"Map of {MAX_POINTS} of {3 * MAX_POINTS} photos") for word in written_words())
    for points, side in zip(drawn[-1].axes[0].collections, legend(drawn[-1]), strict=True):
        assert {row[0] < 0 for row in points.get_offsets()} == {side.startswith("left")}
    drawn_rows = np.flatnonzero(np.isin(rows[:, 0], projected[0][:, 0]))
    assert np.histogram(drawn_rows, bins=3)[0] == pytest.approx(MAX_POINTS / 3, rel=0.1)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_embeddings_that_are_not_finite_are_refused(tmp_path, bad):
    with pytest.raises(NotFiniteError):
        draw_embedding_map(np.array([[1, 0], [0, bad]], dtype=np.float32), ["a", "b"], tmp_path / "a.png")
    assert list(tmp_path.iterdir()) == []


def test_labels_that_look_like_formulas_or_hidden_names_are_shown(tmp_path, drawn):
    rows, _ = groups(3, 2)
    draw_embedding_map(rows, ["$5", "$5", r"$\x$", r"$\x$", "_private", "_private"], tmp_path / "a.png")
    assert legend(drawn[-1]) == ["$5 (2)", r"$\x$ (2)", "_private (2)"]


def test_an_unwritable_file_is_refused(tmp_path):
    with raises_code(UnwritableError, "unwritable"):
        draw_embedding_map(np.eye(3, dtype=np.float32), ["a", "b", "c"], tmp_path / "none" / "a.png")
