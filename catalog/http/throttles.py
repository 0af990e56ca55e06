"""Which rate a request counts against."""

from typing import TYPE_CHECKING

from django.http import HttpRequest
from rest_framework.permissions import SAFE_METHODS
from rest_framework.request import Request
from rest_framework.throttling import BaseThrottle

from catalog.http.rate_limits import Count, client_ip, count

if TYPE_CHECKING:  # views are made with their throttles, so these cannot wait for those
    from rest_framework.views import APIView

READ = "read"
WRITE = "write"  # what changes something and has no rate of its own
ANONYMOUS = "anonymous"
COUNTED_AS = "catalog.counted_as"  # in request.META: the `Count` that decided


class SharedThrottle(BaseThrottle):
    """Reading counts as `read`, everything else as the view's `throttle_scope`; the rates are the setting RATES.

    People are counted one by one, on all their devices together. Who is nobody yet is counted by address, and twice:
    an address may not do everything at once that each scope allows it. A view whose requests weigh differently has a
    method `throttle_cost(request)`.
    """

    _count: Count | None = None

    def allow_request(self, request: Request, view: "APIView") -> bool:
        scope = READ if request.method in SAFE_METHODS else getattr(view, "throttle_scope", WRITE)
        cost = view.throttle_cost(request) if hasattr(view, "throttle_cost") else 1
        if request.user and request.user.is_authenticated:
            self._count = count(scope=scope, who=f"user:{request.user.pk}", cost=cost)
        else:
            self._count = count_anonymously(request._request, scope=scope, cost=cost)
        request._request.META[COUNTED_AS] = self._count
        return self._count.passes

    def wait(self) -> float | None:
        """Seconds until it may work again, for `Retry-After`."""
        return self._count.wait if self._count else None


def count_anonymously(request: HttpRequest, *, scope: str, who: str = "", cost: int = 1) -> Count:
    """Count a request of nobody's against its address and its scope. The count of the scope, unless it stops before.

    `who` names a browser that is known from before; without it the scope counts the address as well.
    """
    address = f"address:{client_ip(request)}"
    together = count(scope=ANONYMOUS, who=address, cost=cost)
    return count(scope=scope, who=who or address, cost=cost) if together.passes else together


def spend_anonymously(request: HttpRequest, *, scope: str, who: str = "", cost: int = 1) -> int | None:
    """The same for pages: the seconds to wait, or None if it may pass."""
    return count_anonymously(request, scope=scope, who=who, cost=cost).wait


def count_stranger(request: HttpRequest) -> Count | None:
    """Count a request that is refused for want of a good token, before its view could count it. None if it has been."""
    if COUNTED_AS in request.META:
        return None
    request.META[COUNTED_AS] = counted = count(scope=ANONYMOUS, who=f"address:{client_ip(request)}")
    return counted
