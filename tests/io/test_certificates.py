"""Certificates: whom a download trusts, and what it says of a server it does not trust."""

import asyncio
import datetime as dt
import os
import socket
import ssl
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import ModuleType
from typing import Any, Self

import aiohttp
import pytest
import trustme
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import NameOID

from tests.deadline import DEADLINE_S
from tests.origin import Film, Origin, noise
from vidnb.download.planner.retry import Failure, FailureKind
from vidnb.io.certificates import certificate_variables, default_context
from vidnb.io.client import ConnectionFault, HttpClient
from vidnb.io.client_errors import mapped
from vidnb.io.cookie_store import CookieStore
from vidnb.io.request_settings import RequestSettings

FILM = Film(noise(1000))
AUTHORITY = trustme.CA()
VARIABLES = ("SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE")
DAY = dt.timedelta(days=1)
NOW = dt.datetime.now(dt.UTC)


@pytest.fixture(autouse=True)
def no_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    path = tmp_path / "authority.pem"
    AUTHORITY.cert_pem.write_to_path(path)
    return path


def server(certificate: trustme.LeafCert | None = None) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    (certificate or AUTHORITY.issue_cert("127.0.0.1")).configure_cert(context)
    return context


def trusting(authority: trustme.CA = AUTHORITY) -> ssl.SSLContext:
    context = ssl.create_default_context()
    authority.configure_trust(context)
    return context


async def get(url: str, context: ssl.SSLContext | None = None, times: int = 1) -> None:
    settings = RequestSettings(cookies=CookieStore(url), ssl_context=context)
    async with HttpClient() as client:
        for _ in range(times):
            response = await client.get(
                url, settings, request_headers={}, idle_timeout_s=DEADLINE_S
            )
            while await response.read():
                pass
            response.close()


def failure(url: str, context: ssl.SSLContext | None = None) -> Failure:
    with pytest.raises(ConnectionFault) as caught:
        asyncio.run(get(url, context))
    return caught.value.failure


# What is said of a certificate.


def self_signed(tmp_path: Path, **changes: Any) -> ssl.SSLContext:
    """Return a server with a certificate that is signed by its own key."""
    key = changes.get("key") or ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "127.0.0.1")])
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(NOW - DAY)
        .not_valid_after(NOW + DAY)
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .sign(key, hashes.SHA256())
    )
    file = tmp_path / "self-signed.pem"
    private = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    file.write_bytes(private + certificate.public_bytes(serialization.Encoding.PEM))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.set_ciphers("ALL:@SECLEVEL=0")  # loads a weak key, too
    context.load_cert_chain(file)
    return context


def dated(start: dt.timedelta, end: dt.timedelta) -> ssl.SSLContext:
    certificate = AUTHORITY.issue_cert("127.0.0.1", not_before=NOW + start, not_after=NOW + end)
    return server(certificate)


@pytest.mark.parametrize(
    ("make", "context", "reason", "remedy"),
    [
        pytest.param(
            self_signed,
            None,
            "is self-signed",
            "pass ssl_context=… with its cert",
            id="self-signed",
        ),
        pytest.param(
            lambda _: server(),
            None,
            "is of an authority that is not trusted here",
            "name that in SSL_CERT_FILE",
            id="unknown-authority",
        ),
        pytest.param(
            lambda _: server(trustme.CA(parent_cert=AUTHORITY).issue_cert("127.0.0.1")),
            None,
            "is of an authority that is not trusted here",
            "name that in SSL_CERT_FILE",
            id="unknown-authority-with-chain",
        ),
        pytest.param(
            lambda _: dated(-2 * DAY, -DAY), trusting(), "has expired", "the clock", id="expired"
        ),
        pytest.param(
            lambda _: dated(DAY, 2 * DAY), trusting(), "is not valid yet", "the clock", id="early"
        ),
        pytest.param(
            lambda _: server(AUTHORITY.issue_cert("films.example")),
            trusting(),
            "is for another host",
            "check the host",
            id="another-host",
        ),
        pytest.param(
            lambda _: server(AUTHORITY.issue_cert("127.0.0.2")),
            trusting(),
            "is for another host",
            "check the host",
            id="another-address",
        ),
    ],
)
def test_a_certificate_that_is_not_valid_has_its_own_sentence(
    make: Callable[[Path], ssl.SSLContext],
    context: ssl.SSLContext | None,
    reason: str,
    remedy: str,
    tmp_path: Path,
) -> None:
    with Origin(FILM, tls=make(tmp_path)) as origin:
        found = failure(origin.url, context)
        assert not origin.requests
    assert found.reason == f"the certificate of 127.0.0.1 {reason}"
    assert remedy in str(found.remedy)
    assert not found.is_transient


