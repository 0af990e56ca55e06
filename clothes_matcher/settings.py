"""Django settings. Every setting that a deployment may change is read from an environment variable.

docs/settings.md lists the variables for operators; a test keeps the list complete.
"""

import os
import tomllib
from datetime import timedelta
from pathlib import Path
from typing import Any

from corsheaders.defaults import default_headers
from django.core.exceptions import ImproperlyConfigured

from clothes_matcher.admin_theme import UNFOLD as UNFOLD  # read by the admin's package
from clothes_matcher.env import (
    env_bool,
    env_choice,
    env_database,
    env_int,
    env_list,
    env_origins,
    env_rate,
    env_secret,
    socket_path,
)

BASE_DIR = Path(__file__).resolve().parent.parent
VAR_DIR = Path(os.environ.get("VAR_DIR") or BASE_DIR / "var").resolve()  # everything that is written at run time
VERSION: str = tomllib.loads((BASE_DIR / "pyproject.toml").read_text())["project"]["version"]

# --- site
SECRET_KEY = env_secret("SECRET_KEY", VAR_DIR / "secret-key")
DEBUG = env_bool("DEBUG", False)
ALLOWED_HOSTS = env_list("ALLOWED_HOSTS", "localhost,127.0.0.1,[::1]")
CSRF_TRUSTED_ORIGINS = env_list("CSRF_TRUSTED_ORIGINS")
ROOT_URLCONF = "clothes_matcher.urls"
WSGI_APPLICATION = "clothes_matcher.wsgi.application"
AUTH_USER_MODEL = "catalog.User"
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

INSTALLED_APPS = [
    "unfold",
    "unfold.contrib.filters",
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "whitenoise.runserver_nostatic",
    "clothes_matcher.static_files.StaticFiles",
    "django_htmx",
    "corsheaders",
    "rest_framework",
    "knox",
    "axes",
    "drf_spectacular",
    "drf_spectacular_sidecar",
    "catalog",
    "worker",
    "demo",
]

MIDDLEWARE = [
    "catalog.http.middleware.RequestIds",
    "django.middleware.security.SecurityMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "corsheaders.middleware.CorsMiddleware",
    "catalog.http.middleware.Compression",
    "catalog.http.middleware.Languages",
    "catalog.http.middleware.ContentSecurityPolicy",
    "catalog.http.middleware.BodySizeLimit",
    "catalog.http.middleware.ApiResponseHeaders",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "django_htmx.middleware.HtmxMiddleware",
    "axes.middleware.AxesMiddleware",  # last: it replaces the response when a password attempt locks out
]

TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [BASE_DIR / "templates"],
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ],
        },
    },
]

# --- HTTPS: on behind a proxy that speaks TLS and sets X-Forwarded-Proto
HTTPS = env_bool("HTTPS", False)
SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = HTTPS
SECURE_HSTS_SECONDS = 30 * 24 * 3600 if HTTPS else 0
SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https") if HTTPS else None

# --- database: SQLite in WAL mode, or the database of DATABASE_URL
DATABASES: dict[str, Any] = {"default": env_database("DATABASE_URL", f"sqlite:///{VAR_DIR / 'db.sqlite3'}")}
if DATABASES["default"]["ENGINE"].endswith("sqlite3"):
    DATABASES["default"]["OPTIONS"] = {
        # IMMEDIATE: a transaction takes the write lock at its start and waits for the lock. By default SQLite takes
        # the lock at the first write, and fails at once if another transaction has written since.
        "transaction_mode": "IMMEDIATE",
        "timeout": 20,
        "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL; PRAGMA cache_size=-32000;",
    }

