"""The settings of the tests: nothing of a test may touch the var/ folder of a site, nor its Redis."""

import os
import tempfile
from pathlib import Path

os.environ["VAR_DIR"] = tempfile.mkdtemp(prefix="cm-tests-")
os.environ["REDIS_URL"] = "redis://127.0.0.1:1/0"  # nobody listens: a test that needs Redis starts one
os.environ["SECRET_KEY"] = "only for tests"
os.environ["TRAIN_PRIORITY"] = "normal"  # a test is waited for

# Each of several test processes may have a database server of its own (tests/on_postgres.py).
os.environ["DATABASE_URL"] = os.environ.get(
    f"DATABASE_URL_{os.environ.get('PYTEST_XDIST_WORKER', '').upper()}", os.environ.get("DATABASE_URL", "")
)

os.environ["DJANGO_SETTINGS_MODULE"] = "clothes_matcher.settings"  # for the processes that tests start

from clothes_matcher.settings import *  # noqa: F403
from clothes_matcher.settings import STATIC_ROOT, STORAGES

Path(STATIC_ROOT).mkdir()
# Pages render without a collectstatic before them.
STORAGES["staticfiles"] = {"BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"}
PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]  # the real one takes its time on purpose