def test_a_key_that_is_too_weak_has_its_own_sentence(tmp_path: Path) -> None:
    tls = self_signed(tmp_path, key=rsa.generate_private_key(65537, 1024))  # noqa: S505 - on purpose
    context = ssl.create_default_context(cafile=str(tmp_path / "self-signed.pem"))
    context.set_ciphers("DEFAULT:@SECLEVEL=2")
    with Origin(FILM, tls=tls) as origin:
        found = failure(f"https://localhost:{origin.port}/", context)
    assert found.reason == "the certificate of localhost has a key that is too weak"
    assert found.kind is FailureKind.REFUSED


def test_a_revoked_certificate_has_its_own_sentence(tmp_path: Path) -> None:
    certificate = AUTHORITY.issue_cert("127.0.0.1")
    leaf = x509.load_pem_x509_certificate(certificate.cert_chain_pems[0].bytes())
    issuer = x509.load_pem_x509_certificate(AUTHORITY.cert_pem.bytes())
    key = serialization.load_pem_private_key(AUTHORITY.private_key_pem.bytes(), None)
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    revoked = (
        x509.RevokedCertificateBuilder()
        .serial_number(leaf.serial_number)
        .revocation_date(NOW - DAY)
        .build()
    )
    revocations = (
        x509.CertificateRevocationListBuilder()
        .issuer_name(issuer.subject)
        .last_update(NOW - DAY)
        .next_update(NOW + DAY)
        .add_revoked_certificate(revoked)
        .sign(key, hashes.SHA256())
    )
    file = tmp_path / "revocations.pem"
    file.write_bytes(revocations.public_bytes(serialization.Encoding.PEM))
    context = trusting()
    context.load_verify_locations(file)
    context.verify_flags |= ssl.VERIFY_CRL_CHECK_LEAF
    with Origin(FILM, tls=server(certificate)) as origin:
        assert failure(origin.url, context).reason == "the certificate of 127.0.0.1 was revoked"


@pytest.mark.parametrize(
    ("code", "says"),
    [(68, "signature that is too weak"), (67, "authority whose key is too"), (85, "RFC 5280")],
)
def test_other_codes_have_sentences_too(code: int, says: str) -> None:
    error = ssl.SSLCertVerificationError(1, "s3cret")
    error.verify_code = code
    key = aiohttp.client_reqrep.ConnectionKey("films.example", 443, True, True, None, None, None)  # noqa: FBT003
    raised = aiohttp.ClientConnectorCertificateError(key, error)
    fault = mapped(raised, "https://films.example/", 5.0, "environment")
    assert isinstance(fault, ConnectionFault)
    assert says in fault.failure.reason
    assert "s3cret" not in f"{fault.failure}"


