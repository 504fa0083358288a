"""Digests in Slack, through a bot (Web API, `chat.postMessage`) or an incoming webhook.

One request, no retries: the outbox decides about those. What went wrong is said in our own words or in Slack's error
code, never in the words of the transport, which may hold the token or the webhook's address.
https://docs.slack.dev/reference/methods/chat.postMessage
https://docs.slack.dev/messaging/sending-messages-using-incoming-webhooks
"""

from __future__ import annotations

import http.client
import logging
import math
import re
from collections.abc import Mapping
from typing import Self
from urllib.error import URLError

from pydantic import SecretStr

from monitoring_pipeline.alerting.channels.limits import TooSlowError, within
from monitoring_pipeline.alerting.digests import Digest
from monitoring_pipeline.alerting.formats.slack_blocks import SlackBlock, blocks_of, fallback_of
from monitoring_pipeline.alerting.messages import Message, message_of
from monitoring_pipeline.errors import DeliveryError
from monitoring_pipeline.settings import Settings

API_URL = "https://slack.com/api/"
TIMEOUT = 10
"""Seconds to wait for Slack."""

_TRANSIENT = {
    "ratelimited",
    "rate_limited",
    "message_limit_exceeded",
    "internal_error",
    "fatal_error",
    "service_unavailable",
    "request_timeout",
    "rollup_error",
    "team_added_to_org",
    "accesslimited",
}
"""Slack's error codes that may go away by themselves; all others need somebody to act."""

_HINTS = {
    "invalid_auth": "check {token}",
    "not_authed": "check {token}",
    "token_revoked": "check {token}",
    "token_expired": "check {token}",
    "account_inactive": "check {token}",
    "missing_scope": "give the bot the scope chat:write",
    "not_in_channel": "invite the bot to the channel, or give it the scope chat:write.public",
    "channel_not_found": "check the channel's name, and invite the bot if the channel is private",
    "no_service": "the webhook was removed; check {webhook}",
    "no_team": "check {webhook}",
    "invalid_token": "check {webhook}",
}

_WHERE = {
    "channel_not_found",
    "not_in_channel",
    "is_archived",
    "thread_not_found",
    "message_not_found",
    "cannot_reply_to_message",
}
"""Codes of a thread that is not there any more."""

_silent = logging.Logger("slack", level=logging.CRITICAL + 1)
"""For slack-sdk, which would log addresses and bodies. Nothing is lost: every failure becomes a DeliveryError."""


