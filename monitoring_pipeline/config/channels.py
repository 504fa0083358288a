"""Who is told and how: `channels.yaml` in the workspace's home, with the channels, the routes and the escalation.

Ours alone, so it is strict. No secret stands in it: a key that ends in `_env` names the environment variable that holds
one, and what looks like a secret anyway is refused without being shown.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator
from pydantic_core import PydanticCustomError

from monitoring_pipeline.config.dataset import SafeId, read_yaml
from monitoring_pipeline.config.fields import DurationField, Listed, refuse, variants
from monitoring_pipeline.config.problems import Step, check_depth, choices_hint, json_path, translate
from monitoring_pipeline.errors import DocumentError, Problem
from monitoring_pipeline.timegrid import Duration

CHANNELS_FILE = "channels.yaml"
CONSOLE, SLACK = "console", "slack"
"""Channels that are there without the file: the console always, `slack` where `MONITORING_SLACK_*` is set."""

LONGEST_TIMEOUT = 10.0
MOST_CHANNELS = 100

_HIDDEN = "text (not shown, it may be a secret)"
_SECRETS = re.compile(
    r"xox[a-z]-|xapp-|hooks\.slack\.com/(services|workflows)|://[^/@\s]+@|-----BEGIN|bearer\s+\S{8}",
    re.IGNORECASE,
)


def _variable(value: object) -> object:
    if not isinstance(value, str) or not _is_variable(value):
        raise refuse(
            "the name of an environment variable that holds the secret, such as TEAM_SLACK_WEBHOOK "
            "(capitals, digits and _; never the secret itself)",
            found=_HIDDEN if isinstance(value, str) else None,
        )
    return value


def _is_variable(text: str) -> bool:
    """Whether a text is a variable's name, and no key that happens to be in capitals."""
    return bool(re.fullmatch(r"[A-Z_][A-Z0-9_]{0,99}", text)) and ("_" in text or len(text) < 20)


def _web_address(value: object) -> object:
    if not isinstance(value, str):
        return value
    try:
        parts = urlsplit(value)
        usable = (
            parts.scheme in ("http", "https")
            and bool(parts.hostname)
            and (parts.port is None or parts.port > 0)
        )
    except ValueError:
        usable = False
    if not usable or re.search(r"[\s\x00-\x1f\x7f]", value):
        raise refuse("a web address such as https://example.org/hook", found=_HIDDEN)
    return value


def _mail_address(value: object) -> object:
    if isinstance(value, str) and not re.fullmatch(
        r"[^@\s<>,;:\"()\[\]\x00-\x1f]{1,64}@[^@\s<>,;:\"()\[\]]{1,253}", value
    ):
        raise refuse("an e-mail address such as team@example.org")
    return value


def _host(value: object) -> object:
    if isinstance(value, str) and not re.fullmatch(r"[\w.-]{1,253}|\[?[0-9a-fA-F:.]{2,45}\]?", value):
        raise refuse("the name of a host such as smtp.example.org", found=_HIDDEN)
    return value


def _header(value: object) -> object:
    if isinstance(value, str) and not re.fullmatch(r"[A-Za-z0-9!#$%&'*+.^_`|~-]{1,100}", value):
        raise refuse("the name of a header")
    return value


def _header_value(value: object) -> object:
    if isinstance(value, str) and not re.fullmatch(r"[\x20-\x7e]{0,1000}", value):
        raise refuse("printable ASCII text of one line")
    return value


Variable = Annotated[
    str, BeforeValidator(_variable), Field(json_schema_extra={"pattern": "^[A-Z_][A-Z0-9_]*$"})
]
"""The name of an environment variable."""

WebAddress = Annotated[str, BeforeValidator(_web_address), Field(max_length=2000)]
MailAddress = Annotated[str, BeforeValidator(_mail_address)]
HostName = Annotated[str, BeforeValidator(_host)]
HeaderName = Annotated[str, BeforeValidator(_header)]
HeaderValue = Annotated[str, BeforeValidator(_header_value)]
SomeOf = Annotated[Listed[SafeId], Field(max_length=MOST_CHANNELS)]