@contextmanager
def listening(answer: Callable[[socket.socket], None]) -> Iterator[int]:
    """A port where each connection gets this answer; aiohttp tries a second one."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            with suppress(OSError):
                while True:
                    connection, _ = listener.accept()
                    with connection:
                        answer(connection)

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield listener.getsockname()[1]
        listener.shutdown(socket.SHUT_RDWR)  # wakes accept()
        thread.join(DEADLINE_S)


@contextmanager
def speaking(data: bytes) -> Iterator[int]:
    """A port that answers whatever comes with these bytes."""

    def answer(connection: socket.socket) -> None:
        connection.recv(2**16)
        connection.sendall(data)

    with listening(answer) as port:
        yield port


# What is said of a server that does not speak TLS, or another one.


def test_a_version_of_tls_that_is_too_old_is_named() -> None:
    tls = server()
    tls.set_ciphers("ALL:@SECLEVEL=0")
    tls.minimum_version = ssl.TLSVersion.TLSv1_2
    tls.maximum_version = ssl.TLSVersion.TLSv1_2
    context = trusting()
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    with Origin(FILM, tls=tls) as origin:
        found = failure(origin.url, context)
        assert found.reason == (
            f"127.0.0.1:{origin.port} and this machine have no version of TLS in common"
        )
    assert not found.is_transient


def test_no_common_cipher_is_named() -> None:
    tls = server()
    tls.maximum_version = ssl.TLSVersion.TLSv1_2
    tls.set_ciphers("ECDHE-ECDSA-AES128-GCM-SHA256")
    context = trusting()
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers("ECDHE-ECDSA-AES256-GCM-SHA384")
    with Origin(FILM, tls=tls) as origin:
        assert "no common ciphers or keys" in failure(origin.url, context).reason


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_a_client_certificate_is_asked_for(version: ssl.TLSVersion) -> None:
    """In TLS 1.3 the server refuses after the client has sent its request."""
    tls = server()
    tls.verify_mode = ssl.CERT_REQUIRED
    AUTHORITY.configure_trust(tls)
    context = trusting()
    context.minimum_version = context.maximum_version = version

    def answer(connection: socket.socket) -> None:
        wrapped = tls.wrap_socket(connection, server_side=True, do_handshake_on_connect=False)
        with wrapped:
            with pytest.raises(ssl.SSLError):
                wrapped.do_handshake()
            while socket.socket.recv(wrapped, 2**16):  # else the close would be a reset
                pass

    with listening(answer) as port:
        found = failure(f"https://127.0.0.1:{port}/", context)
    assert found.kind is FailureKind.REFUSED
    assert "ssl_context=…" in str(found.remedy)


def test_a_server_that_does_not_know_the_name_is_named() -> None:
    tls = server()
    tls.sni_callback = lambda *_: ssl.ALERT_DESCRIPTION_UNRECOGNIZED_NAME
    with Origin(FILM, tls=tls) as origin:
        found = failure(f"https://localhost:{origin.port}/", trusting())
    assert found.reason == f"localhost:{origin.port} has no certificate for that name"
    assert not found.is_transient


@pytest.mark.parametrize(
    "data", [b"HTTP/1.1 400 Bad Request\r\n\r\n", b"<html>", b"220 mail ready\r\n"]
)
def test_plain_text_on_the_port_of_https_is_named(data: bytes) -> None:
    with speaking(data) as port:
        found = failure(f"https://127.0.0.1:{port}/")
    assert found.reason == f"127.0.0.1:{port} does not speak TLS"
    assert "http://" in str(found.remedy)
    assert not found.is_transient


def test_tls_on_the_port_of_http_is_named() -> None:
    with speaking(b"\x15\x03\x01\x00\x02\x02\x46") as port:
        assert "is TLS, not HTTP" in failure(f"http://127.0.0.1:{port}/").reason


def test_a_handshake_that_breaks_is_tried_again() -> None:
    with speaking(b"") as port:
        found = failure(f"https://127.0.0.1:{port}/")
    assert found.is_transient
    assert found.reason.startswith(f"no connection to 127.0.0.1:{port} (")


# Which certificates are trusted.


@pytest.mark.parametrize("name", ["SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"])
def test_a_bundle_of_the_environment_is_trusted(
    name: str, bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Origin(FILM, tls=server()) as origin:
        assert "not trusted" in failure(origin.url).reason
        monkeypatch.setenv(name, str(bundle))
        asyncio.run(get(origin.url))


@pytest.mark.parametrize("name", ["SSL_CERT_DIR", "REQUESTS_CA_BUNDLE"])
def test_a_folder_of_the_environment_is_trusted(
    name: str, bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "certificates"
    folder.mkdir()
    (folder / f"{subject_hash(bundle)}.0").write_bytes(bundle.read_bytes())
    empty = tmp_path / "empty"
    empty.mkdir()
    value = f"{empty}{os.pathsep}{folder}" if name == "SSL_CERT_DIR" else str(folder)
    monkeypatch.setenv(name, value)
    with Origin(FILM, tls=server()) as origin:
        asyncio.run(get(origin.url))


def subject_hash(certificate: Path) -> str:
    """Return the name by which OpenSSL looks up a certificate in a folder."""
    command = ["openssl", "x509", "-hash", "-noout", "-in", str(certificate)]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


def test_all_that_the_variables_name_is_trusted(
    bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = tmp_path / "other.pem"
    trustme.CA().cert_pem.write_to_path(other)
    monkeypatch.setenv("SSL_CERT_FILE", str(other))
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(bundle))
    monkeypatch.setenv("CURL_CA_BUNDLE", "")
    with Origin(FILM, tls=server()) as origin:
        asyncio.run(get(origin.url))


def test_a_bundle_alone_replaces_the_defaults(bundle: Path) -> None:
    trusted = default_context((("REQUESTS_CA_BUNDLE", str(bundle)),)).get_ca_certs(binary_form=True)
    assert trusted == [ssl.PEM_cert_to_DER_cert(bundle.read_text())]


def test_openssls_variables_keep_openssls_other_defaults(
    bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`SSL_CERT_FILE` replaces the default file, and not the default folder, of OpenSSL."""
    defaults = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    monkeypatch.setattr(ssl, "create_default_context", lambda: defaults)
    assert default_context((("SSL_CERT_FILE", str(bundle)),)) is defaults
    assert default_context((("CURL_CA_BUNDLE", str(bundle)),)) is not defaults


