"""Progress of a run, computed from the events of the training."""

from worker.training.progress import TRACE_POINTS, RunProgress, thin_out


def step(epoch: int, number: int, **figures: float) -> dict:
    return {"event": "step", "epoch": epoch, "epochs": 4, "step": number, "steps": 10, "loss": 0.5} | figures


def stage(what: str, done: int | None = None, of: int | None = None) -> dict:
    return {"event": "stage", "what": what} | ({"done": done, "of": of} if of else {})


def test_stages_have_labels_and_their_shares_add_up() -> None:
    progress, states = RunProgress({}, 0), []
    for event in (
        stage("decoding", 0, 8),
        stage("views", 1, 2),
        stage("training"),
        step(1, 10),
        step(4, 10),
        stage("measuring and writing the encoder"),
        stage("refining prototypes", 3, 6),
    ):
        progress.take(event)
        states.append((progress.stage, progress.values["share"]))
    assert states == [
        ("reading photos", 0.0),
        ("making views", 0.07),
        ("training", 0.12),
        ("training", 0.325),
        ("training", 0.94),
        ("measuring and writing the encoder", 0.94),
        ("measuring and writing the encoder", 0.94),
    ]


def test_the_counts_are_those_of_the_present_stage() -> None:
    progress = RunProgress({}, 0)
    progress.take(stage("views", 3, 6))
    assert (progress.values["done"], progress.values["of"]) == (3, 6)
    progress.take(stage("training"))
    assert not {"done", "of"} & progress.values.keys()


def test_the_share_never_decreases() -> None:
    progress = RunProgress({}, 0)
    progress.take(stage("views", 2, 2))
    progress.take(stage("views", 0, 5))
    assert progress.values["share"] == 0.12


def test_a_step_is_reported_and_adds_a_point_to_the_curve() -> None:
    progress = RunProgress({}, 0)
    progress.take(stage("training"))
    progress.take(step(2, 5, mined_triplets=7.0, active_triplets=3.0, photos_per_second=20.0, seconds_left=60.0))
    assert progress.values["epoch"] == 2
    assert progress.values["photos_per_second"] == 20.0
    assert progress.values["seconds_left"] == 60.0
    assert progress.values["trace"] == [{"at": 1.5, "loss": 0.5, "mined_triplets": 7.0, "active_triplets": 3.0}]


def test_a_resumed_run_keeps_the_points_of_its_finished_epochs() -> None:
    before = {"trace": [{"at": 0.5, "loss": 2.0}, {"at": 1.0, "loss": 1.5}, {"at": 1.4, "loss": 1.4}]}
    progress = RunProgress(before, 1)
    progress.take(step(2, 1))
    assert [point["at"] for point in progress.values["trace"]] == [0.5, 1.0, 1.1]


def test_a_long_curve_is_thinned_out_and_keeps_its_end() -> None:
    points = list(range(TRACE_POINTS + 1))
    assert thin_out(points[:-1]) == points[:-1]
    assert thin_out(points) == points[::2]
    assert thin_out([*points, TRACE_POINTS + 1])[-1] == TRACE_POINTS + 1
