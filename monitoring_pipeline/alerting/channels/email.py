"""Digests by e-mail: text and HTML with small charts, over an encrypted connection.

The Message-ID is made from what the mail says, so that one that is sent again is seen as the same; later mails about an
incident answer the first one, and mail readers put them into one thread. Addresses and subjects are checked or cleaned:
nothing from data makes a header.
https://www.rfc-editor.org/rfc/rfc5322  https://www.rfc-editor.org/rfc/rfc3834
"""

from __future__ import annotations

import contextlib
import hashlib
import logging
import re
import smtplib
import ssl
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from email import policy
from email.message import EmailMessage
from email.utils import format_datetime
from typing import Literal

from pydantic import SecretStr

from monitoring_pipeline.alerting.channels.https import unreachable
from monitoring_pipeline.alerting.channels.limits import TooSlowError, within
from monitoring_pipeline.alerting.digests import Digest
from monitoring_pipeline.alerting.formats.text import text_of
from monitoring_pipeline.alerting.messages import Chart, Message, message_of
from monitoring_pipeline.errors import DeliveryError

Security = Literal["starttls", "tls", "none"]

PORTS: dict[Security, int] = {"starttls": 587, "tls": 465, "none": 25}
MOST_SUBJECT = 200
STEPS = 3
"""Times the time limit for a whole conversation: a server may take the limit for one answer, not for each of them."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Login:
    """Who logs in, and the names of the variables that said so."""

    username: SecretStr
    password: SecretStr
    variables: str = "the user name and the password"


@dataclass(frozen=True)
class Attachment:
    """A file that comes along."""

    name: str
    content: bytes
    kind: str = "text/html"


class EmailChannel:
    """Sends mail through one SMTP server to a fixed list of people."""

    def __init__(
        self,
        host: str,
        *,
        sender: str,
        to: Sequence[str],
        name: str = "email",
        port: int | None = None,
        security: Security = "starttls",
        login: Login | None = None,
        ca_file: str | None = None,
        timeout: float = 10.0,
    ) -> None:
        self._host = host
        self._port = port or PORTS[security]
        self._security: Security = security
        self._sender = sender
        self._to = tuple(to)
        self._name = name
        self._login = login
        self._ca_file = ca_file
        self._timeout = timeout

    @property
    def name(self) -> str:
        """Its name."""
        return self._name

    @property
    def threads(self) -> bool:
        """Mails about one incident answer each other."""
        return True

    def __repr__(self) -> str:
        return f"EmailChannel({self._name})"

    def send(self, digest: Digest, *, thread: str | None = None) -> str:
        """Send the digest. The receipt is the Message-ID, and who was refused if others were not.

        Raises DeliveryError: permanent where the server refuses for good, otherwise worth another try.
        """
        from monitoring_pipeline.alerting.formats.html_mail import charts_of

        return self.say(message_of(digest), key=digest.dedup_key, thread=thread, charts=charts_of(digest))

    def say(
        self,
        message: Message,
        *,
        key: str,
        thread: str | None = None,
        charts: Sequence[Chart] = (),
        attachments: Sequence[Attachment] = (),
    ) -> str:
        """Send any message; with further charts in its HTML part, and with files, if there are any."""
        mail = self._mail(message, key, thread, charts, attachments)
        problem: DeliveryError
        try:
            refused = within(STEPS * self._timeout, lambda: self._deliver(mail))
        except DeliveryError as error:
            problem = DeliveryError(str(error), permanent=error.permanent)
        except TooSlowError:
            problem = DeliveryError(f"the mail server was not done within {STEPS * self._timeout:g} s")
        except Exception as error:  # noqa: BLE001 - whatever it is, its words may hold secrets
            problem = _problem(error, self._login)
        else:
            return self._receipt(mail, refused)
        raise problem  # outside of the handlers: what the server said is not chained

    def _mail(
        self,
        message: Message,
        key: str,
        thread: str | None,
        charts: Sequence[Chart],
        attachments: Sequence[Attachment],
    ) -> EmailMessage:
        from monitoring_pipeline.alerting.formats.html_mail import html_mail

        digest = hashlib.sha256(key.encode(errors="replace")).hexdigest()[:32]
        domain = self._sender.rpartition("@")[2]
        mail = EmailMessage(policy=policy.SMTP)
        mail["From"] = self._sender
        mail["To"] = ", ".join(self._to)
        mail["Subject"] = subject_of(message)
        mail["Date"] = format_datetime(datetime.now(UTC))
        mail["Message-ID"] = f"<{digest}@{domain}>"
        earlier = re.match(r"<[A-Za-z0-9.-]{1,100}@[A-Za-z0-9.-]{1,253}>", thread or "")
        if earlier and earlier[0] != mail["Message-ID"]:
            mail["In-Reply-To"] = earlier[0]
            mail["References"] = earlier[0]
        mail["Auto-Submitted"] = "auto-generated"
        mail["X-Monitoring-Level"] = message.level.value
        mail.set_content(_clean(text_of(message)))
        drawn = html_mail(message, prefix=digest[:12], charts=charts)
        mail.add_alternative(_clean(drawn.html), subtype="html")
        page = mail.get_payload()[1]  # pyright: ignore[reportArgumentType]
        assert isinstance(page, EmailMessage)  # noqa: S101 - two alternatives were just set
        for cid, picture in drawn.pictures.items():
            page.add_related(
                picture, "image", "png", cid=f"<{cid}>", filename=f"{cid}.png", disposition="inline"
            )
        for one in attachments:
            main, _, sub = one.kind.partition("/")
            mail.add_attachment(one.content, maintype=main, subtype=sub, filename=_one_line(one.name, 100))
        return mail

    def _deliver(self, mail: EmailMessage) -> dict[str, int]:
        """Send it; who was refused, with the server's codes, where others were accepted."""
        context = ssl.create_default_context(cafile=self._ca_file)
        if self._security == "tls":
            server = smtplib.SMTP_SSL(self._host, self._port, timeout=self._timeout, context=context)
        else:
            server = smtplib.SMTP(self._host, self._port, timeout=self._timeout)
        try:
            if self._security == "starttls":
                server.starttls(context=context)
            if self._login is not None and self._security != "none":
                server.login(self._login.username.get_secret_value(), self._login.password.get_secret_value())
            refused = server.send_message(mail, self._sender, list(self._to))
            with contextlib.suppress(smtplib.SMTPException, OSError):  # the mail is accepted by now
                server.quit()
        finally:
            server.close()
        return {address: code for address, (code, _) in refused.items()}

    def _receipt(self, mail: EmailMessage, refused: dict[str, int]) -> str:
        receipt = str(mail["Message-ID"])
        if not refused:
            return receipt
        named = ", ".join(f"{address} ({code})" for address, code in sorted(refused.items()))
        _log.warning("%s: the mail server refused %s; the others got the mail", self._name, named)
        return f"{receipt} refused for {named}"


