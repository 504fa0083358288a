"""E-mail through real SMTP servers: with encryption and without, with a login, and with everything that goes wrong."""

from __future__ import annotations

import email
import socket
import ssl
import subprocess
import threading
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from email import policy
from email.message import EmailMessage
from pathlib import Path
from typing import Any

import pytest
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, AuthResult, Envelope, LoginPassword, Session
from pydantic import SecretStr

from monitoring_pipeline.alerting.channels import Attachment, EmailChannel
from monitoring_pipeline.alerting.channels.email import Login, Security, subject_of
from monitoring_pipeline.alerting.digests import Escalation
from monitoring_pipeline.alerting.messages import Chart, Message
from monitoring_pipeline.errors import DeliveryError
from monitoring_pipeline_tests.alerting.hostile import NASTY, digest_of

DIGEST = digest_of(["income", NASTY], ["", "EU"])
PASSWORD = "hush7 password"
LOGIN = Login(SecretStr("ada"), SecretStr(PASSWORD), "MAIL_USER and MAIL_PASSWORD")


@dataclass
class Post:
    """What a server got, and what it refuses: recipients and whole mails with these answers."""

    port: int = 0
    mails: list[tuple[list[str], EmailMessage]] = field(default_factory=list)
    encrypted: list[bool] = field(default_factory=list)
    refuse: dict[str, str] = field(default_factory=dict)
    answer: str = "250 OK"
    close: bool = False

    async def handle_RCPT(  # noqa: N802 - aiosmtpd names it so
        self,
        server: SMTP,  # noqa: ARG002
        session: Session,  # noqa: ARG002
        envelope: Envelope,
        address: str,
        options: list[str],  # noqa: ARG002
    ) -> str:
        if address in self.refuse:
            return self.refuse[address]
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:  # noqa: N802
        if self.close:
            assert server.transport is not None
            server.transport.close()
        if self.answer.startswith("250"):
            content = envelope.content
            assert isinstance(content, bytes)
            mail = email.message_from_bytes(content, policy=policy.default)
            assert isinstance(mail, EmailMessage)
            self.mails.append((list(envelope.rcpt_tos), mail))
            self.encrypted.append(session.ssl is not None)
        return self.answer


def authenticated(
    server: SMTP, session: Session, envelope: Envelope, mechanism: str, data: object
) -> AuthResult:
    right = isinstance(data, LoginPassword) and (data.login, data.password) == (b"ada", PASSWORD.encode())
    return AuthResult(success=right, handled=False, message=None if right else "535 5.7.8 hush7 is wrong")


@dataclass(frozen=True)
class Certificate:
    path: Path
    context: ssl.SSLContext


@pytest.fixture(scope="session")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Certificate:
    """A certificate for 127.0.0.1 that only who is told so trusts."""
    folder = tmp_path_factory.mktemp("certificate")
    path, key = folder / "certificate.pem", folder / "key.pem"
    made = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    made += ["-keyout", str(key), "-out", str(path), "-days", "3650", "-subj", "/CN=127.0.0.1"]
    subprocess.run([*made, "-addext", "subjectAltName=IP:127.0.0.1"], check=True, capture_output=True)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(path, key)
    return Certificate(path, context)


@contextmanager
def serving(**options: Any) -> Iterator[Post]:
    post = Post()
    controller = Controller(post, hostname="127.0.0.1", port=0, **options)
    # The controller connects to itself to see whether it runs, which needs a port that is known before: should somebody
    # else take it in between, another one is tried.
    for attempts_left in reversed(range(10)):
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            controller.port = post.port = probe.getsockname()[1]
        try:
            controller.start()
            break
        except OSError:
            if not attempts_left:
                raise
    try:
        yield post
    finally:
        controller.stop()


@pytest.fixture
def plain() -> Iterator[Post]:
    with serving() as post:
        yield post


