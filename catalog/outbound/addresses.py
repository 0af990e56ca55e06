"""Which network addresses are the open internet, and which are somebody's inside.

The tables follow IANA's registries of special-purpose addresses. They are written out because Python's `is_global`
differs from version to version and says yes to multicast.
"""

from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from typing import Final

_INSIDE_V4: Final = tuple(
    map(
        IPv4Network,
        (
            "0.0.0.0/8",  # this host
            "10.0.0.0/8",  # private
            "100.64.0.0/10",  # behind a provider's address translation
            "127.0.0.0/8",  # loopback
            "168.63.129.16/32",  # a public number that inside a large cloud is the machine's own supervisor
            "169.254.0.0/16",  # link-local, where clouds keep their credentials
            "172.16.0.0/12",  # private
            "192.0.0.0/24",  # protocol assignments
            "192.0.2.0/24",  # documentation
            "192.88.99.0/24",  # the relays of 6to4
            "192.168.0.0/16",  # private
            "198.18.0.0/15",  # benchmarks
            "198.51.100.0/24",  # documentation
            "203.0.113.0/24",  # documentation
            "224.0.0.0/3",  # multicast, reserved, broadcast
        ),
    )
)
_UNICAST_V6: Final = IPv6Network("2000::/3")  # all that is given out for the internet
_INSIDE_V6: Final = tuple(
    map(
        IPv6Network,
        (
            "2001::/23",  # protocol assignments, Teredo among them
            "2001:db8::/32",  # documentation
            "3fff::/20",  # documentation
        ),
    )
)
_NAT64: Final = IPv6Network("64:ff9b::/96")


def is_public(address: IPv4Address | IPv6Address) -> bool:
    """Whether everybody may know what answers there. A form that carries an IPv4 address is judged by that."""
    if isinstance(address, IPv4Address):
        return not any(address in network for network in _INSIDE_V4)
    carried = _carried(address)
    if carried is not None:
        return is_public(carried)
    return address in _UNICAST_V6 and not any(address in network for network in _INSIDE_V6)


def _carried(address: IPv6Address) -> IPv4Address | None:
    """The IPv4 address inside a mapped, a 6to4 or a NAT64 one; None if it is an address of its own."""
    if address in _NAT64:
        return IPv4Address(int(address) & 0xFFFFFFFF)
    return address.ipv4_mapped or address.sixtofour