class _Spec(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    @model_validator(mode="before")
    @classmethod
    def _no_secrets(cls, data: object) -> object:
        """Refuse `token: …` where `token_env: NAME` is meant."""
        if not isinstance(data, Mapping):
            return data
        fields = cls.model_fields
        for key in data:
            if isinstance(key, str) and key not in fields and f"{key}_env" in fields:
                raise refuse(
                    f"{key}_env, the name of an environment variable that holds it: secrets do not stand in this file",
                    found=_HIDDEN,
                    key=key,
                )
        return {key: data[key] for key in data if data[key] is not None}


class _Channel(_Spec):
    timeout: float = Field(
        default=LONGEST_TIMEOUT,
        ge=1,
        le=LONGEST_TIMEOUT,
        description="Seconds to wait for the other side, 1 to 10. Default 10.",
    )


class ConsoleSpec(_Spec):
    """The terminal, or the log of whatever runs the pipeline."""

    type: Literal["console"] = Field(description="Kind of channel.")


class SlackSpec(_Channel):
    """One Slack channel, through a bot (threads per incident) or an incoming webhook."""

    type: Literal["slack"] = Field(description="Kind of channel.")
    token_env: Variable | None = Field(default=None, description="Variable with the bot token (xoxb-…).")
    webhook_env: Variable | None = Field(default=None, description="Variable with the webhook's address.")
    channel: str = Field(
        default="#ml-alerts",
        pattern=r"^[#@]?[^\s#@]{1,80}$",
        description="Where the bot posts: a name or an id. Default #ml-alerts. A webhook has its own.",
    )
    api_url: WebAddress = Field(
        default="https://slack.com/api/", description="Base address of Slack's Web API."
    )

    @model_validator(mode="after")
    def _one_way(self) -> SlackSpec:
        _exactly_one(self, "token_env", "webhook_env")
        return self


class EmailSpec(_Channel):
    """E-mail through an SMTP server."""

    type: Literal["email"] = Field(description="Kind of channel.")
    host: HostName = Field(description="The SMTP server.")
    port: int | None = Field(
        default=None,
        ge=1,
        le=65535,
        description="Its port. Default 587 with starttls, 465 with tls, 25 with none.",
    )
    security: Literal["starttls", "tls", "none"] = Field(
        default="starttls",
        description="How the connection is protected; none only where nobody logs in. Default starttls.",
    )
    username_env: Variable | None = Field(default=None, description="Variable with the user name.")
    password_env: Variable | None = Field(default=None, description="Variable with the password.")
    sender: MailAddress = Field(description="Address that the mail is from.")
    to: Annotated[Listed[MailAddress], Field(min_length=1, max_length=100)] = Field(
        description="Who gets it."
    )
    ca_file: Path | None = Field(
        default=None, description="Certificates to trust instead of the system's, a PEM file."
    )

    @model_validator(mode="after")
    def _login(self) -> EmailSpec:
        if (self.username_env is None) != (self.password_env is None):
            given, missing = ("username_env", "password_env")[:: 1 if self.username_env else -1]
            raise refuse(f"both {given} and {missing}, or none of them", found="nothing", key=missing)
        if self.security == "none" and self.username_env is not None:
            raise refuse(
                "starttls or tls: a password does not go over the network in the clear",
                found='"none"',
                key="security",
            )
        return self


class PagerDutySpec(_Channel):
    """A PagerDuty service, through an integration of the type Events API v2."""

    type: Literal["pagerduty"] = Field(description="Kind of channel.")
    routing_key_env: Variable = Field(description="Variable with the integration key.")
    url: WebAddress = Field(
        default="https://events.pagerduty.com/v2/enqueue",
        description="Where events go; in the EU https://events.eu.pagerduty.com/v2/enqueue.",
    )


class WebhookSpec(_Channel):
    """Any address that takes JSON by POST."""

    type: Literal["webhook"] = Field(description="Kind of channel.")
    url: WebAddress | None = Field(default=None, description="The address, where it is no secret.")
    url_env: Variable | None = Field(default=None, description="Variable with the address, where it is one.")
    secret_env: Variable | None = Field(
        default=None, description="Variable with the key that requests are signed with (HMAC-SHA256)."
    )
    template: str | None = Field(
        default=None,
        max_length=20_000,
        description="Jinja template of the body. Default: the whole digest as JSON.",
    )
    content_type: str = Field(
        default="application/json",
        pattern=r"^[\w.+-]+/[\w.+-]+(; ?charset=[\w-]+)?$",
        description="Type of the body. Default application/json.",
    )
    headers: dict[HeaderName, HeaderValue] = Field(
        default_factory=dict, max_length=20, description="Further headers that are no secrets."
    )
    headers_env: dict[HeaderName, Variable] = Field(
        default_factory=dict,
        max_length=20,
        description="Headers with secrets: the header's name, and the variable with its value.",
    )
    allow_private: bool = Field(
        default=False,
        strict=True,
        description="Also send to private, loopback and link-local addresses. Default false.",
    )
    allow_http: bool = Field(
        default=False, strict=True, description="Also send without encryption. Default false."
    )
    ca_file: Path | None = Field(
        default=None, description="Certificates to trust instead of the system's, a PEM file."
    )

    @model_validator(mode="after")
    def _reasonable(self) -> WebhookSpec:
        _exactly_one(self, "url", "url_env")
        if self.url is not None and not self.allow_http and not self.url.startswith("https:"):
            raise refuse(
                "an https address, or allow_http: true", found="an address without encryption", key="url"
            )
        if self.template is not None:
            _check_template(self.template)
        for name in self.headers:
            if name.lower() in _SECRET_HEADERS or _SECRET_WORDS.search(name):
                raise refuse(
                    f"headers_env: {{{name}: NAME_OF_A_VARIABLE}}; secrets do not stand in this file",
                    found=f"the header {name} with {_HIDDEN}",
                    key="headers",
                )
        for name in (*self.headers, *self.headers_env):
            if name.lower() in _OUR_HEADERS:
                raise refuse(
                    "headers other than those that the request has anyway", found=name, key="headers"
                )
        return self


class AppriseSpec(_Channel):
    """Any other service that Apprise knows (Teams, Discord, Telegram, …). Needs the extra `channels`."""

    type: Literal["apprise"] = Field(description="Kind of channel.")
    url_env: Variable = Field(description="Variable with the service's Apprise address, such as tgram://….")


_SECRET_HEADERS = {"authorization", "proxy-authorization", "cookie"}
_SECRET_WORDS = re.compile(r"token|secret|api-?key|password|auth", re.IGNORECASE)
_OUR_HEADERS = {
    "host",
    "content-length",
    "content-type",
    "transfer-encoding",
    "connection",
    "x-monitoring-signature",
    "x-monitoring-timestamp",
    "x-monitoring-id",
}

CHANNEL_TYPES: Mapping[str, type[BaseModel]] = {
    "slack": SlackSpec,
    "email": EmailSpec,
    "pagerduty": PagerDutySpec,
    "webhook": WebhookSpec,
    "apprise": AppriseSpec,
    "console": ConsoleSpec,
}
"""The kinds of channel, by the name in the file."""

ChannelSpec = Annotated[
    SlackSpec | EmailSpec | PagerDutySpec | WebhookSpec | AppriseSpec | ConsoleSpec,
    Field(discriminator="type"),
    variants(*CHANNEL_TYPES),
]


class RoutesSpec(_Spec):
    """Which channels hear of a digest by its level, where the monitor's own actions name none, or name `routes`."""

    info: SomeOf = Field(default=(), description="Channels for severity 3 and lower.")
    warning: SomeOf = Field(default=(), description="Channels for severity 2.")
    critical: SomeOf = Field(default=(), description="Channels for severity 1.")
    report: SomeOf = Field(
        default=(),
        description="Channels that get the weekly report: e-mail as a file, the others its summary. Default: none.",
    )


class EscalationSpec(_Spec):
    """Who else is told when nobody has acknowledged an incident for a time."""

    after: DurationField = Field(
        description="How long after it was opened, an ISO-8601 duration such as PT30M."
    )
    levels: Annotated[Listed[Literal["info", "warning", "critical"]], Field(min_length=1)] = Field(
        default=("critical",), description="Incidents of which levels. Default critical."
    )
    to: Annotated[SomeOf, Field(min_length=1)] = Field(description="The channels that are told.")


class RiseSpec(_Spec):
    """Incidents that go on for long count as more severe."""

    after: DurationField = Field(
        description="How long an incident must go on, by the time of its data, to count as one level higher: P3D."
    )


class OutageSpec(_Spec):
    """Who is told that a channel has refused messages for a time, through other channels."""

    after: DurationField = Field(
        default=Duration.parse("PT2H"), description="How long it takes until they are told. Default PT2H."
    )
    to: Annotated[SomeOf, Field(min_length=1)] = Field(
        description="Channels to tell, in order: the first that works and is not the one that is down."
    )


class ChannelsFile(_Spec):
    """Channels, routes and escalation of a workspace."""

    channels: dict[SafeId, ChannelSpec] = Field(
        default_factory=dict, max_length=MOST_CHANNELS, description="The channels by name."
    )
    routes: RoutesSpec = Field(default=RoutesSpec(), description="Who hears of which level.")
    escalation: Annotated[Listed[EscalationSpec], Field(max_length=50)] = Field(
        default=(), description="Who is told of what nobody acknowledges, step by step."
    )
    rise: RiseSpec | None = Field(
        default=None, description="When an incident that goes on counts as one level higher. Default: never."
    )
    outage: OutageSpec | None = Field(default=None, description="Who is told of a channel that is down.")


def load_channels(home: Path) -> ChannelsFile:
    """The workspace's `channels.yaml`; nothing configured where there is none. Raises DocumentError with all problems."""
    path = home / CHANNELS_FILE
    return parse_channels(read_yaml(path), source=str(path)) if path.exists() else ChannelsFile()


def parse_channels(data: object, *, source: str) -> ChannelsFile:
    """The same from objects. Raises DocumentError with all problems."""
    check_depth(data, source=source)
    literal = [Problem(json_path(place), _HIDDEN, _INSTEAD) for place in _literal_secrets(data, ())]
    if literal:
        raise DocumentError(source, literal)
    try:
        parsed = ChannelsFile.model_validate({} if data is None else data)
    except ValidationError as error:
        raise DocumentError(source, _problems(error)) from None
    problems = _contradictions(parsed)
    if problems:
        raise DocumentError(source, problems)
    return parsed


def channels_json_schema() -> dict[str, Any]:
    """The JSON Schema of `channels.yaml`, for editors."""
    schema = ChannelsFile.model_json_schema(by_alias=True, mode="validation")
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema, "title": CHANNELS_FILE}


