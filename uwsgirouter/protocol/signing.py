"""Signed announcements: what is signed, the name of the key's file, and whether a signature is good.

One idea: the signature covers the datagram's bytes as they came, from behind the header to the start of the variable
``sign``, which must be the last one. So a signed announcement is cut, not built anew. Observed on uWSGI 2.0: digest and
key are EVP's, so a key may be RSA (PKCS #1 v1.5) or an elliptic curve. The header, and with it modifier2 (subscribe or
unsubscribe), is not covered: that is uWSGI's format, and why replay.py knows announcements by the bytes signed.

The library for signatures is loaded by the first key that is parsed, so it costs nothing where none is configured.
No file, no clock, no registry: keys are PEM text here.
"""

from __future__ import annotations

import re
from struct import Struct
from typing import TYPE_CHECKING

from uwsgirouter.errors import ProtocolError
from uwsgirouter.protocol.packet import BLOCK_MAX, HEADER_SIZE, decode_header, encode_packet
from uwsgirouter.protocol.subscription import SUBSCRIPTION_MODIFIER, Announce, variables_of

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey, EllipticCurvePublicKey
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, RSAPublicKey
    from cryptography.hazmat.primitives.hashes import HashAlgorithm

_UNUSABLE = "neither an RSA key nor one of an elliptic curve"
_U16 = Struct("<H")
_NAME = b"\4\0sign"
_NOT_IN_A_FILE_NAME = re.compile(r"[^0-9A-Za-z._-]")


def key_file(key: bytes) -> str:
    """The name of the file with the public key for ``key``: never a path, whatever the key holds."""
    return _NOT_IN_A_FILE_NAME.sub("_", key.decode("latin-1")) + ".pem"


def split_signed(datagram: bytes) -> tuple[bytes, bytes]:
    """The bytes that are signed, and the signature, of a datagram whose variables are well-formed.

    Raises :class:`ProtocolError` when there is no signature, or when it is not the last variable.
    """
    found = -1
    position = HEADER_SIZE
    while position < len(datagram):
        start, end = position, position + 2 + _U16.unpack_from(datagram, position)[0]
        position = end + 2 + _U16.unpack_from(datagram, end)[0]
        if datagram[start:end] == _NAME:
            if position != len(datagram):
                raise ProtocolError("sign not last", "the signature must be the last variable, and the only one")
            found = end
    if found < 0 or found + 2 == len(datagram):
        raise ProtocolError("not signed")
    return datagram[HEADER_SIZE : found - len(_NAME)], datagram[found + 2 :]


class PublicKey:
    """One public key. Raises :class:`ValueError` for text that is none, or one of a sort that cannot be used here."""

    def __init__(self, pem: bytes) -> None:
        from cryptography.exceptions import UnsupportedAlgorithm
        from cryptography.hazmat.primitives.serialization import load_pem_public_key

        try:
            key = load_pem_public_key(pem)
        except UnsupportedAlgorithm as error:
            raise ValueError(str(error)) from None
        self._key: RSAPublicKey | EllipticCurvePublicKey = _usable(key)

    def verifies(self, signature: bytes, signed: bytes, digest: str) -> bool:
        """Whether ``signature`` is this key's over ``signed``. ``digest`` is one of settings/senders.py's."""
        from cryptography.exceptions import InvalidSignature
        from cryptography.hazmat.primitives.asymmetric import ec, padding

        try:
            if isinstance(self._key, ec.EllipticCurvePublicKey):
                self._key.verify(signature, signed, ec.ECDSA(_hash(digest)))
            else:
                self._key.verify(signature, signed, padding.PKCS1v15(), _hash(digest))
        except InvalidSignature:
            return False
        return True


class PrivateKey:
    """One private key, without a passphrase (announcers have one). Raises :class:`ValueError`."""

    def __init__(self, pem: bytes) -> None:
        from cryptography.exceptions import UnsupportedAlgorithm
        from cryptography.hazmat.primitives.serialization import load_pem_private_key

        try:
            key = load_pem_private_key(pem, None)
        except TypeError:
            raise ValueError("the key has a passphrase") from None
        except UnsupportedAlgorithm as error:
            raise ValueError(str(error)) from None
        self._key: RSAPrivateKey | EllipticCurvePrivateKey = _usable_private(key)

    def sign(self, signed: bytes, digest: str) -> bytes:
        """The signature over ``signed``."""
        from cryptography.hazmat.primitives.asymmetric import ec, padding

        if isinstance(self._key, ec.EllipticCurvePrivateKey):
            return self._key.sign(signed, ec.ECDSA(_hash(digest)))
        return self._key.sign(signed, padding.PKCS1v15(), _hash(digest))


def encode_signed(announce: Announce, key: PrivateKey, digest: str, unix: int) -> bytes:
    """The datagram that a uWSGI instance with ``sign=`` would send when its clock says ``unix``.

    An unsubscribe bears the second after, as the real one does, so that it outdoes the announcement before it.
    """
    stamped = announce._replace(unix=unix + (1 if announce.leaving else 0))
    packet = encode_packet(variables_of(stamped), SUBSCRIPTION_MODIFIER, 1 if announce.leaving else 0)
    signature = key.sign(packet[HEADER_SIZE:], digest)
    block = packet[HEADER_SIZE:] + _NAME + _U16.pack(len(signature)) + signature
    if len(block) > BLOCK_MAX:
        raise ProtocolError("too large", f"{len(block)} bytes of variables, at most {BLOCK_MAX}")
    modifier1, _, modifier2 = decode_header(packet)
    return bytes([modifier1]) + _U16.pack(len(block)) + bytes([modifier2]) + block


def _usable(key: object) -> RSAPublicKey | EllipticCurvePublicKey:
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicKey
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey

    if not isinstance(key, (RSAPublicKey, EllipticCurvePublicKey)):
        raise ValueError(_UNUSABLE)
    return key


def _usable_private(key: object) -> RSAPrivateKey | EllipticCurvePrivateKey:
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey

    if not isinstance(key, (RSAPrivateKey, EllipticCurvePrivateKey)):
        raise ValueError(_UNUSABLE)
    return key


def _hash(digest: str) -> HashAlgorithm:
    from cryptography.hazmat.primitives import hashes

    algorithm: HashAlgorithm = getattr(hashes, digest)()
    return algorithm
