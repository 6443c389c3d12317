"""Which addresses may be connected to."""

import asyncio
import ipaddress
import socket
from typing import Any

import pytest

from serve_app.addresses import (
    AddressFailed,
    AddressNotAllowed,
    Allowed,
    checked,
    is_public,
    parsed,
    pinned,
    public_address,
)

Names = dict[str, list[str]]


@pytest.fixture
def names(monkeypatch: pytest.MonkeyPatch) -> Names:
    """Names that resolve, each to its addresses; the others do not."""
    known: Names = {}

    def getaddrinfo(host: str, port: int, *_: Any, **__: Any) -> list[Any]:
        if host not in known:
            raise socket.gaierror("unknown")
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port)) for address in known[host]]

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    return known


@pytest.mark.parametrize(
    "address",
    [
        "0.0.0.0",  # noqa: S104
        "10.0.0.1",
        "100.64.0.1",
        "127.0.0.1",
        "127.255.255.254",
        "169.254.169.254",
        "172.16.0.1",
        "192.0.0.1",
        "192.0.2.1",
        "192.88.99.1",
        "192.168.1.1",
        "198.18.0.1",
        "198.51.100.1",
        "203.0.113.1",
        "224.0.0.1",
        "239.1.1.1",
        "240.0.0.1",
        "255.255.255.255",
        "::",
        "::1",
        "::ffff:10.0.0.1",
        "::ffff:169.254.169.254",
        "::ffff:127.0.0.1",
        "::127.0.0.1",
        "64:ff9b::a00:1",
        "64:ff9b:1::a00:1",
        "100::1",
        "2001::1",
        "2001:db8::1",
        "2002:a00:1::1",
        "fc00::1",
        "fd12:3456::1",
        "fe80::1",
        "fec0::1",
        "ff02::1",
    ],
)
def test_what_is_not_the_public_internet_is_not_public(address: str) -> None:
    assert not is_public(ipaddress.ip_address(address))


@pytest.mark.parametrize("address", ["1.1.1.1", "93.184.215.14", "2606:4700:4700::1111", "::ffff:1.1.1.1"])
def test_the_public_internet_is_public(address: str) -> None:
    assert is_public(ipaddress.ip_address(address))


@pytest.mark.parametrize(
    ("text", "host", "allowed"),
    [
        ("", "example.org", False),
        ("example.org", "example.org", True),
        ("example.org", "EXAMPLE.org.", True),
        ("example.org", "a.example.org", False),
        ("example.org", "badexample.org", False),
        ("*.example.org", "a.b.example.org", True),
        ("*.example.org", "example.org", False),
        ("*.example.org", "badexample.org", False),
        ("a.org, example.org", "example.org", True),
        ("10.0.0.0/8", "10.1.2.3", True),
        ("10.0.0.0/8", "::ffff:10.1.2.3", True),
        ("10.0.0.0/8", "11.1.2.3", False),
        ("fd00::/8", "[fd00::1]", True),
        ("example.org", "1.1.1.1", False),
    ],
)
def test_a_list_names_hosts_and_networks(text: str, host: str, allowed: bool) -> None:
    assert parsed(text).names(host) == allowed


@pytest.mark.parametrize("text", ["*", "*.*", "a*.org", "https://example.org", "example.org/path", "10.0.0.1/8", "a b"])
def test_an_entry_that_is_nothing_of_these_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is no host"):
        parsed(text)


@pytest.mark.parametrize(
    "url",
    [
        "",
        "example.org",
        "//example.org/a",
        "http://example.org/a",
        "file:///etc/passwd",
        "ftp://example.org/a",
        "https://user:pass@example.org/",
        "https://user@example.org/",
        "https:///a",
        "https://exa\nmple.org/",
        "https://[::1",
        "https://example.org:99999999/",
    ],
)
def test_what_is_no_plain_https_address_is_refused(url: str) -> None:
    with pytest.raises(AddressNotAllowed):
        checked(url)


def test_a_host_with_one_private_address_among_public_ones_is_refused(names: Names) -> None:
    names["example.org"] = ["1.1.1.1", "10.0.0.1"]
    with pytest.raises(AddressNotAllowed):
        asyncio.run(public_address("example.org", 443, Allowed()))


def test_a_private_host_is_had_where_its_network_is_listed(names: Names) -> None:
    names["inside.example.org"] = ["10.0.0.1"]
    assert asyncio.run(public_address("inside.example.org", 443, parsed("10.0.0.0/8"))) == "10.0.0.1"


def test_a_name_on_the_list_does_not_make_its_private_address_allowed(names: Names) -> None:
    names["example.org"] = ["169.254.169.254"]
    with pytest.raises(AddressNotAllowed):
        asyncio.run(public_address("example.org", 443, parsed("example.org")))


@pytest.mark.parametrize("host", ["missing.example.org", "a" * 300, "\udcff", ""])
def test_a_host_that_does_not_exist_is_said_to(names: Names, host: str) -> None:
    assert host not in names
    with pytest.raises(AddressFailed):
        asyncio.run(public_address(host, 443, Allowed()))


def test_the_host_is_asked_by_name_at_the_address_that_was_checked(names: Names) -> None:
    names["example.org"] = ["1.1.1.1"]
    request = asyncio.run(pinned(checked("https://example.org:8443/a?b=c"), Allowed()))
    assert str(request.url) == "https://1.1.1.1:8443/a?b=c"
    assert request.headers == {"Host": "example.org:8443"}
    assert request.extensions == {"sni_hostname": "example.org"}
