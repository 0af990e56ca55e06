"""Baseline site: one Django REST framework view with a fixed answer and no database.

`benchmarks.api_load` compares the GETs of the real site with it. `BARE_ANSWER` names the JSON file of its answer.
"""

# ruff: noqa: E402 - the settings come first: REST framework reads them when it is imported

import json
import os
from pathlib import Path
from typing import Any

from django.conf import settings

settings.configure(
    SECRET_KEY="guards nothing",  # noqa: S106
    ALLOWED_HOSTS=["127.0.0.1"],
    ROOT_URLCONF=__name__,
    INSTALLED_APPS=["rest_framework"],
    MIDDLEWARE=["django.middleware.common.CommonMiddleware"],  # sets Content-Length; without it the answer is chunked
    REST_FRAMEWORK={
        "DEFAULT_AUTHENTICATION_CLASSES": [],
        "DEFAULT_PERMISSION_CLASSES": [],
        "DEFAULT_RENDERER_CLASSES": ["rest_framework.renderers.JSONRenderer"],
        "UNAUTHENTICATED_USER": None,
    },
)

from django.core.wsgi import get_wsgi_application
from django.urls import path
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

ANSWER = json.loads(Path(os.environ["BARE_ANSWER"]).read_text())


class Bare(APIView):
    """Answers every GET with `ANSWER`."""

    def get(self, request: Request, *args: Any) -> Response:
        return Response(ANSWER)


urlpatterns = [path("", Bare.as_view())]
application = get_wsgi_application()