@pytest.fixture
def starttls(certificate: Certificate) -> Iterator[Post]:
    options = {
        "tls_context": certificate.context,
        "require_starttls": True,
        "authenticator": authenticated,
        "auth_required": True,
    }
    with serving(**options) as post:
        yield post


def channel(post: Post, *, security: Security = "none", **changes: Any) -> EmailChannel:
    values: dict[str, Any] = {
        "sender": "monitoring@example.org",
        "to": ["ada@example.org", "bob@example.org"],
        "port": post.port,
        "timeout": 5,
        **changes,
    }
    return EmailChannel("127.0.0.1", security=security, **values)


def failure(mail: EmailChannel) -> DeliveryError:
    """How sending fails; nothing about it may hold a secret or what the server said."""
    with pytest.raises(DeliveryError) as caught:
        mail.send(DIGEST)
    shown = "".join(traceback.format_exception(caught.value)) + repr(mail) + str(vars(mail))
    assert "hush7" not in shown
    return caught.value


def test_a_digest_arrives_as_text_and_html(plain: Post) -> None:
    receipt = channel(plain).send(DIGEST)
    ((to, mail),) = plain.mails
    assert to == ["ada@example.org", "bob@example.org"]
    assert mail["Message-ID"] == receipt
    assert mail["Subject"].startswith("[warning] lead-scoring")
    assert mail["Auto-Submitted"] == "auto-generated"
    assert [part.get_content_type() for part in mail.walk()] == [
        "multipart/alternative",
        "text/plain",
        "text/html",
    ]
    text, page = mail.get_body(("plain",)), mail.get_body(("html",))
    assert text is not None
    assert page is not None
    assert "lead-scoring" in text.get_content()
    assert "lead-scoring" in page.get_content()
    assert "<script" not in page.get_content()


def test_the_same_digest_has_the_same_id_and_another_one_answers_it(plain: Post) -> None:
    mail = channel(plain)
    first, again = mail.send(DIGEST), mail.send(DIGEST)
    assert first == again
    later = mail.send(
        replace(DIGEST, dedup_key="another"), thread=f"{first} refused for bob@example.org (550)"
    )
    assert later != first
    last = plain.mails[-1][1]
    assert last["In-Reply-To"] == last["References"] == first
    assert plain.mails[0][1]["In-Reply-To"] is None


def test_nothing_from_data_makes_a_header(plain: Post) -> None:
    nasty = "x\r\nBcc: eve@example.org\r\n\r\n<script>\x00\u2028 y \ud800"
    message = Message(Escalation.WARNING, nasty, nasty, (), link="javascript:alert(1)")
    channel(plain).say(message, key=nasty, thread="<a@b>\r\nBcc: eve@example.org")
    mail = plain.mails[0][1]
    assert mail["Bcc"] is None
    assert mail["To"] == "ada@example.org, bob@example.org"
    assert mail["Subject"] == "[warning] x Bcc: eve@example.org <script> y ?"
    page = mail.get_body(("html",))
    assert page is not None
    assert "<script>" not in page.get_content()
    assert "javascript:" not in page.get_content()


def test_a_subject_is_one_short_line() -> None:
    assert len(subject_of(Message(Escalation.INFO, "t" * 5000, "", ()))) == 200


def test_a_chart_comes_along_as_a_picture(plain: Post) -> None:
    chart = Chart(
        "`income` nulls", (0.0, 1.0, None, 5.0), upper=(1.0, 1.0, 1.0, 1.0), marks=(3,), caption="0 to 5"
    )
    channel(plain).say(Message(Escalation.INFO, "t", "s", (chart,)), key="k")
    mail = plain.mails[0][1]
    pictures = [part for part in mail.walk() if part.get_content_type() == "image/png"]
    assert len(pictures) == 1
    page = mail.get_body(("html",))
    assert page is not None
    assert f"cid:{pictures[0]['Content-ID'].strip('<>')}" in page.get_content()
    assert pictures[0].get_content().startswith(b"\x89PNG\r\n")


