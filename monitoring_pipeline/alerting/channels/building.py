"""Channels from `channels.yaml`, the settings and the environment.

A channel that lacks something is there all the same and says what is missing whenever something is sent: its digests
wait, the other channels go on.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO
from urllib.parse import urlsplit

from pydantic import SecretStr

from monitoring_pipeline.alerting.channels.console import ConsoleChannel
from monitoring_pipeline.alerting.channels.email import PORTS, EmailChannel, Login
from monitoring_pipeline.alerting.channels.other_services import AppriseChannel
from monitoring_pipeline.alerting.channels.pagerduty import PagerDutyChannel
from monitoring_pipeline.alerting.channels.protocol import Channel
from monitoring_pipeline.alerting.channels.slack import SlackChannel
from monitoring_pipeline.alerting.channels.webhook import WebhookChannel
from monitoring_pipeline.alerting.digests import Digest
from monitoring_pipeline.alerting.messages import Message
from monitoring_pipeline.config.channels import (
    CHANNELS_FILE,
    CONSOLE,
    SLACK,
    AppriseSpec,
    ChannelSpec,
    ConsoleSpec,
    EmailSpec,
    PagerDutySpec,
    SlackSpec,
    WebhookSpec,
    load_channels,
)
from monitoring_pipeline.errors import DeliveryError, MissingExtraError
from monitoring_pipeline.settings import Settings

Secret = Callable[[str], SecretStr]


@dataclass(frozen=True)
class Described:
    """A channel as it may be shown: no secret in it. `missing` is what it lacks, in words; empty when it is ready."""

    name: str
    type: str
    to: str
    variables: tuple[str, ...]
    missing: tuple[str, ...]
    source: str


class UnreadyChannel:
    """A channel that lacks something. Sending says what; it is worth another try once that is mended."""

    def __init__(self, name: str, problem: str) -> None:
        self._name = name
        self._problem = problem

    @property
    def name(self) -> str:
        """Its name."""
        return self._name

    def __repr__(self) -> str:
        return f"UnreadyChannel({self._name}: {self._problem})"

    def send(self, digest: Digest, *, thread: str | None = None) -> str:  # noqa: ARG002
        """Raises DeliveryError."""
        raise DeliveryError(self._problem)

    def say(self, message: Message, *, key: str, thread: str | None = None) -> str:  # noqa: ARG002
        """Raises DeliveryError."""
        raise DeliveryError(self._problem)


def configured_channels(
    settings: Settings, *, stream: TextIO | None = None, environ: Mapping[str, str] | None = None
) -> dict[str, Channel]:
    """The channels of `channels.yaml` and of the settings, by name. The console is always there.

    A channel `slack` of the file takes the place of the settings' one. Raises DocumentError for a file that cannot be
    used.
    """
    channels: dict[str, Channel] = {CONSOLE: ConsoleChannel(stream)}
    slack = SlackChannel.from_settings(settings)
    if slack is not None:
        channels[SLACK] = slack
    specs = load_channels(settings.home).channels
    known = environment() if environ is None and specs else (environ or {})
    for name, spec in specs.items():
        channels[name] = build(name, spec, home=settings.home, environ=known, stream=stream)
    return channels


def described_channels(settings: Settings, *, environ: Mapping[str, str] | None = None) -> list[Described]:
    """The same as they may be shown. Raises DocumentError."""
    specs = load_channels(settings.home).channels
    known = environment() if environ is None else environ
    shown = {CONSOLE: Described(CONSOLE, "console", "the terminal, or the log", (), (), "always there")}
    if SlackChannel.from_settings(settings) is not None:
        token = settings.slack_token is not None and bool(settings.slack_token.get_secret_value().strip())
        variable = "MONITORING_SLACK_TOKEN" if token else "MONITORING_SLACK_WEBHOOK"
        to = settings.slack_channel if token else "the webhook's channel"
        shown[SLACK] = Described(SLACK, "slack", to, (variable,), (), "settings")
    for name, spec in specs.items():
        shown[name] = Described(
            name,
            spec.type,
            where_to(spec),
            variables_of(spec),
            tuple(_missing(spec, settings.home, known)),
            CHANNELS_FILE,
        )
    return list(shown.values())


def environment() -> Mapping[str, str]:
    """The environment, and beneath it an `.env` file in the working folder, as for the settings."""
    from dotenv import dotenv_values

    beside = dotenv_values(".env") if Path(".env").is_file() else {}
    return {**{name: value for name, value in beside.items() if value is not None}, **os.environ}


def build(
    name: str,
    spec: ChannelSpec,
    *,
    home: Path,
    environ: Mapping[str, str],
    stream: TextIO | None = None,
) -> Channel:
    """One channel; an UnreadyChannel where something is missing."""
    missing = _missing(spec, home, environ)
    if missing:
        return UnreadyChannel(name, "; ".join(missing))

    def secret(variable: str) -> SecretStr:
        return SecretStr(environ[variable].strip())

    match spec:
        case ConsoleSpec():
            return ConsoleChannel(stream, name=name)
        case SlackSpec():
            return SlackChannel(
                name=name,
                token=secret(spec.token_env) if spec.token_env else None,
                webhook=secret(spec.webhook_env) if spec.webhook_env else None,
                channel=spec.channel,
                base_url=spec.api_url.rstrip("/") + "/",
                timeout=spec.timeout,
                token_name=spec.token_env or "",
                webhook_name=spec.webhook_env or "",
            )
        case EmailSpec():
            return _email(name, spec, home, secret)
        case PagerDutySpec():
            return PagerDutyChannel(
                secret(spec.routing_key_env),
                name=name,
                url=spec.url,
                timeout=spec.timeout,
                key_name=spec.routing_key_env,
            )
        case WebhookSpec():
            return _webhook(name, spec, home, secret)
        case AppriseSpec():
            return AppriseChannel(
                secret(spec.url_env), name=name, timeout=spec.timeout, url_name=spec.url_env
            )


def _email(name: str, spec: EmailSpec, home: Path, secret: Secret) -> EmailChannel:
    login = None
    if spec.username_env and spec.password_env:
        variables = f"{spec.username_env} and {spec.password_env}"
        login = Login(secret(spec.username_env), secret(spec.password_env), variables)
    return EmailChannel(
        spec.host.strip("[]"),
        name=name,
        port=spec.port,
        security=spec.security,
        sender=spec.sender,
        to=spec.to,
        login=login,
        ca_file=_file(home, spec.ca_file),
        timeout=spec.timeout,
    )


def _webhook(name: str, spec: WebhookSpec, home: Path, secret: Secret) -> WebhookChannel:
    return WebhookChannel(
        secret(spec.url_env) if spec.url_env else SecretStr(spec.url or ""),
        name=name,
        secret=secret(spec.secret_env) if spec.secret_env else None,
        template=spec.template,
        content_type=spec.content_type,
        headers={
            **{header: SecretStr(value) for header, value in spec.headers.items()},
            **{header: secret(variable) for header, variable in spec.headers_env.items()},
        },
        allow_private=spec.allow_private,
        allow_http=spec.allow_http,
        ca_file=_file(home, spec.ca_file),
        timeout=spec.timeout,
    )


def variables_of(spec: ChannelSpec) -> tuple[str, ...]:
    """The environment variables that a channel needs."""
    named = [getattr(spec, field) for field in type(spec).model_fields if field.endswith("_env")]
    names = [one for one in named if isinstance(one, str)]
    names += [variable for one in named if isinstance(one, dict) for variable in one.values()]
    return tuple(dict.fromkeys(names))


def where_to(spec: ChannelSpec) -> str:
    """Where a channel leads, in words, without secrets: of an address only the host is shown."""
    match spec:
        case ConsoleSpec():
            return "the terminal, or the log"
        case SlackSpec():
            return spec.channel if spec.token_env else "the webhook's channel"
        case EmailSpec():
            more = f" and {len(spec.to) - 3} more" if len(spec.to) > 3 else ""
            return f"{', '.join(spec.to[:3])}{more} through {spec.host}:{spec.port or PORTS[spec.security]}"
        case PagerDutySpec():
            return urlsplit(spec.url).hostname or ""
        case WebhookSpec():
            return urlsplit(spec.url).hostname or "" if spec.url else f"the address in {spec.url_env}"
        case AppriseSpec():
            return f"the service in {spec.url_env}"


def _missing(spec: ChannelSpec, home: Path, environ: Mapping[str, str]) -> list[str]:
    missing = [
        f"the environment variable {variable} is not set"
        for variable in variables_of(spec)
        if not environ.get(variable, "").strip()
    ]
    ca_file = _file(home, getattr(spec, "ca_file", None))
    if ca_file is not None and not Path(ca_file).is_file():
        missing.append(f"there is no file {ca_file} (ca_file)")
    if isinstance(spec, AppriseSpec):
        from importlib.util import find_spec

        if find_spec("apprise") is None:
            missing.append(str(MissingExtraError("a channel of the type apprise", "channels")))
    return missing


def _file(home: Path, path: Path | None) -> str | None:
    """A file beside `channels.yaml` unless the path is absolute."""
    return None if path is None else str(home / path)