# --- photos: a local folder, or the S3 bucket of S3_BUCKET
MEDIA_ROOT = VAR_DIR / "media"
_S3 = {
    "BACKEND": "storages.backends.s3.S3Storage",
    "OPTIONS": {
        "bucket_name": os.environ.get("S3_BUCKET"),
        "endpoint_url": os.environ.get("S3_ENDPOINT_URL") or None,
        "region_name": os.environ.get("S3_REGION") or None,
        "default_acl": "private",
        "file_overwrite": False,
    },
}
_LOCAL = {"BACKEND": "django.core.files.storage.FileSystemStorage"}
STORAGES: dict[str, Any] = {
    "default": _S3 if os.environ.get("S3_BUCKET") else _LOCAL,
    "staticfiles": {"BACKEND": "whitenoise.storage.CompressedManifestStaticFilesStorage"},
}
STATIC_URL = "/static/"
STATIC_ROOT = VAR_DIR / "static"
WHITENOISE_KEEP_ONLY_HASHED_FILES = True  # pages link to the hashed names only
# Files that are not compressed by collectstatic: already compressed formats, and source maps for developer tools.
WHITENOISE_SKIP_COMPRESS_EXTENSIONS = ("map", "woff", "woff2", "png", "jpg", "jpeg", "gif", "webp", "gz", "br", "zip")

MAX_UPLOAD_MB = env_int("MAX_UPLOAD_MB", 20, minimum=1)  # one photo, as sent
# A body with one photo: base64 takes 4/3, line breaks and slashes may be escaped, and a form has headers.
MAX_BODY_BYTES = int(MAX_UPLOAD_MB * 1.45 * 2**20) + 2**16
# Uploads stay in memory: a temporary file would need disk space, and a crash would leave it behind.
FILE_UPLOAD_HANDLERS = ["django.core.files.uploadhandler.MemoryFileUploadHandler"]
FILE_UPLOAD_MAX_MEMORY_SIZE = MAX_BODY_BYTES
MAX_PHOTO_MEGAPIXELS = env_int("MAX_PHOTO_MEGAPIXELS", 64, minimum=1)
FETCH_PRIVATE_HOSTS = env_list("FETCH_PRIVATE_HOSTS")  # allow-list of the SSRF protection
PHOTO_DAYS = env_int("PHOTO_DAYS", 30, minimum=1)  # retention of uploaded photos

# --- encoders: an encoder folder is looked up in these folders, in this order
ENCODER_DIRS = [VAR_DIR / "encoders", BASE_DIR / "ml" / "encoders"]
DEFAULT_ENCODER = "efficientnet-lite0-metric100"  # registered on a new site
RUNS_DIR = VAR_DIR / "runs"  # one folder per training run: log, pictures, checkpoint
TRAINING_DATA_DIR = Path(os.environ.get("TRAINING_DATA_DIR") or VAR_DIR / "training-data").resolve()  # manifests
ENCODER_MAX_MB = env_int("ENCODER_MAX_MB", 200, minimum=1)  # an uploaded archive, as sent and unpacked
TRAIN_PRIORITY = env_choice("TRAIN_PRIORITY", "lowest", "normal")  # lowest: uses idle CPU time only
GATE_MAX_DROP = env_int("GATE_MAX_DROP", 5, minimum=0)  # points that a metric of a label may fall at a release
GATE_MIN_PHOTOS = env_int(
    "GATE_MIN_PHOTOS", 20, minimum=1
)  # labels with fewer photos in the evaluation set are ignored
EMBEDDER_RUNTIME = env_choice("EMBEDDER_RUNTIME", "auto", "onnx", "openvino", "torch")
EMBEDDER_PRECISION = env_choice("EMBEDDER_PRECISION", "float32", "bfloat16")

