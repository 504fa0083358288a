"""One POST, with everything bounded and nothing trusted.

The name is resolved once, and the connection goes to an address that was checked, so that a name that changes its
address in between (DNS rebinding) leads nowhere new. Certificates are checked against the name. Redirects are not
followed, of the answer only a little is read, and no proxy comes in between.
https://owasp.org/www-community/attacks/Server_Side_Request_Forgery
"""

from __future__ import annotations

import ipaddress
import re
import socket
from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from monitoring_pipeline.alerting.channels.limits import TooSlowError, within
from monitoring_pipeline.errors import DeliveryError

MOST_ANSWER = 64 * 1024
"""Bytes of an answer that are read."""

Address = tuple[str, int]


@dataclass(frozen=True)
class Reply:
    """What came back. `body` is the beginning of it, `headers` have names in lower case."""

    status: int
    headers: Mapping[str, str] = field(repr=False)
    body: bytes = field(repr=False)

    @property
    def retry_after(self) -> float | None:
        """Seconds that the other side asks to wait, if it says so in seconds."""
        value = self.headers.get("retry-after", "").strip()
        return float(value) if re.fullmatch(r"\d{1,6}(\.\d+)?", value) else None


def post(
    url: str,
    body: bytes,
    headers: Mapping[str, str],
    *,
    who: str,
    timeout: float,
    allow_private: bool = True,
    ca_file: str | None = None,
) -> Reply:
    """POST to an address. `who` is what messages call the other side.

    Raises DeliveryError without anything of the address in it, when there is no answer, or when the address is of a
    private network and that is not allowed.
    """
    problem: DeliveryError
    try:
        return within(
            timeout,
            lambda: _post(
                url, body, headers, who=who, timeout=timeout, allow_private=allow_private, ca_file=ca_file
            ),
        )
    except DeliveryError as error:
        problem = DeliveryError(str(error), permanent=error.permanent)
    except TooSlowError:
        problem = DeliveryError(f"{who} gave no answer within {timeout:g} s")
    except Exception as error:  # noqa: BLE001 - whatever it is, its words may hold secrets
        problem = unreachable(who, error)
    raise problem  # outside of the handlers: what the transport says is not chained


def unreachable(who: str, error: BaseException) -> DeliveryError:
    """A failure on the way, without the transport's words."""
    reason: BaseException = error
    while reason.__cause__ is not None and not (isinstance(reason, OSError) and reason.strerror):
        reason = reason.__cause__
    what = reason.strerror if isinstance(reason, OSError) and reason.strerror else type(reason).__name__
    if type(reason).__name__ == "SSLCertVerificationError":
        what = "its certificate is not trusted"
    return DeliveryError(f"{who} cannot be reached: {what}")


def _post(
    url: str,
    body: bytes,
    headers: Mapping[str, str],
    *,
    who: str,
    timeout: float,
    allow_private: bool,
    ca_file: str | None,
) -> Reply:
    from urllib3.connection import HTTPConnection, HTTPSConnection

    try:
        parts = urlsplit(url)
        host, secure = (parts.hostname or "").encode("idna").decode(), parts.scheme == "https"
        port = parts.port or (443 if secure else 80)
    except (ValueError, UnicodeError):
        host, port, secure, parts = "", 0, False, urlsplit("")
    if not host or parts.scheme not in ("http", "https") or re.search(r"[\s\x00-\x20\x7f]", url):
        raise DeliveryError(f"{who}: the address is not a web address", permanent=True)
    address = checked_address(host, port, who=who, allow_private=allow_private)
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    if secure:
        connection = HTTPSConnection(
            address,
            port,
            timeout=timeout,
            server_hostname=host,
            assert_hostname=host,
            cert_reqs="CERT_REQUIRED",
            ca_certs=ca_file,
        )
    else:
        connection = HTTPConnection(address, port, timeout=timeout)
    try:
        name = f"[{host}]" if ":" in host else host
        shown = name if port == (443 if secure else 80) else f"{name}:{port}"
        connection.request("POST", path, body=body, headers={**headers, "Host": shown}, preload_content=False)
        response = connection.getresponse()
        answer = response.read(MOST_ANSWER, decode_content=False)
        return Reply(response.status, {key.lower(): value for key, value in response.headers.items()}, answer)
    finally:
        connection.close()


def checked_address(host: str, port: int, *, who: str, allow_private: bool) -> str:
    """The address that a name stands for. Raises DeliveryError for one that is not of the public internet.

    With several, all must be public: a name that also leads inside is not one to trust.
    """
    found = [str(one[4][0]) for one in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)]
    if not allow_private and any(not is_public(one) for one in found):
        raise DeliveryError(
            f"{who}: the address leads into a private network; set allow_private: true if that is meant",
            permanent=True,
        )
    return found[0]


def is_public(address: str) -> bool:
    """Whether an address is one of the public internet, also when it stands inside of another kind of address.

    >>> is_public("93.184.216.34"), is_public("127.0.0.1"), is_public("::ffff:10.0.0.1"), is_public("169.254.169.254")
    (True, False, False, False)
    """
    try:
        parsed = ipaddress.ip_address(address.split("%")[0])
    except ValueError:
        return False
    if isinstance(parsed, ipaddress.IPv6Address):
        inner = parsed.ipv4_mapped or parsed.sixtofour or (parsed.teredo[1] if parsed.teredo else None)
        if inner is None and parsed in _NAT64:
            inner = ipaddress.IPv4Address(int(parsed) & 0xFFFFFFFF)
        if inner is not None:
            return is_public(str(inner))
    return parsed.is_global and not (parsed.is_multicast or parsed.is_reserved or parsed.is_unspecified)


_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")
