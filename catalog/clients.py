"""Where requests come from."""

from ipaddress import ip_address, ip_network

from django.http import HttpRequest
from rest_framework.throttling import BaseThrottle

NOWHERE = "0.0.0.0"  # noqa: S104 - stands for an address that is none, not for all of them
_HOME_BITS = 64  # one connection has so many addresses of IPv6 that each request could come from another


def address_of(request: HttpRequest) -> str:
    """Where a request comes from, believing as many proxies as the settings name. Of IPv6 the network."""
    try:
        address = ip_address(BaseThrottle().get_ident(request) or "")  # type: ignore[arg-type]  # reads META alone
    except ValueError:
        return NOWHERE
    if address.version == 6:
        mapped = address.ipv4_mapped
        return str(mapped or ip_network((address.packed, _HOME_BITS), strict=False).network_address)
    return str(address)
