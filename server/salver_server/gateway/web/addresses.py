"""Which addresses belong to the internet: every other one is a neighbour that a sandbox may not meet.

A list of what is open to all, not of what is closed: what nobody has given out yet is refused, too.
"""

from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address

CLOSED_V4 = tuple(
    IPv4Network(text)
    for text in (
        "0.0.0.0/8",  # this host
        "10.0.0.0/8",  # private
        "100.64.0.0/10",  # shared by customers of a carrier; some clouds tell their secrets here
        "127.0.0.0/8",  # loopback
        "168.63.129.16/32",  # a cloud's metadata, at an address that looks public
        "169.254.0.0/16",  # link-local; the metadata of most clouds
        "172.16.0.0/12",  # private
        "192.0.0.0/24",  # protocols' own
        "192.0.2.0/24",  # documentation
        "192.31.196.0/24",  # lookups of addresses that are not public
        "192.52.193.0/24",  # relays of multicast
        "192.88.99.0/24",  # relays of 6to4
        "192.168.0.0/16",  # private
        "192.175.48.0/24",  # lookups of addresses that are not public
        "198.18.0.0/15",  # benchmarks
        "198.51.100.0/24",  # documentation
        "203.0.113.0/24",  # documentation
        "224.0.0.0/4",  # multicast
        "240.0.0.0/4",  # reserved, and broadcast
    )
)
OPEN_V6 = IPv6Network("2000::/3")
"""All that was ever given out. Mapped, compatible, local, site-local and multicast ones lie outside."""
CLOSED_V6 = tuple(
    IPv6Network(text)
    for text in (
        "2001::/23",  # protocols' own: Teredo, ORCHID, benchmarks
        "2001:db8::/32",  # documentation
        "2002::/16",  # 6to4: an IPv4 address within
        "3fff::/20",  # documentation
        "2620:4f:8000::/48",  # lookups of addresses that are not public
    )
)
NAT64 = IPv6Network("64:ff9b::/96")
"""How a network without IPv4 spells the addresses of those who have nothing else."""


def is_open(text: str) -> bool:
    """Whether this address, as a lookup answered it, belongs to the internet."""
    try:
        address = ip_address(text)
    except ValueError:
        return False
    return _open_v4(address) if isinstance(address, IPv4Address) else _open_v6(address)


def _open_v4(address: IPv4Address) -> bool:
    return not any(address in network for network in CLOSED_V4)


def _open_v6(address: IPv6Address) -> bool:
    if address.scope_id is not None:
        return False
    if address in NAT64:
        return _open_v4(IPv4Address(int(address) & 0xFFFFFFFF))
    return address in OPEN_V6 and not any(address in network for network in CLOSED_V6)
