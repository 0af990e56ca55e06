"""Package boundaries: which modules each process loads, proven in fresh interpreters."""

import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from catalog import tasks

ROOT = Path(__file__).resolve().parents[1]
HEAVY = (
    *("torch", "torchvision", "onnxruntime", "pytorch_metric_learning", "worker.tasks.search"),
    *("ml.search", "ml.encoder", "ml.runtime", "ml.inference", "ml.training"),
)


def run(code: str) -> str:
    """Run Python code in a fresh interpreter and return what it prints."""
    command = [sys.executable, "-c", code]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout.strip()


def test_the_web_application_loads_no_network_library_even_with_every_url_resolved() -> None:
    loaded = run(
        "import sys; import clothes_matcher.wsgi; from django.urls import get_resolver;"
        "get_resolver().url_patterns; from catalog.api import urls; from catalog.web import urls;"
        f"print([name for name in {HEAVY!r} if name in sys.modules])"
    )
    assert loaded == "[]"


@pytest.mark.parametrize("name", ["torch", "onnxruntime", "ml.search", "ml.encoder", "ml.runtime", "ml.training"])
def test_the_test_above_would_notice_a_network_library(name: str) -> None:
    loaded = run(f"import sys, {name}; print([name for name in {HEAVY!r} if name in sys.modules])")
    assert f"'{name}'" in loaded


def test_the_catalogue_is_forbidden_every_module_of_ml_but_the_formats() -> None:
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    forbidden = {name for contract in contracts for name in contract.get("forbidden_modules", ())}
    modules = {
        f"ml.{path.stem}"
        for path in (ROOT / "ml").iterdir()
        if path.suffix == ".py" or (path / "__init__.py").is_file()
    }
    assert modules - forbidden <= {"ml.__init__", "ml.__main__", "ml.formats"}


def test_workers_load_no_torch_on_a_machine_without_a_gpu() -> None:
    loaded = run(
        "import django, sys, os; os.environ['DJANGO_SETTINGS_MODULE'] = 'clothes_matcher.settings'; django.setup();"
        "import worker.tasks.search, worker.tasks.sweep, worker.tasks.train, worker.startup;"
        "print('torch' in sys.modules, 'worker.tasks.search' in sys.modules)"
    )
    assert loaded == "False True"


def test_the_net_worker_loads_neither_a_network_library_nor_numpy() -> None:
    loaded = run(
        "import django, sys, os; os.environ['DJANGO_SETTINGS_MODULE'] = 'clothes_matcher.settings'; django.setup();"
        f"from clothes_matcher import app; app.conf.include = {workers()['net']!r};"
        "app.loader.import_default_modules();"
        f"print('worker.fetch_photo' in app.tasks, [name for name in {(*HEAVY, 'numpy')!r} if name in sys.modules])"
    )
    assert loaded == "True []"


def workers() -> dict[str, list[str]]:
    """The modules of each of the Procfile's workers, by queue."""
    lines = (ROOT / "Procfile").read_text()
    found = re.findall(r"--include (\S+) --queues (\w+) ", lines)
    assert len(found) == lines.count(" worker ")
    return {queue: modules.split(",") for modules, queue in found}


@pytest.mark.parametrize(
    ("queue_name", "task"),
    [
        ("gpu", "embed_query"),
        ("cpu", "search_query"),
        ("cpu", "sweep"),
        ("cpu", "expire_photos"),
        ("net", "fetch_photo"),
        ("net", "send_webhook"),
        ("train", "train"),
        ("train", "evaluate"),
    ],
)
def test_the_worker_of_each_queue_loads_the_tasks_sent_to_it(queue_name: str, task: str) -> None:
    loaded = run(
        "import django, os; os.environ['DJANGO_SETTINGS_MODULE'] = 'clothes_matcher.settings'; django.setup();"
        f"from clothes_matcher import app; app.conf.include = {workers()[queue_name]!r};"
        f"app.loader.import_default_modules(); print('worker.{task}' in app.tasks)"
    )
    assert loaded == "True"


def test_the_containers_run_the_workers_of_the_procfile() -> None:
    composed = " ".join((ROOT / "compose.yaml").read_text().replace(",", " ").replace('"', "").split())
    for queue_name, modules in workers().items():
        assert f"--include {' '.join(modules)} --queues {queue_name} " in composed


@pytest.mark.parametrize("name", tasks.SENT_TASKS)
def test_every_task_that_is_sent_by_name_is_registered(name: str) -> None:
    import worker.tasks.net
    import worker.tasks.search
    import worker.tasks.train  # noqa: F401
    from clothes_matcher import app

    assert name in app.tasks


def test_every_scheduled_task_is_registered() -> None:
    import worker.tasks.sweep  # noqa: F401
    from clothes_matcher import app

    assert {entry["task"] for entry in app.conf.beat_schedule.values()} <= set(app.tasks)


def test_a_message_goes_to_one_queue_only() -> None:
    from clothes_matcher import app

    routes = {(entry.exchange.name, entry.routing_key) for entry in app.amqp.queues.values()}
    assert routes == {(name, name) for name in ("gpu", "cpu", "net", "train")}


def test_the_models_and_the_migrations_agree() -> None:
    command = [sys.executable, "manage.py", "makemigrations", "--check", "--dry-run"]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout


def test_no_file_is_longer_than_four_hundred_lines() -> None:
    packages = ("clothes_matcher", "demo", "catalog", "ml", "worker", "tests", "benchmarks")
    files = [file for package in packages for file in (ROOT / package).rglob("*.py") if "migrations" not in file.parts]
    assert len(files) > 50
    assert [file.name for file in files if len(file.read_text().splitlines()) > 400] == []
