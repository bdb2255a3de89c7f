"""Who the server says it is: a TLS certificate of its own authority, and a chain of Noise certificates."""

import time
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from cryptography.x509.oid import NameOID

from tests.whatsapp_server import protobuf, xeddsa

HOSTS = ("web.whatsapp.com", "mmg.whatsapp.net")
"""The names that clients dial: the chat, and the media."""

_DAY = timedelta(days=1)


@dataclass(frozen=True)
class NoiseIdentity:
    """A static key, certified by an intermediate key, certified by the root that a client must trust."""

    root: X25519PrivateKey = field(default_factory=X25519PrivateKey.generate)
    intermediate: X25519PrivateKey = field(default_factory=X25519PrivateKey.generate)
    static: X25519PrivateKey = field(default_factory=X25519PrivateKey.generate)

    def chain(self) -> bytes:
        """The message CertChain: the leaf, then the intermediate certificate."""
        now = int(time.time())
        intermediate = _details(1, issuer=0, key=self.intermediate, now=now)
        leaf = _details(2, issuer=1, key=self.static, now=now)
        return protobuf.field(1, _signed(leaf, self.intermediate)) + protobuf.field(2, _signed(intermediate, self.root))


def write_tls(directory: Path) -> tuple[Path, Path]:
    """Make an authority and a certificate for ``HOSTS``; return their files: what to trust, and what to serve with."""
    authority_key, server_key = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    authority = _builder("tests of a WhatsApp client", authority_key, "tests of a WhatsApp client")
    authority = authority.add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
    server = _builder(HOSTS[0], server_key, "tests of a WhatsApp client")
    names = x509.SubjectAlternativeName([x509.DNSName(host) for host in HOSTS])
    server = server.add_extension(names, critical=False)
    trusted, served = directory / "authority.pem", directory / "server.pem"
    trusted.write_bytes(_pem(authority.sign(authority_key, hashes.SHA256())))
    served.touch(0o600)
    served.write_bytes(_pem(server.sign(authority_key, hashes.SHA256())) + _private_pem(server_key))
    return trusted, served


def raw_public(key: X25519PrivateKey) -> bytes:
    return key.public_key().public_bytes_raw()


def _details(serial: int, *, issuer: int, key: X25519PrivateKey, now: int) -> bytes:
    day_s = int(_DAY.total_seconds())
    values: tuple[int | bytes, ...] = (serial, issuer, raw_public(key), now - day_s, now + 365 * day_s)
    return b"".join(protobuf.field(number, value) for number, value in enumerate(values, 1))


def _signed(details: bytes, key: X25519PrivateKey) -> bytes:
    return protobuf.field(1, details) + protobuf.field(2, xeddsa.sign(key.private_bytes_raw(), details))


def _builder(subject: str, key: ec.EllipticCurvePrivateKey, issuer: str) -> x509.CertificateBuilder:
    now = datetime.now(UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(_name(subject))
        .issuer_name(_name(issuer))
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _DAY)
        .not_valid_after(now + 365 * _DAY)
    )


def _name(common: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common)])


def _pem(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(serialization.Encoding.PEM)


def _private_pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
