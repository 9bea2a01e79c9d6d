"""Reads a PostgreSQL URL as providers hand them out. Pure: knows no driver, and no message quotes any of the URL.

Several hosts, a password with an `@`, and parameters of other programs are taken for what they mean; a parameter that
means nothing here and nothing to PostgreSQL's own client library is refused by its name, as it may be a mistake.
"""

import re
from dataclasses import dataclass, field
from urllib.parse import parse_qsl, unquote, urlsplit

_SCHEME = re.compile(r"postgres(ql)?(\+[a-z0-9]+)?")

LIBPQ = frozenset(
    """
    application_name channel_binding client_encoding connect_timeout dbname fallback_application_name
    gssdelegation gssencmode gsslib host hostaddr keepalives keepalives_count keepalives_idle
    keepalives_interval krbsrvname load_balance_hosts max_protocol_version min_protocol_version options passfile
    password port replication require_auth requirepeer service ssl_max_protocol_version ssl_min_protocol_version
    sslcert sslcertmode sslcompression sslcrl sslcrldir sslkey sslkeylogfile sslmode sslnegotiation sslpassword
    sslrootcert sslsni target_session_attrs tcp_user_timeout user
    """.split()  # noqa: SIM905 - a list of words, to be read
)
"""What PostgreSQL's client library knows (libpq, 34.1.2 Parameter Key Words)."""

DROPPED = frozenset(
    """
    connection_limit keepalive_timeout max_pool_size min_pool_size pgbouncer pool pool_max pool_min pool_mode
    pool_size pool_timeout prepared_statement_cache_size prepared_statements preparethreshold socket_timeout
    statement_cache_size supa uselibpqcompat workaround
    """.split()  # noqa: SIM905 - a list of words, to be read
)
"""Of Prisma, node-postgres, asyncpg, JDBC and the providers' own: they concern those programs' pools, and say nothing
about the database or the safety of the connection."""

SSL_MODES = ("disable", "allow", "prefer", "require", "verify-ca", "verify-full")
_TRUE, _FALSE = frozenset({"true", "1", "on", "yes"}), frozenset({"false", "0", "off", "no"})
_HOST = re.compile(r"\[[0-9A-Fa-f:.%]+\]|[^\s:\[\]/@]*")


@dataclass(frozen=True)
class DatabaseUrl:
    """The parts of a URL; `hosts` are names with ports, and `schema` is Prisma's, for the search path."""

    user: str | None
    password: str | None = field(repr=False)
    hosts: tuple[tuple[str, int | None], ...]
    database: str | None
    parameters: dict[str, str] = field(repr=False)
    schema: str | None = None


def parse_database_url(text: str) -> DatabaseUrl:
    """The parts of a PostgreSQL URL.

    Raises:
        ValueError: what is wrong with it, and nothing of what it holds.
    """
    scheme, _, rest = text.strip().partition("://")
    if not _SCHEME.fullmatch(scheme) or not rest:
        raise ValueError("should start with postgresql://, like postgresql://user:password@host:5432/database")
    if not rest.isprintable():
        raise ValueError("has characters that cannot be printed")
    head, _, tail = rest.rpartition("@")
    authority, slash, path = tail.partition("/")
    if not slash:
        authority, _, query = tail.partition("?")
        path = f"?{query}"
    if any(mark in head for mark in "/?#"):
        raise ValueError("a '/', '?', '#' or '@' in its user, password or parameters must be written with %: %2F, %40")
    parts = urlsplit(f"//h/{path}")
    if parts.fragment or "#" in tail:
        raise ValueError("a '#' must be written as %23")
    user, colon, password = head.partition(":")
    parameters, schema = _parameters(parts.query)
    if ":" in parameters.get("host", "") and "port" not in parameters:  # SQLAlchemy's way to write several hosts
        authority = parameters.pop("host")
    return DatabaseUrl(
        user=_plain(user) or None,
        password=_plain(password) if colon else None,
        hosts=tuple(_host(each) for each in authority.split(",")) if authority else (),
        database=_plain(parts.path.removeprefix("/")) or None,
        parameters=parameters,
        schema=schema,
    )


def _host(text: str) -> tuple[str, int | None]:
    name, colon, port = text.rpartition(":") if not text.endswith("]") else (text, "", "")
    if not colon:
        name, port = text, ""
    name = _plain(name)
    if not _HOST.fullmatch(name) and not name.startswith("/"):
        raise ValueError("has a host that is none; a ':' or '@' in the password must be written as %3A or %40")
    if colon and not (port.isascii() and port.isdigit() and 0 < int(port[:6]) < 65_536):
        raise ValueError("has a port that is not a number from 1 to 65535")
    return name.strip("[]"), int(port) if port else None


def _parameters(query: str) -> tuple[dict[str, str], str | None]:
    found: dict[str, str] = {}
    schema = None
    for name, value in parse_qsl(query, keep_blank_values=True):
        low = name.lower()
        if "\0" in value:
            raise ValueError(f"has a zero byte in its parameter {name[:40]!r}")
        if low == "schema":
            schema = value or None
        elif low == "ssl":
            found.setdefault("sslmode", _ssl_mode(value))
        elif low in LIBPQ:
            found[low] = f"{found[low]},{value}" if low in ("host", "port") and low in found else value
        elif low not in DROPPED:
            raise ValueError(f"has a parameter that is not PostgreSQL's: {name[:40]!r}")
    if found.get("sslmode", SSL_MODES[0]) not in SSL_MODES:
        raise ValueError(f"has an sslmode that is none of {', '.join(SSL_MODES)}")
    return found, schema


def _ssl_mode(value: str) -> str:
    if value.lower() in _TRUE:
        return "require"
    if value.lower() in _FALSE:
        return "disable"
    raise ValueError("has a parameter 'ssl' that is neither true nor false; 'sslmode' says more")


def _plain(text: str) -> str:
    plain = unquote(text)
    if "\0" in plain:
        raise ValueError("has a zero byte")
    return plain
