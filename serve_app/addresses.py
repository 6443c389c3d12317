"""Which addresses this service may connect to on a stranger's word: the operator's list, and the public internet.

A name is resolved once, every address it has is checked, and the connection goes to the one that was checked: a name
that answers otherwise the second time leads nowhere else (CWE-918, CWE-350).
"""

import asyncio
import ipaddress
import re
import socket
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import httpx

from models.errors import UnmaskError

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network
RESOLVE_TIMEOUT_S = 5.0
HTTPS_PORT = 443
HOST = re.compile(r"\*?[a-z0-9]([a-z0-9.-]*[a-z0-9])?|\*\.[a-z0-9.-]*[a-z0-9]")
HIGHEST_PORT = 65535
# Of IPv6 only this is the internet; the rest is local, or translated into something else.
UNICAST = ipaddress.IPv6Network("2000::/3")
# Parts of it, and of IPv4, that carry another address, which routers would unpack; the last is for such protocols.
CARRIERS: tuple[Network, ...] = tuple(
    ipaddress.ip_network(network) for network in ("2002::/16", "2001::/32", "192.88.99.0/24", "192.0.0.0/24")
)


class AddressNotAllowed(UnmaskError):
    """The address is not one that this service may be sent to."""

    code = "address_not_allowed"


class AddressFailed(UnmaskError):
    """The address is allowed, but nothing can be had from it."""

    code = "address_failed"


@dataclass(frozen=True, slots=True)
class Allowed:
    """What an operator's list names.

    Attributes:
        hosts: names, each for itself; those that begin with `.` stand for all names below.
        networks: addresses that may be connected to although they are not public.
        places: `s3://bucket/prefix`, each ending in `/`.
    """

    hosts: tuple[str, ...] = ()
    networks: tuple[Network, ...] = ()
    places: tuple[str, ...] = ()

    def names(self, host: str) -> bool:
        """Whether a host is on the list, by its name or, given as an address, by its network."""
        address = as_address(host)
        if address:
            return self.holds(address)
        host = host.lower().rstrip(".")
        return any(host.endswith(name) if name.startswith(".") else host == name for name in self.hosts)

    def holds(self, address: Address) -> bool:
        """Whether an address is in one of the networks."""
        return any(address in network for network in self.networks)


@dataclass(frozen=True, slots=True)
class Pinned:
    """A request that goes to an address that was checked, and still asks for the host by its name."""

    url: httpx.URL
    headers: dict[str, str]
    extensions: dict[str, Any]


def parsed(text: str) -> Allowed:
    """A list of hosts (`media.example.org`, `*.example.org`), networks and `s3://bucket/prefix`, by commas.

    Raises:
        ValueError: an entry is none of these; it is named.
    """
    hosts, networks, places = [], [], []
    for entry in filter(None, (part.strip() for part in text.split(","))):
        if entry.startswith("s3://"):
            places.append(entry.rstrip("/") + "/")
        elif network := _network(entry):
            networks.append(network)
        elif HOST.fullmatch(entry.lower()) and (entry.count("*") == 0 or entry.startswith("*.")):
            hosts.append(entry.lower().removeprefix("*"))
        else:
            raise ValueError(f"{entry!r} is no host, network or s3://bucket/prefix")
    return Allowed(tuple(hosts), tuple(networks), tuple(places))


async def public_address(host: str, port: int, allowed: Allowed) -> str:
    """The address to connect to for a host, checked.

    Args:
        host: a name or an address.
        port: to be connected to.
        allowed: whose networks need not be public.

    Raises:
        AddressNotAllowed: one of the host's addresses is neither public nor in a network that is allowed.
        AddressFailed: there is no such host.
    """
    found = await resolved(host, port)
    for address in found:
        if not (is_public(address) or allowed.holds(address)):
            raise AddressNotAllowed(f"{host[:253]} is not a public host.", "The operator's settings may name others.")
    return str(found[0])


async def resolved(host: str, port: int) -> Sequence[Address]:
    """All addresses of a host, in the order that the system prefers; raises `AddressFailed`."""
    try:
        async with asyncio.timeout(RESOLVE_TIMEOUT_S):
            entries = await asyncio.get_running_loop().getaddrinfo(
                host, port, type=socket.SOCK_STREAM, flags=socket.AI_ADDRCONFIG
            )
    except (OSError, UnicodeError, TimeoutError):
        raise AddressFailed(f"There is no host {host[:253]}.") from None
    return [unmapped(ipaddress.ip_address(str(entry[4][0]).partition("%")[0])) for entry in entries]


def is_public(address: Address) -> bool:
    """Whether an address is one of the public internet, of one host."""
    address = unmapped(address)
    if any(address in network for network in CARRIERS) or (address.version == 6 and address not in UNICAST):  # noqa: PLR2004
        return False
    return address.is_global and not address.is_multicast and not address.is_reserved


def unmapped(address: Address) -> Address:
    """The IPv4 address that an IPv6 one stands for (`::ffff:10.0.0.1`), or the address itself."""
    return getattr(address, "ipv4_mapped", None) or address


def as_address(host: str) -> Address | None:
    """The address that a host is written as, or None for a name."""
    try:
        return unmapped(ipaddress.ip_address(host.strip("[]")))
    except ValueError:
        return None


def checked(url: str, schemes: Sequence[str] = ("https",)) -> httpx.URL:
    """An address of the web, taken apart.

    Raises:
        AddressNotAllowed: it is none, carries a name and password, or is of another scheme.
    """
    try:
        found = httpx.URL(url)
    except (httpx.InvalidURL, ValueError, TypeError):
        raise AddressNotAllowed("The address cannot be read.", "Such as https://example.org/clip.mp4.") from None
    if found.scheme not in schemes or not found.host or (found.port or 0) > HIGHEST_PORT:
        raise AddressNotAllowed(
            "The address cannot be used.", f"It must begin with {' or '.join(schemes)}:// and a host."
        )
    if found.userinfo:
        raise AddressNotAllowed("The address carries a name and password.", "Use one that is signed for a time.")
    return found


async def pinned(url: httpx.URL, allowed: Allowed) -> Pinned:
    """A request to an address of the web, tied to a connection that was checked. Errors: of `public_address`.

    For `httpx`, with `trust_env=False` (no proxy may resolve the name anew) and without following redirects.
    """
    port = url.port or (HTTPS_PORT if url.scheme == "https" else 80)
    address = await public_address(url.host, port, allowed)
    sni = {} if as_address(url.host) else {"sni_hostname": url.raw_host.decode("ascii")}
    return Pinned(url.copy_with(host=address), {"Host": url.netloc.decode("ascii")}, sni)


def _network(entry: str) -> Network | None:
    try:
        return ipaddress.ip_network(entry)
    except ValueError:
        return None
