"""REST framework throttle: counts a request by scope, per user or per client IP."""

from typing import TYPE_CHECKING

from django.http import HttpRequest
from rest_framework.permissions import SAFE_METHODS
from rest_framework.request import Request
from rest_framework.throttling import BaseThrottle

from catalog.http.rate_limits import Quota, client_ip, count_request

if TYPE_CHECKING:  # REST framework imports the throttles while it defines its views
    from rest_framework.views import APIView

READ = "read"
WRITE = "write"  # unsafe requests to views without a `throttle_scope`
ANONYMOUS = "anonymous"
QUOTA = "catalog.quota"  # key in request.META: the `Quota` that decided


class ScopedThrottle(BaseThrottle):
    """Count safe requests as `read` and all others as the view's `throttle_scope`; limits are the setting RATES.

    Users are throttled across all their devices. Anonymous requests are throttled per client IP, by scope and in total.
    A view whose requests differ in cost has a method `throttle_cost(request)`.
    """

    _quota: Quota | None = None

    def allow_request(self, request: Request, view: "APIView") -> bool:
        """Count the request; return whether it is within the limit. The quota is in `request.META[QUOTA]`."""
        scope = READ if request.method in SAFE_METHODS else getattr(view, "throttle_scope", WRITE)
        cost = view.throttle_cost(request) if hasattr(view, "throttle_cost") else 1
        if request.user and request.user.is_authenticated:
            self._quota = count_request(scope=scope, client=f"user:{request.user.pk}", cost=cost)
        else:
            self._quota = count_anonymous(request._request, scope=scope, cost=cost)
        request._request.META[QUOTA] = self._quota
        return self._quota.is_allowed

    def wait(self) -> float | None:
        """Seconds for the header `Retry-After`."""
        return self._quota.retry_after if self._quota else None


def count_anonymous(request: HttpRequest, *, scope: str, client: str = "", cost: int = 1) -> Quota:
    """Count an anonymous request against the total of its client IP, then against its scope; return what decided.

    `client` names a browser with a session; without it the scope is counted per client IP too.
    """
    by_ip = f"address:{client_ip(request)}"
    total = count_request(scope=ANONYMOUS, client=by_ip, cost=cost)
    return count_request(scope=scope, client=client or by_ip, cost=cost) if total.is_allowed else total


def count_unauthenticated(request: HttpRequest) -> Quota | None:
    """Count a request refused for a missing or invalid token, which never reaches its view's throttle.

    None if the throttle has counted it already.
    """
    if QUOTA in request.META:
        return None
    request.META[QUOTA] = quota = count_request(scope=ANONYMOUS, client=f"address:{client_ip(request)}")
    return quota