# --- search: backend of a new site (`manage.py search_backend` changes it), and the folder of index snapshots
SEARCH_BACKEND = env_choice("SEARCH_BACKEND", "exact", "approximate", "auto", "pgvector", "qdrant")
INDEX_DIR = Path(os.environ.get("INDEX_DIR") or VAR_DIR / "index").resolve()  # a cache: rebuilt when missing
QDRANT_URL = os.environ.get("QDRANT_URL") or ""
QDRANT_API_KEY = os.environ.get("QDRANT_API_KEY") or ""
if SEARCH_BACKEND == "pgvector" and not DATABASES["default"]["ENGINE"].endswith("postgresql"):
    raise ImproperlyConfigured("SEARCH_BACKEND=pgvector needs PostgreSQL: set DATABASE_URL to a postgres:// URL.")
if SEARCH_BACKEND == "qdrant" and not QDRANT_URL:
    raise ImproperlyConfigured("SEARCH_BACKEND=qdrant needs a Qdrant server: set QDRANT_URL to its address.")

# --- Redis: message queue, notifications about ended queries, rate limit counters
# Without REDIS_URL: the socket of the redis-server that `manage.py demo` starts.
REDIS_URL = os.environ.get("REDIS_URL") or f"unix://{socket_path(VAR_DIR)}?db=0"
CACHES = {
    "default": {
        "BACKEND": "django.core.cache.backends.redis.RedisCache",
        "LOCATION": REDIS_URL,
        "OPTIONS": {"socket_connect_timeout": 1, "socket_timeout": 1},
    }
}
SESSION_ENGINE = "django.contrib.sessions.backends.db"  # sessions survive an outage of Redis

# --- queue
SWEEP_SECONDS = env_int("SWEEP_SECONDS", 5, minimum=1)  # interval of the sweep that re-sends lost work
CLAIM_SECONDS = env_int("CLAIM_SECONDS", 60, minimum=1)  # lease of a claim
CELERY_BROKER_URL = REDIS_URL.replace("unix://", "redis+socket://").replace("?db=", "?virtual_host=")
CELERY_TASK_IGNORE_RESULT = True  # results are database rows
CELERY_TASK_DEFAULT_QUEUE = "cpu"
CELERY_TASK_ACKS_LATE = False  # the sweep re-sends lost messages, claims ignore duplicates
CELERY_WORKER_PREFETCH_MULTIPLIER = 1
CELERY_WORKER_HIJACK_ROOT_LOGGER = False
CELERY_BROKER_CONNECTION_RETRY_ON_STARTUP = True
CELERY_BROKER_CONNECTION_MAX_RETRIES = None
CELERY_BROKER_TRANSPORT_OPTIONS = {
    "socket_connect_timeout": 1,
    "queue_order_strategy": "priority",  # queries (priority 0) before catalogue photos (9)
    "priority_steps": [0, 9],
}
CELERY_BEAT_SCHEDULE = {
    "sweep": {"task": "worker.sweep", "schedule": timedelta(seconds=SWEEP_SECONDS), "options": {"queue": "cpu"}},
    "expire": {"task": "worker.expire_photos", "schedule": timedelta(hours=1), "options": {"queue": "cpu"}},
}
CELERY_BEAT_SCHEDULE_FILENAME = str(VAR_DIR / "beat-schedule")