def test_a_bundle_that_changes_is_read_again(bundle: Path) -> None:
    variables = certificate_variables({"CURL_CA_BUNDLE": str(bundle)})
    first = default_context(variables)
    assert default_context(variables) is first
    bundle.write_bytes(bundle.read_bytes() + trustme.CA().cert_pem.bytes())
    os.utime(bundle, ns=(0, 1))
    assert len(default_context(variables).get_ca_certs()) == 2


@pytest.mark.parametrize("name", VARIABLES)
@pytest.mark.parametrize("content", [None, b"", b"s3cret"])
def test_a_bundle_that_cannot_be_used_is_one_sentence(
    name: str, content: bytes | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "missing.pem"
    if content is not None:
        path.write_bytes(content)
    monkeypatch.setenv(name, str(path))
    found = failure("https://127.0.0.1:9/")
    what = "cannot be read" if content is None else "holds no certificates"
    assert found.reason == f"the file of certificates {str(path)!r} {what}, which {name} names"
    assert found.remedy == f"correct or remove {name}"
    assert not found.is_transient


def test_plain_http_needs_no_certificates(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", "/nowhere/authority.pem")
    with Origin(FILM) as origin:
        asyncio.run(get(origin.url))


def test_a_context_of_the_caller_needs_no_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", "/nowhere/authority.pem")
    with Origin(FILM, tls=server()) as origin:
        asyncio.run(get(origin.url, trusting()))


class SystemContext(ssl.SSLContext):
    """Stands for `truststore.SSLContext`, which verifies by the store of the system."""

    def __new__(cls, protocol: int) -> Self:
        context = super().__new__(cls, protocol)
        AUTHORITY.configure_trust(context)
        return context


def test_the_systems_store_is_used_where_truststore_is_installed(
    monkeypatch: pytest.MonkeyPatch, bundle: Path
) -> None:
    truststore = ModuleType("truststore")
    vars(truststore)["SSLContext"] = SystemContext
    monkeypatch.setitem(sys.modules, "truststore", truststore)
    default_context.__globals__["_context"].cache_clear()
    try:
        with Origin(FILM, tls=server()) as origin:
            asyncio.run(get(origin.url, times=2))
        assert isinstance(default_context(()), SystemContext)
        variables = certificate_variables({"SSL_CERT_FILE": str(bundle)})
        assert not isinstance(default_context(variables), SystemContext)
    finally:
        default_context.__globals__["_context"].cache_clear()


def test_without_truststore_openssls_defaults_are_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "truststore", None)
    context = default_context(())
    assert type(context) is ssl.SSLContext
    assert context.check_hostname
    assert context.verify_mode is ssl.CERT_REQUIRED
