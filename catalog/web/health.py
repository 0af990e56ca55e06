"""Health check for load balancers: `/healthz`."""

import redis
from django.conf import settings
from django.core.cache import cache
from django.db import DatabaseError, InterfaceError, connection
from django.http import HttpRequest, JsonResponse
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe


@require_safe
@never_cache
def healthz(request: HttpRequest) -> JsonResponse:
    """200 while the database answers, else 503. Without Redis queries are still accepted, and processed later."""
    database, queue = _database_answers(), _redis_answers()
    report = {
        "status": "ok" if database else "unavailable",
        "database": "ok" if database else "away",
        "redis": "ok" if queue else "away",
        "version": settings.VERSION,
    }
    return JsonResponse(report, status=200 if database else 503)


def _database_answers() -> bool:
    try:
        with connection.cursor() as cursor:
            cursor.execute("SELECT 1")
    except (DatabaseError, InterfaceError):
        return False
    return True


def _redis_answers() -> bool:
    try:
        cache.get("healthz")
    except redis.RedisError:
        return False
    return True