_INSTEAD = "no secret in this file: put it into an environment variable and its name here, under the key that ends in _env"


def _literal_secrets(value: object, place: tuple[Step, ...]) -> Iterator[tuple[Step, ...]]:
    """Where texts stand that look like secrets."""
    match value:
        case str() if _SECRETS.search(value):
            yield place
        case Mapping():
            for key, child in value.items():
                yield from _literal_secrets(child, (*place, str(key)))
        case list() | tuple():
            for at, child in enumerate(value):
                yield from _literal_secrets(child, (*place, at))


def _problems(error: ValidationError) -> list[Problem]:
    """The problems, their places without the names of the variants and with the keys that exist."""
    problems: list[Problem] = []
    for details in error.errors(include_url=False):
        steps = list(details["loc"])
        spec: type[BaseModel] | None = ChannelsFile
        if steps[:1] == ["channels"]:
            spec = CHANNEL_TYPES.get(str(steps[2])) if len(steps) > 2 else None
            if spec is not None:
                del steps[2]
        elif steps[:1] == ["routes"]:
            spec = RoutesSpec
        elif steps[:1] == ["escalation"]:
            spec = EscalationSpec
        elif steps[:1] == ["outage"]:
            spec = OutageSpec
        elif steps[:1] == ["rise"]:
            spec = RiseSpec
        if details["type"] == "extra_forbidden" and spec is not None:
            found, accepted = (
                f'the unknown key "{steps[-1]}"',
                choices_hint(steps[-1], list(spec.model_fields)),
            )
            problems.append(Problem(json_path(steps), found, accepted))
            continue
        if "[key]" in steps:
            del steps[steps.index("[key]") :]
        single = ValidationError.from_exception_data("channels", [_as_line(details, steps)])
        problems += translate(single)
    return list(dict.fromkeys(problems))


