"""Settings of the tests. They keep tests away from the var/ folder and the Redis of a site on this machine."""

import os
import tempfile
from pathlib import Path

os.environ["VAR_DIR"] = tempfile.mkdtemp(prefix="cm-tests-")
# The first process sets the folder that all processes of a test run share (tests/helpers/run_files.py).
os.environ.setdefault("TEST_RUN_DIR", str(Path(os.environ["VAR_DIR"], "run")))
os.environ["REDIS_URL"] = "redis://127.0.0.1:1/0"  # nothing listens here: a test that needs Redis starts one
os.environ["SECRET_KEY"] = "only for tests"
os.environ["TRAIN_PRIORITY"] = "normal"  # training does not make way for other processes while a test waits for it

# Each test process can have its own database server (tests/on_postgres.py).
os.environ["DATABASE_URL"] = os.environ.get(
    f"DATABASE_URL_{os.environ.get('PYTEST_XDIST_WORKER', '').upper()}", os.environ.get("DATABASE_URL", "")
)

os.environ["DJANGO_SETTINGS_MODULE"] = "clothes_matcher.settings"  # of the processes that tests start

from clothes_matcher.settings import *  # noqa: F403
from clothes_matcher.settings import STATIC_ROOT, STORAGES

Path(STATIC_ROOT).mkdir()
# Pages render without a collectstatic before them.
STORAGES["staticfiles"] = {"BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"}
PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]  # the real one is slow on purpose