class SlackChannel:
    """Posts digests to one Slack channel: with a bot token, or without one through an incoming webhook."""

    def __init__(
        self,
        *,
        name: str = "slack",
        token: SecretStr | None = None,
        webhook: SecretStr | None = None,
        channel: str = "#ml-alerts",
        base_url: str = API_URL,
        timeout: float = TIMEOUT,
        token_name: str = "MONITORING_SLACK_TOKEN",  # noqa: S107 - a variable's name
        webhook_name: str = "MONITORING_SLACK_WEBHOOK",
    ) -> None:
        if not (token and token.get_secret_value()) and not (webhook and webhook.get_secret_value()):
            raise ValueError("a Slack channel needs a bot token or a webhook")
        self._token = token if token and token.get_secret_value() else None
        self._webhook = webhook
        self._channel = channel
        self._base_url = base_url
        self._timeout = timeout
        self._name = name
        self._variables = {"token": token_name, "webhook": webhook_name}

    @property
    def name(self) -> str:
        """Its name."""
        return self._name

    @property
    def threads(self) -> bool:
        """Whether messages about one incident are put into one thread: a bot can, a webhook cannot."""
        return self._token is not None

    @classmethod
    def from_settings(cls, settings: Settings) -> Self | None:
        """The channel that the settings describe, or None when they hold neither token nor webhook."""
        secrets = (settings.slack_token, settings.slack_webhook)
        if not any(secret and secret.get_secret_value().strip() for secret in secrets):
            return None
        return cls(
            token=settings.slack_token,
            webhook=settings.slack_webhook,
            channel=settings.slack_channel,
            base_url=settings.slack_api_url,
        )

    def __repr__(self) -> str:
        how = f"bot in {self._channel}" if self._token else "webhook"
        return f"SlackChannel({how})"

    def send(self, digest: Digest, *, thread: str | None = None) -> str:
        """Post the digest. The receipt is `channel/timestamp` of the message, or `ok` from a webhook.

        Raises DeliveryError: permanent for refusals (token, channel, message), otherwise worth another try.
        """
        return self.say(message_of(digest), key=digest.dedup_key, thread=thread)

    def say(self, message: Message, *, key: str, thread: str | None = None) -> str:  # noqa: ARG002 - Slack has no keys
        """Post any message; as a reply where `thread` is the receipt of a message of the bot's."""
        text, blocks = fallback_of(message), blocks_of(message)
        problem: DeliveryError
        try:
            return within(self._timeout, lambda: self._deliver(text, blocks, thread))
        except DeliveryError as error:
            problem = DeliveryError(str(error), permanent=error.permanent, retry_after=error.retry_after)
        except TooSlowError:
            problem = DeliveryError(f"Slack gave no answer within {self._timeout:g} s")
        except Exception as error:  # noqa: BLE001 - whatever it is, its words may hold secrets
            problem = _network_problem(error, self._variables["webhook"])
        raise problem  # outside of the handlers: the transport's error, which may hold secrets, is not chained

    def _deliver(self, text: str, blocks: list[SlackBlock], thread: str | None) -> str:
        if self._token is None:
            return self._call_webhook(text, blocks)
        parent = _THREAD.fullmatch(thread or "")
        if parent is None:
            return self._post(self._token, text, blocks, self._channel)
        try:
            return self._post(self._token, text, blocks, parent["channel"], thread_ts=parent["ts"])
        except _GoneError:
            return self._post(self._token, text, blocks, self._channel)

    def _post(
        self,
        token: SecretStr,
        text: str,
        blocks: list[SlackBlock],
        channel: str,
        *,
        thread_ts: str | None = None,
    ) -> str:
        from slack_sdk import WebClient
        from slack_sdk.errors import SlackApiError

        client = WebClient(
            token.get_secret_value(),
            base_url=self._base_url,
            timeout=math.ceil(self._timeout),
            logger=_silent,
            retry_handlers=[],
        )
        refused: SlackApiError | None = None
        try:
            answer = client.chat_postMessage(
                channel=channel,
                text=text,
                blocks=blocks,
                unfurl_links=False,
                unfurl_media=False,
                thread_ts=thread_ts,
            )
            return f"{answer.get('channel')}/{answer.get('ts')}"
        except SlackApiError as error:
            refused = error
        response = refused.response
        code = response.get("error") if isinstance(response.data, dict) else None
        if thread_ts is not None and code in _WHERE:
            raise _GoneError
        raise _refusal(response.status_code, str(code or ""), response.headers, self._variables)

    def _call_webhook(self, text: str, blocks: list[SlackBlock]) -> str:
        from slack_sdk.webhook import WebhookClient

        assert self._webhook is not None  # noqa: S101 - __init__ made sure of one of the two
        client = WebhookClient(
            self._webhook.get_secret_value(),
            timeout=math.ceil(self._timeout),
            logger=_silent,
            retry_handlers=[],
        )
        response = client.send(text=text, blocks=blocks)
        body = response.body.strip()
        if response.status_code == 200 and body == "ok":
            return "ok"
        raise _refusal(response.status_code, body, response.headers, self._variables)


_THREAD = re.compile(r"(?P<channel>[A-Z0-9]{2,30})/(?P<ts>\d{1,12}\.\d{1,9})")
"""A receipt of a bot's message."""


class _GoneError(Exception):
    """The thread is not there any more."""


def _refusal(
    status: int, code: str, headers: Mapping[str, str], variables: Mapping[str, str]
) -> DeliveryError:
    """What Slack answered, as an error of ours."""
    known = (
        code if re.fullmatch(r"[a-z][a-z0-9_-]{0,60}", code) else ""
    )  # anything else is not Slack's own code
    if status == 429 or known in ("ratelimited", "rate_limited"):
        after = _seconds(headers)
        again = f"; again in {after:g} s" if after is not None else ""
        return DeliveryError(f"Slack asks to slow down{again}", retry_after=after)
    if status >= 500 or known in _TRANSIENT:
        return DeliveryError(f"Slack is not available ({known or f'HTTP {status}'})")
    if status == 408 or (status < 400 and not known):
        return DeliveryError(f"Slack gave no answer that can be understood (HTTP {status})")
    hint = f"; {_HINTS[known].format(**variables)}" if known in _HINTS else ""
    return DeliveryError(f"Slack refused the message: {known or f'HTTP {status}'}{hint}", permanent=True)


def _seconds(headers: Mapping[str, str]) -> float | None:
    for key, value in headers.items():
        if key.lower() == "retry-after":
            return float(value) if re.fullmatch(r"\d{1,6}(\.\d+)?", value.strip()) else None
    return None


def _network_problem(error: Exception, webhook: str) -> DeliveryError:
    """A failure on the way to Slack, without the transport's words."""
    reason = error.reason if isinstance(error, URLError) else error
    if isinstance(reason, (OSError, http.client.HTTPException, UnicodeError)) and not isinstance(
        reason, http.client.InvalidURL
    ):
        what = reason.strerror if isinstance(reason, OSError) and reason.strerror else type(reason).__name__
        return DeliveryError(f"Slack cannot be reached: {what}")
    return DeliveryError(
        f"Slack's address cannot be used ({type(error).__name__}); check {webhook} or the address of the API",
        permanent=True,
    )