def subject_of(message: Message) -> str:
    """The subject: level and title, one line, nothing in it that could end a header."""
    return _one_line(f"[{message.level.value}] {message.title}".replace("`", ""), MOST_SUBJECT)


def _one_line(text: str, most: int) -> str:
    line = " ".join(re.sub(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]", " ", _clean(text)).split())
    return line if len(line) <= most else line[: most - 1] + "…"


def _clean(text: str) -> str:
    """Without halves of characters, which cannot be sent."""
    return text.encode(errors="replace").decode()


def _problem(error: Exception, login: Login | None) -> DeliveryError:
    """A failure of the conversation, without the server's words."""
    match error:
        case smtplib.SMTPAuthenticationError():
            check = login.variables if login else "whether it wants a login"
            return DeliveryError(
                f"the mail server refused the login ({error.smtp_code}); check {check}",
                permanent=error.smtp_code >= 500,
            )
        case smtplib.SMTPRecipientsRefused():
            codes = {address: code for address, (code, _) in error.recipients.items()}
            named = ", ".join(f"{address} ({code})" for address, code in sorted(codes.items()))
            return DeliveryError(
                f"the mail server refused every recipient: {named}",
                permanent=all(code >= 500 for code in codes.values()),
            )
        case smtplib.SMTPServerDisconnected():
            return DeliveryError("the mail server closed the connection")
        case smtplib.SMTPDataError() | smtplib.SMTPSenderRefused():
            what = "the sender" if isinstance(error, smtplib.SMTPSenderRefused) else "the mail"
            return DeliveryError(
                f"the mail server refused {what} ({error.smtp_code})", permanent=error.smtp_code >= 500
            )
        case smtplib.SMTPResponseException():
            return DeliveryError(f"the mail server does not take mail now ({error.smtp_code})")
        case smtplib.SMTPNotSupportedError():
            return DeliveryError(
                "the mail server offers no encryption or no login; check `security`", permanent=True
            )
        case smtplib.SMTPException():
            return DeliveryError(f"the mail server cannot be understood ({type(error).__name__})")
        case _:
            return unreachable("the mail server", error)
