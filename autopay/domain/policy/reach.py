"""Which sellers may be asked: over TLS, and at public addresses unless the operator says otherwise. Pure.

The rule for addresses is about where a connection really goes, so whoever connects asks it again for every address
that a name resolves to.
"""

import ipaddress
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Self

from autopay.domain.refusal import RefusalReason, Refused
from autopay.domain.text.hosts import authority, is_any_of, parse_host_rule

IpAddress = ipaddress.IPv4Address | ipaddress.IPv6Address
IpNetwork = ipaddress.IPv4Network | ipaddress.IPv6Network

_NOT_PUBLIC_V4 = [
    ipaddress.IPv4Network(each)
    for each in (
        "0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12", "192.0.0.0/24",
        "192.0.2.0/24", "192.88.99.0/24", "192.168.0.0/16", "198.18.0.0/15", "198.51.100.0/24", "203.0.113.0/24",
        "224.0.0.0/4", "240.0.0.0/4",
    )
]  # fmt: skip
"""IANA's special-purpose IPv4 addresses, and multicast."""

_GLOBAL_V6 = ipaddress.IPv6Network("2000::/3")
_NOT_PUBLIC_V6 = [ipaddress.IPv6Network(each) for each in ("2001::/23", "2001:db8::/32", "3fff::/20")]
"""Within 2000::/3: protocol assignments with Teredo, and documentation."""

_MAPPED = ipaddress.IPv6Network("::ffff:0:0/96")
_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")  # RFC 6052
_SIX_TO_FOUR = ipaddress.IPv6Network("2002::/16")  # RFC 3056
_LOOPBACK_V4 = ipaddress.IPv4Network("127.0.0.0/8")


@dataclass(frozen=True)
class Reach:
    """What the operator allows beyond https to public addresses; host rules are those of `hosts.py`.

    `loopback` is whether this machine's own services may be asked without being named. Somebody on another machine,
    who only reaches this one's gateway, must not get at them.
    """

    http_hosts: tuple[str, ...] = ()
    private_hosts: tuple[str, ...] = ()
    private_nets: tuple[IpNetwork, ...] = ()
    loopback: bool = True

    @classmethod
    def of(cls, http_hosts: Iterable[str], private: Iterable[str]) -> Self:
        """From settings; `private` are host rules, addresses and networks (CIDR).

        Raises:
            ValueError: one of `private` is none of these.
        """
        hosts: list[str] = []
        nets: list[IpNetwork] = []
        for each in private:
            if _is_net(each):
                nets.append(ipaddress.ip_network(_without_brackets(each)))
                continue
            try:
                hosts.append(parse_host_rule(each))
            except ValueError:
                raise ValueError(f"{each[:100]!r} is neither a host nor a network") from None
        return cls(tuple(http_hosts), tuple(hosts), tuple(nets))

    def transport(self, scheme: str, host: str, port: int) -> Refused | None:
        """Why a host is not asked in this way; None when it may be. Loopback may be asked without TLS."""
        is_named = is_any_of(self.http_hosts, authority(host, port))
        if scheme == "https" or is_named or is_loopback_name(host):
            return None
        return Refused(
            reason=RefusalReason.INSECURE_TRANSPORT,
            message=f"{host} is asked without TLS; use https, or name it in AUTOPAY_ALLOWED_HTTP_HOSTS",
        )

    def address(self, host: str, port: int, address: IpAddress) -> Refused | None:
        """Why a host is not asked at this address; None when it may be.

        Loopback is allowed to a host that says so itself, not to a name that resolves to it.
        """
        inner = _embedded(address)
        is_known = any(each in net for net in self.private_nets for each in (address, inner))
        if is_public(address) or is_known or is_any_of(self.private_hosts, authority(host, port)):
            return None
        if self.loopback and is_loopback_name(host) and _is_loopback(address):
            return None
        where = f"{host} is" if literal(host) else f"{host} is at {address},"
        return Refused(
            reason=RefusalReason.ADDRESS_NOT_ALLOWED,
            message=f"{where} not a public address; if that is meant, name it in AUTOPAY_ALLOWED_PRIVATE_HOSTS",
        )


def is_public(address: IpAddress) -> bool:
    """Whether an address is one of the public internet; an IPv4 address within an IPv6 one counts as itself."""
    inner = _embedded(address)
    if isinstance(inner, ipaddress.IPv4Address):
        return not any(inner in net for net in _NOT_PUBLIC_V4)
    return inner in _GLOBAL_V6 and not any(inner in net for net in _NOT_PUBLIC_V6)


def is_loopback_name(host: str) -> bool:
    """Whether a host is loopback as it is written: localhost, 127.0.0.0/8, ::1."""
    found = literal(host)
    return _is_loopback(found) if found else host.lower().removesuffix(".") == "localhost"


def literal(host: str) -> IpAddress | None:
    """The address that a host is, in the usual notation only; names and forms like 0x7f.1 are to be resolved."""
    try:
        return ipaddress.ip_address(host.removesuffix("."))
    except ValueError:
        return None


def _is_loopback(address: IpAddress) -> bool:
    return address in _LOOPBACK_V4 or address == ipaddress.IPv6Address(1)


def _embedded(address: IpAddress) -> IpAddress:
    if isinstance(address, ipaddress.IPv6Address):
        if address in _MAPPED or address in _NAT64:
            return ipaddress.IPv4Address(int(address) & 0xFFFF_FFFF)
        if address in _SIX_TO_FOUR:
            return ipaddress.IPv4Address(int(address) >> 80 & 0xFFFF_FFFF)
    return address


def _is_net(text: str) -> bool:
    """Whether a setting means a network or an address, and not a host rule."""
    return "/" in text or literal(_without_brackets(text)) is not None


def _without_brackets(text: str) -> str:
    return text.removeprefix("[").removesuffix("]")
