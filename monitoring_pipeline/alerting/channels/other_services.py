"""Digests to any service that Apprise knows: Teams, Discord, Telegram and a hundred more. Needs the extra `channels`.

Apprise says of a message that it went out or that it did not, and no more; what it would log may hold secrets.
https://github.com/caronc/apprise
"""

from __future__ import annotations

from pydantic import SecretStr

from monitoring_pipeline.alerting.channels.limits import TooSlowError, within
from monitoring_pipeline.alerting.digests import Digest, Escalation
from monitoring_pipeline.alerting.formats.text import text_of
from monitoring_pipeline.alerting.messages import Message, message_of
from monitoring_pipeline.errors import DeliveryError, MissingExtraError


class AppriseChannel:
    """Hands digests to Apprise."""

    def __init__(
        self, url: SecretStr, *, name: str = "apprise", timeout: float = 10.0, url_name: str = "its address"
    ) -> None:
        self._url = url
        self._name = name
        self._timeout = timeout
        self._url_name = url_name

    @property
    def name(self) -> str:
        """Its name."""
        return self._name

    def __repr__(self) -> str:
        return f"AppriseChannel({self._name})"

    def send(self, digest: Digest, *, thread: str | None = None) -> str:
        """Send the digest as text. Raises DeliveryError; Apprise does not say whether trying again can help."""
        return self.say(message_of(digest), key=digest.dedup_key, thread=thread)

    def say(self, message: Message, *, key: str, thread: str | None = None) -> str:  # noqa: ARG002 - neither is known there
        """Send any message as text."""
        problem: DeliveryError
        try:
            return within(self._timeout, lambda: self._notify(message))
        except (ImportError, MissingExtraError):
            problem = DeliveryError(
                f"{self._name}: {MissingExtraError('a channel of the type apprise', 'channels')}"
            )
        except DeliveryError as error:
            problem = DeliveryError(str(error), permanent=error.permanent)
        except TooSlowError:
            problem = DeliveryError(f"{self._name} gave no answer within {self._timeout:g} s")
        except Exception as error:  # noqa: BLE001 - whatever it is, its words may hold secrets
            problem = DeliveryError(f"{self._name} failed with {type(error).__name__}")
        raise problem  # outside of the handlers: what Apprise says is not chained

    def _notify(self, message: Message) -> str:
        import apprise

        service = apprise.Apprise.instantiate(self._url.get_secret_value(), suppress_exceptions=True)
        if service is None:
            raise DeliveryError(
                f"{self._name}: not an address of a service that Apprise knows; check {self._url_name}",
                permanent=True,
            )
        most = int(getattr(service, "body_maxlen", 4000) or 4000)
        text = text_of(message)
        kinds = {
            Escalation.CRITICAL: apprise.NotifyType.FAILURE,
            Escalation.WARNING: apprise.NotifyType.WARNING,
            Escalation.INFO: apprise.NotifyType.INFO,
        }
        sent = service.notify(
            title=message.title[: int(getattr(service, "title_maxlen", 0) or 0) or None],
            body=text if len(text) <= most else text[: most - 1] + "…",
            notify_type=kinds[message.level],
        )
        if not sent:
            raise DeliveryError(f"{self._name} did not accept the message")
        return "sent"
