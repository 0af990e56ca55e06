"""How the existing Android app is known, and what it can show of a refusal. The route itself is `catalog.api.legacy`.

Apart from it, since a request may be refused before it comes to its route.
"""

import json

from django.http import HttpRequest, JsonResponse


def is_from_the_app(request: HttpRequest) -> bool:
    return request.method == "POST" and request.content_type == "application/json" and request.path_info == "/"


def for_the_app(problem: JsonResponse) -> JsonResponse:
    """A problem in the API's shape, with the members that the app reads."""
    told = json.loads(problem.content)
    problem.content = json.dumps({"hello": told["detail"], "images": [], **told}).encode()
    return problem