# --- API
TOKEN_DAYS = env_int("TOKEN_DAYS", 90, minimum=1)
MAX_K = 100  # maximum number of items per query
MAX_WAIT_SECONDS = 20  # the maximum of `Prefer: wait=N`
REST_FRAMEWORK: dict[str, Any] = {
    "DEFAULT_AUTHENTICATION_CLASSES": [
        "catalog.api.authentication.TokenAuthentication",
        "rest_framework.authentication.SessionAuthentication",
    ],
    "DEFAULT_PERMISSION_CLASSES": ["catalog.api.permissions.HasScope"],
    "DEFAULT_PARSER_CLASSES": ["catalog.api.parsers.DeepSafeJSONParser", "rest_framework.parsers.MultiPartParser"],
    "DEFAULT_RENDERER_CLASSES": ["rest_framework.renderers.JSONRenderer"],
    "DEFAULT_SCHEMA_CLASS": "catalog.api.schema.Schema",
    "DEFAULT_VERSIONING_CLASS": None,
    "ALLOWED_VERSIONS": ["v1"],  # without it the schema view echoes any ?version= in a header
    "DEFAULT_THROTTLE_CLASSES": ["catalog.http.throttles.ScopedThrottle"],
    "DEFAULT_METADATA_CLASS": None,  # OPTIONS serves CORS only; the OpenAPI schema describes the endpoints
    "URL_FORMAT_OVERRIDE": None,  # only the header Accept selects the media type
    "EXCEPTION_HANDLER": "catalog.http.error_handler.problem_handler",
    "NUM_PROXIES": env_int("NUM_PROXIES", 0),  # trusted proxies; 0: X-Forwarded-For could be forged, so it is ignored
    "TEST_REQUEST_DEFAULT_FORMAT": "json",
}
# Rate limits by scope, per user across all devices, or per client IP for anonymous requests.
RATES = {
    "query": env_rate("QUERY_RATE", "120/min"),  # each photo, item or entry of a batch
    "upload": env_rate("UPLOAD_RATE", "60/min"),
    "legacy": env_rate("LEGACY_RATE", "30/min"),  # photos from the existing Android app, per client IP
    "sign-in": env_rate("SIGN_IN_RATE", "20/min"),
    "sign-up": env_rate("SIGN_UP_RATE", "20/hour"),
    "reset": env_rate("RESET_RATE", "10/hour"),  # password reset mails
    "read": env_rate("READ_RATE", "1200/min"),
    "write": env_rate("WRITE_RATE", "240/min"),  # other unsafe requests
    "anonymous": env_rate("ANONYMOUS_RATE", "600/min"),  # all scopes together, per client IP
}
# Origins whose scripts may call the API, with a token: cookies are not sent.
CORS_ALLOWED_ORIGINS = env_origins("CORS_ORIGINS")
CORS_URLS_REGEX = r"^/api/"
CORS_ALLOW_CREDENTIALS = False
CORS_ALLOW_HEADERS = [*default_headers, "idempotency-key", "if-none-match", "prefer", "x-request-id"]
CORS_EXPOSE_HEADERS = [
    "Location",
    "Retry-After",
    "X-Request-ID",
    "Idempotency-Replayed",
    "Preference-Applied",
    "ETag",
    "RateLimit",
    "RateLimit-Policy",
    "Deprecation",
    "Sunset",
    "Link",
]
# The route of the existing Android app, which posts its photo to / without an account.
LEGACY_ROUTE = env_bool("LEGACY_ROUTE", False)
LEGACY_MAX_KB = env_int("LEGACY_MAX_KB", 4096, minimum=1)  # of a body; the app sends a few dozen KiB
KNOX_TOKEN_MODEL = "knox.AuthToken"  # noqa: S105 - a name of a model
REST_KNOX = {"TOKEN_TTL": timedelta(days=TOKEN_DAYS), "AUTH_HEADER_PREFIX": "Token"}
SPECTACULAR_SETTINGS: dict[str, Any] = {
    "TITLE": "Clothes matcher",
    "DESCRIPTION": "Send a photo of a garment, get the items of the catalogue that look most like it.",
    "VERSION": VERSION,
    "OAS_VERSION": "3.1.0",
    "SERVE_INCLUDE_SCHEMA": False,
    "SWAGGER_UI_DIST": "SIDECAR",
    "SWAGGER_UI_FAVICON_HREF": "SIDECAR",
    "REDOC_DIST": "SIDECAR",
    "SCHEMA_PATH_PREFIX": "/api/v1",
    "COMPONENT_SPLIT_REQUEST": True,
    "POSTPROCESSING_HOOKS": [
        "drf_spectacular.hooks.postprocess_schema_enums",
        "catalog.api.schema.forbid_null_characters",
    ],
    "ENUM_NAME_OVERRIDES": {
        "QueryState": "catalog.models.QueryState",
        "RunState": "catalog.models.RunState",
        "WebhookState": "catalog.models.WebhookState",
    },
}