def test_a_file_comes_along(plain: Post) -> None:
    report = Attachment("week 12.html", b"<p>report</p>")
    channel(plain).say(Message(Escalation.INFO, "t", "s", ()), key="k", attachments=[report])
    (attached,) = plain.mails[0][1].iter_attachments()
    assert attached.get_filename() == "week 12.html"
    assert attached.get_content().strip() == "<p>report</p>"


def test_a_login_goes_over_an_encrypted_connection(starttls: Post, certificate: Certificate) -> None:
    channel(starttls, security="starttls", login=LOGIN, ca_file=str(certificate.path)).send(DIGEST)
    assert starttls.encrypted == [True]


def test_encryption_from_the_first_byte(certificate: Certificate) -> None:
    with serving(ssl_context=certificate.context) as post:
        channel(post, security="tls", ca_file=str(certificate.path)).send(DIGEST)
        assert len(post.mails) == 1


def test_a_certificate_that_nobody_vouches_for_is_not_trusted(starttls: Post) -> None:
    error = failure(channel(starttls, security="starttls", login=LOGIN))
    assert "certificate is not trusted" in str(error)
    assert starttls.mails == []


def test_a_refused_login_names_the_variables(starttls: Post, certificate: Certificate) -> None:
    wrong = replace(LOGIN, password=SecretStr("hush7 wrong"))
    error = failure(channel(starttls, security="starttls", login=wrong, ca_file=str(certificate.path)))
    assert error.permanent
    assert "MAIL_USER and MAIL_PASSWORD" in str(error)


def test_a_server_without_encryption_gets_nothing(plain: Post) -> None:
    error = failure(channel(plain, security="starttls", login=LOGIN))
    assert error.permanent
    assert plain.mails == []


def test_one_recipient_refused_is_said_and_the_others_get_it(
    plain: Post, caplog: pytest.LogCaptureFixture
) -> None:
    plain.refuse["bob@example.org"] = "550 hush7 no such user"
    receipt = channel(plain).send(DIGEST)
    assert receipt.endswith("> refused for bob@example.org (550)")
    assert plain.mails[0][0] == ["ada@example.org"]
    assert "bob@example.org (550)" in caplog.text
    assert "hush7" not in caplog.text


@pytest.mark.parametrize(("code", "permanent"), [("550", True), ("450", False)])
def test_every_recipient_refused_is_a_failure(plain: Post, code: str, permanent: bool) -> None:
    plain.refuse = dict.fromkeys(("ada@example.org", "bob@example.org"), f"{code} hush7")
    assert failure(channel(plain)).permanent is permanent


@pytest.mark.parametrize(("answer", "permanent"), [("554 hush7 spam", True), ("451 hush7 later", False)])
def test_a_refused_mail_is_a_failure(plain: Post, answer: str, permanent: bool) -> None:
    plain.answer = answer
    assert failure(channel(plain)).permanent is permanent


def test_a_server_that_closes_may_be_better_later(plain: Post) -> None:
    plain.close = True
    plain.answer = "451 closing"
    assert not failure(channel(plain)).permanent


@contextmanager
def listening(greeting: bytes) -> Iterator[Post]:
    """A server that takes a connection, says something, and no more."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        if greeting:

            def greet() -> None:
                with server.accept()[0] as connection:
                    connection.sendall(greeting)

            threading.Thread(target=greet, daemon=True).start()
        yield Post(port=server.getsockname()[1])


@pytest.mark.parametrize(
    "greeting",
    [b"", b"HTTP/1.1 200 OK\r\n\r\nhush7", b"220 " + b"x" * 100_000],
    ids=["nothing", "http", "endless"],
)
def test_what_is_no_mail_server_may_be_better_later(greeting: bytes) -> None:
    with listening(greeting) as post:
        assert not failure(channel(post, timeout=1)).permanent
