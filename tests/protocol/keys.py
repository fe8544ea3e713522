"""Key pairs for the tests of signatures, made once a run."""

from __future__ import annotations

import functools
from dataclasses import dataclass

from cryptography.hazmat.primitives.asymmetric import dsa, ec, rsa
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)

from uwsgirouter.protocol.signing import PrivateKey, PublicKey


@dataclass(frozen=True)
class Pair:
    """Both halves of a key, as PEM text."""

    private_pem: bytes
    public_pem: bytes

    @functools.cached_property
    def private(self) -> PrivateKey:
        return PrivateKey(self.private_pem)

    @functools.cached_property
    def public(self) -> PublicKey:
        return PublicKey(self.public_pem)


def pair(kind: str, number: int = 0, passphrase: bytes = b"") -> Pair:
    """A key of ``kind`` rsa, ec or dsa; another number is another key."""
    return _made(kind, number, passphrase)


@functools.cache
def _made(kind: str, number: int, passphrase: bytes) -> Pair:
    made: rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey | dsa.DSAPrivateKey
    if kind == "rsa":
        made = rsa.generate_private_key(65537, 2048)
    elif kind == "ec":
        made = ec.generate_private_key(ec.SECP256R1())
    else:
        made = dsa.generate_private_key(1024)
    encryption = BestAvailableEncryption(passphrase) if passphrase else NoEncryption()
    private = made.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, encryption)
    return Pair(private, made.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))