# --- accounts
AUTHENTICATION_BACKENDS = [
    "axes.backends.AxesBackend",  # first: it refuses sign-ins during a lockout
    "django.contrib.auth.backends.ModelBackend",
]
SIGN_UP = env_bool("SIGN_UP", False)  # whether visitors may create an account
PASSWORD_RESET_TIMEOUT = 3600  # seconds the link in the mail is valid
LOGIN_URL = "admin:login"
LOGIN_REDIRECT_URL = "admin:index"  # after a sign-in without ?next=
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": f"django.contrib.auth.password_validation.{name}"}
    for name in (
        "UserAttributeSimilarityValidator",
        "MinimumLengthValidator",
        "CommonPasswordValidator",
        "NumericPasswordValidator",
    )
]
# Lockout per username and client IP: another IP cannot lock a user out. Stored in the database, not in Redis.
AXES_LOCKOUT_PARAMETERS = [["username", "ip_address"]]
AXES_FAILURE_LIMIT = 10
AXES_COOLOFF_TIME = timedelta(minutes=15)
AXES_RESET_COOL_OFF_ON_FAILURE_DURING_LOCKOUT = False  # so that Retry-After stays true
AXES_RESET_ON_SUCCESS = True
AXES_CLIENT_IP_CALLABLE = "catalog.http.rate_limits.client_ip"
AXES_LOCKOUT_CALLABLE = "catalog.http.error_pages.lockout_response"
AXES_DISABLE_ACCESS_LOG = True  # successful sign-ins are not recorded
AXES_ENABLE_ADMIN = False  # catalog.admin has its own page for lockouts
AXES_VERBOSE = False

# --- mail: sent by SMTP through EMAIL_HOST; without EMAIL_HOST written to files
_MAIL_SERVER = os.environ.get("EMAIL_HOST") or ""
EMAIL_BACKEND = f"django.core.mail.backends.{'smtp' if _MAIL_SERVER else 'filebased'}.EmailBackend"
EMAIL_FILE_PATH = VAR_DIR / "mail"
EMAIL_HOST = _MAIL_SERVER
EMAIL_PORT = env_int("EMAIL_PORT", 587, minimum=1)
EMAIL_USE_SSL, EMAIL_USE_TLS = EMAIL_PORT == 465, EMAIL_PORT == 587  # 465: TLS from the start; 587: STARTTLS
EMAIL_HOST_USER = os.environ.get("EMAIL_USER") or ""
EMAIL_HOST_PASSWORD = os.environ.get("EMAIL_PASSWORD") or ""
EMAIL_TIMEOUT = 20
DEFAULT_FROM_EMAIL = os.environ.get("EMAIL_FROM") or "Clothes matcher <noreply@localhost>"

# --- languages and times
LANGUAGE_CODE = "en"
LANGUAGES = [("en", "English"), ("pl", "polski")]  # of the API and the password pages
LOCALE_PATHS = [BASE_DIR / "locale"]
TIME_ZONE = "UTC"
USE_I18N = True
USE_TZ = True

# --- logging: one line per event on standard error
_LOG_LEVEL = env_choice("LOG_LEVEL", "INFO", "DEBUG", "WARNING", "ERROR", "CRITICAL")
LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "filters": {"request": {"()": "catalog.http.request_ids.RequestIdFilter"}},
    "formatters": {"line": {"format": "{asctime} {levelname} {name} {request_id}: {message}", "style": "{"}},
    "handlers": {"console": {"class": "logging.StreamHandler", "formatter": "line", "filters": ["request"]}},
    "root": {"handlers": ["console"], "level": _LOG_LEVEL},
    "loggers": {"axes": {"level": "WARNING"}},  # at INFO it logs four lines per sign-in
}
