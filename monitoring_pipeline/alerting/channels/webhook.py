"""Digests by POST to any web address: as JSON or through a template of the receiver's liking, signed.

The signature is the HMAC-SHA256 of `id.timestamp.body`, in hexadecimal, with the shared secret as key: `v1=…` in
`X-Monitoring-Signature`, beside `X-Monitoring-Id` (the same whenever a message is sent again) and
`X-Monitoring-Timestamp` (seconds since 1970). How to check it: `docs/channels.md`.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import re
import time
from collections.abc import Mapping

from pydantic import SecretStr

from monitoring_pipeline.alerting.channels.https import Reply, post
from monitoring_pipeline.alerting.digests import Digest
from monitoring_pipeline.alerting.formats.text import text_of
from monitoring_pipeline.alerting.messages import Message, message_of
from monitoring_pipeline.errors import DeliveryError

MOST_BODY = 1_000_000
"""Bytes of a request."""

JsonObject = dict[str, object]


class WebhookChannel:
    """Posts digests to one address. Private addresses are refused unless allowed, and so is plain http."""

    def __init__(
        self,
        url: SecretStr,
        *,
        name: str = "webhook",
        secret: SecretStr | None = None,
        template: str | None = None,
        content_type: str = "application/json",
        headers: Mapping[str, SecretStr] | None = None,
        allow_private: bool = False,
        allow_http: bool = False,
        ca_file: str | None = None,
        timeout: float = 10.0,
    ) -> None:
        self._url = url
        self._name = name
        self._secret = secret
        self._template = template
        self._content_type = content_type
        self._headers = dict(headers or {})
        self._allow_private = allow_private
        self._allow_http = allow_http
        self._ca_file = ca_file
        self._timeout = timeout

    @property
    def name(self) -> str:
        """Its name."""
        return self._name

    def __repr__(self) -> str:
        return f"WebhookChannel({self._name})"

    def send(self, digest: Digest, *, thread: str | None = None) -> str:
        """Post the digest: `{"type": "digest", "id": …, "digest": …, "message": …}`. The receipt is the HTTP status.

        Raises DeliveryError: permanent for what the receiver refuses, otherwise worth another try.
        """
        return self._send("digest", digest.dedup_key, message_of(digest), digest.to_json(), thread)

    def say(self, message: Message, *, key: str, thread: str | None = None) -> str:
        """Post any message: the same without `digest`, and with the type `message`."""
        return self._send("message", key, message, None, thread)

    def _send(
        self, kind: str, key: str, message: Message, digest: JsonObject | None, thread: str | None
    ) -> str:
        content: JsonObject = {
            "type": kind,
            "id": key,
            "thread": thread,
            "message": {
                "level": message.level.value,
                "title": message.title,
                "summary": message.summary,
                "text": text_of(message),
                "link": message.link,
            },
        }
        if digest is not None:
            content["digest"] = digest
        body = self._body(content)
        url = self._url.get_secret_value().strip()
        if not self._allow_http and not url.lower().startswith("https:"):
            raise DeliveryError(
                f"{self._name}: the address is not https; set allow_http: true if that is meant",
                permanent=True,
            )
        reply = post(
            url,
            body,
            {
                **{name: value.get_secret_value() for name, value in self._headers.items()},
                "Content-Type": self._content_type,
                "User-Agent": "monitoring-pipeline",
                **_signed(key, body, self._secret),
            },
            who=self._name,
            timeout=self._timeout,
            allow_private=self._allow_private,
            ca_file=self._ca_file,
        )
        return _receipt(self._name, reply)

    def _body(self, content: JsonObject) -> bytes:
        text = (
            json.dumps(content, ensure_ascii=False)
            if self._template is None
            else rendered(self._template, content, name=self._name)
        )
        body = text.encode(errors="replace")
        if len(body) > MOST_BODY:
            raise DeliveryError(
                f"{self._name}: the body has {len(body):,} bytes, more than {MOST_BODY:,}", permanent=True
            )
        return body


def rendered(template: str, content: Mapping[str, object], *, name: str) -> str:
    """A template with what is to be told, in a sandbox. Raises DeliveryError where it fails or never ends."""
    from jinja2 import StrictUndefined, TemplateError
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    problem: DeliveryError
    try:
        environment = ImmutableSandboxedEnvironment(undefined=StrictUndefined, autoescape=False)
        parts: list[str] = []
        length = 0
        for part in environment.from_string(template).generate(**content):
            parts.append(part)
            length += len(part)
            if length > MOST_BODY:
                raise DeliveryError(
                    f"{name}: the template makes more than {MOST_BODY:,} characters", permanent=True
                )
        return "".join(parts)
    except DeliveryError:
        raise
    except TemplateError as error:
        problem = DeliveryError(f"{name}: the template fails: {error.message}", permanent=True)
    except Exception as error:  # noqa: BLE001 - a template is a program
        problem = DeliveryError(f"{name}: the template fails: {type(error).__name__}", permanent=True)
    raise problem


def signature(secret: bytes, key: str, timestamp: int, body: bytes) -> str:
    """The signature of a request.

    >>> signature(b"shared", "id-1", 1700000000, b"{}")[:11]
    'v1=99f891ce'
    """
    signed = f"{key}.{timestamp}.".encode() + body
    return "v1=" + hmac.new(secret, signed, hashlib.sha256).hexdigest()


def _signed(key: str, body: bytes, secret: SecretStr | None) -> dict[str, str]:
    named = key if re.fullmatch(r"[\x21-\x7e]{1,200}", key) else hashlib.sha256(key.encode()).hexdigest()
    if secret is None:
        return {"X-Monitoring-Id": named}
    now = int(time.time())
    return {
        "X-Monitoring-Id": named,
        "X-Monitoring-Timestamp": str(now),
        "X-Monitoring-Signature": signature(secret.get_secret_value().encode(), named, now, body),
    }


def _receipt(name: str, reply: Reply) -> str:
    if 200 <= reply.status < 300:
        return f"HTTP {reply.status}"
    if 300 <= reply.status < 400:
        raise DeliveryError(
            f"{name} answers with a redirect (HTTP {reply.status}), which is not followed; give the final address",
            permanent=True,
        )
    if reply.status in (408, 425, 429) or reply.status >= 500:
        raise DeliveryError(
            f"{name} does not accept it now (HTTP {reply.status})", retry_after=reply.retry_after
        )
    raise DeliveryError(f"{name} refused the message (HTTP {reply.status})", permanent=True)
