"""Which sellers may be asked: the rule itself."""

import dataclasses
import ipaddress

import pytest

from autopay.domain.policy.reach import Reach, is_loopback_name, is_public
from autopay.domain.refusal import RefusalReason

CLOSED = Reach()

NOT_PUBLIC = [
    "0.0.0.1", "10.1.2.3", "100.64.0.1", "100.127.255.255", "127.0.0.1", "127.8.8.8", "169.254.169.254",
    "172.16.0.1", "172.31.255.255", "192.0.0.1", "192.0.2.1", "192.168.1.1", "198.18.0.1", "198.51.100.1",
    "203.0.113.1", "224.0.0.1", "240.0.0.1", "255.255.255.255", "::", "::1", "fe80::1", "fe80::1%eth0",
    "fec0::1", "fc00::1", "fd12:3456::1", "ff02::1", "2001:db8::1", "2001::1", "3fff::1", "100::1",
    "64:ff9b:1::1", "::ffff:127.0.0.1", "::ffff:10.0.0.1", "::ffff:169.254.169.254", "::ffff:100.64.0.1",
    "::127.0.0.1", "::7f00:1", "64:ff9b::7f00:1", "64:ff9b::169.254.169.254", "64:ff9b::a00:1",
    "2002:7f00:1::", "2002:a9fe:a9fe::1", "2002:a00:1::1",
]  # fmt: skip
PUBLIC = [
    "1.1.1.1", "8.8.8.8", "100.63.255.255", "100.128.0.1", "172.15.0.1", "172.32.0.1", "192.0.1.1",
    "223.255.255.255", "2606:4700::1111", "2a00:1450::1", "::ffff:8.8.8.8", "64:ff9b::8.8.8.8",
    "2002:808:808::1",
]  # fmt: skip


@pytest.mark.parametrize("address", NOT_PUBLIC)
def test_an_address_that_is_not_public_is_refused_by_the_name_of_its_setting(address: str) -> None:
    refused = CLOSED.address("shop.example", 443, ipaddress.ip_address(address))
    assert refused is not None
    assert refused.reason is RefusalReason.ADDRESS_NOT_ALLOWED
    assert "AUTOPAY_ALLOWED_PRIVATE_HOSTS" in refused.message


@pytest.mark.parametrize("address", PUBLIC)
def test_a_public_address_is_allowed(address: str) -> None:
    assert is_public(ipaddress.ip_address(address))
    assert CLOSED.address("shop.example", 443, ipaddress.ip_address(address)) is None


@pytest.mark.parametrize(
    "host", ["localhost", "LocalHost", "localhost.", "127.0.0.1", "127.0.0.1.", "127.9.9.9", "::1"]
)
def test_a_host_that_says_that_it_is_loopback_may_be_loopback(host: str) -> None:
    assert is_loopback_name(host)
    assert CLOSED.transport("http", host, 80) is None
    for address in ("127.0.0.1", "::1"):
        assert CLOSED.address(host, 80, ipaddress.ip_address(address)) is None
    assert CLOSED.address(host, 80, ipaddress.ip_address("10.0.0.1")) is not None


@pytest.mark.parametrize(
    "host",
    [
        "2130706433",
        "0x7f.1",
        "0x7f000001",
        "017700000001",
        "127.1",
        "0",
        "localhost.example",
        "shop.localhost",
        "localhost..",
        "::ffff:127.0.0.1",
        "127.0.0.1.nip.io",
        "0:0:0:0:0:0:0:2",
        "[::1]",
    ],
)
def test_every_other_host_may_not(host: str) -> None:
    assert not is_loopback_name(host)
    refused = CLOSED.transport("http", host, 80)
    assert refused is not None
    assert refused.reason is RefusalReason.INSECURE_TRANSPORT
    assert CLOSED.address(host, 443, ipaddress.ip_address("127.0.0.1")) is not None


@pytest.mark.parametrize(
    ("setting", "host", "address"),
    [
        ("10.0.0.0/8", "shop.example", "10.9.9.9"),
        ("10.0.0.0/8", "shop.example", "::ffff:10.9.9.9"),
        ("10.9.9.9", "shop.example", "10.9.9.9"),
        ("fd00::/8", "shop.example", "fd00::5"),
        ("[fd00::5]", "shop.example", "fd00::5"),
        ("shop.internal", "shop.internal", "192.168.0.9"),
        ("Shop.Internal", "shop.internal.", "192.168.0.9"),
        ("*.internal", "shop.internal", "192.168.0.9"),
        ("shop.internal:443", "shop.internal", "192.168.0.9"),
        ("127.0.0.0/8", "shop.example", "127.0.0.1"),
    ],
)
def test_what_the_operator_names_is_allowed(setting: str, host: str, address: str) -> None:
    assert Reach.of((), [setting]).address(host, 443, ipaddress.ip_address(address)) is None


@pytest.mark.parametrize(
    ("setting", "host", "address"),
    [
        ("10.0.0.0/8", "shop.example", "192.168.0.9"),
        ("shop.internal", "other.internal", "192.168.0.9"),
        ("shop.internal:8443", "shop.internal", "192.168.0.9"),
        ("*.internal", "internal", "192.168.0.9"),
        ("::/0", "shop.example", "10.0.0.1"),
    ],
)
def test_and_nothing_beside_it(setting: str, host: str, address: str) -> None:
    assert Reach.of((), [setting]).address(host, 443, ipaddress.ip_address(address)) is not None


@pytest.mark.parametrize("setting", ["10.0.0.1/8", "10.0.0.0/33", "a b", "http://x", "-", "fd00::/129"])
def test_a_setting_that_means_nothing_is_an_error(setting: str) -> None:
    with pytest.raises(ValueError, match=r"\S"):
        Reach.of((), [setting])


def test_a_host_may_be_asked_without_tls_when_it_is_named() -> None:
    reach = Reach.of(["api.internal", "b.internal:8080"], [])
    assert reach.transport("http", "api.internal", 80) is None
    assert reach.transport("http", "b.internal", 8080) is None
    assert reach.transport("http", "b.internal", 80) is not None
    assert reach.transport("http", "c.internal", 80) is not None
    assert reach.transport("https", "c.internal", 443) is None


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "127.9.9.9", "::1", "LOCALHOST."])
def test_where_loopback_is_not_for_the_caller_it_must_be_named(host: str) -> None:
    address = ipaddress.ip_address("::1" if host == "::1" else "127.0.0.1")
    refused = Reach(loopback=False).address(host, 443, address)
    assert refused is not None
    assert refused.reason is RefusalReason.ADDRESS_NOT_ALLOWED
    named = Reach.of((), ["127.0.0.0/8", "::1"])
    assert dataclasses.replace(named, loopback=False).address(host, 443, address) is None