def _as_line(details: Any, steps: list[Step]) -> Any:
    context = details.get("ctx", {})
    kind = (
        PydanticCustomError("refused", "accepted: {accepted}", context)
        if details["type"] == "refused"
        else None
    )
    return {"type": kind or details["type"], "loc": tuple(steps), "input": details["input"], "ctx": context}


def _check_template(template: str) -> None:
    from jinja2 import Environment, TemplateSyntaxError

    try:
        Environment(autoescape=False).parse(template)  # noqa: S701 - only read, and never rendered
    except TemplateSyntaxError as error:
        found = f"line {error.lineno}: {error.message}"
        raise refuse("a Jinja template", found=found, key="template") from None


def _exactly_one(spec: BaseModel, one: str, other: str) -> None:
    given = [name for name in (one, other) if getattr(spec, name) is not None]
    if len(given) != 1:
        raise refuse(
            f"one of {one} and {other}",
            found="both of them" if given else "nothing",
            key=other if given else one,
        )


def _contradictions(parsed: ChannelsFile) -> list[Problem]:
    problems: list[Problem] = []
    console = parsed.channels.get(CONSOLE)
    if console is not None and not isinstance(console, ConsoleSpec):
        accepted = "another name: console is the log, which is always there"
        problems.append(Problem(json_path(["channels", CONSOLE]), f'type "{console.type}"', accepted))
    known = dict.fromkeys((*parsed.channels, CONSOLE, SLACK))
    named = [
        *((("routes", level), getattr(parsed.routes, level)) for level in RoutesSpec.model_fields),
        *((("escalation", at, "to"), step.to) for at, step in enumerate(parsed.escalation)),
        *([(("outage", "to"), parsed.outage.to)] if parsed.outage else []),
    ]
    for place, names in named:
        for at, name in enumerate(names):
            if name not in known:
                accepted = f"channels of this file, console, and slack from the settings: {choices_hint(name, list(known))}"
                problems.append(Problem(json_path([*place, at]), f'the channel "{name}"', accepted))
    return problems
