"""Signatures with a Curve25519 key, as libsignal makes them (XEdDSA, https://signal.org/docs/specifications/xeddsa).

The X25519 private scalar signs as if it were an Ed25519 one; the sign of its Edwards point, which the Montgomery public
key has lost, travels in the highest bit of the signature. Not in constant time: for keys of tests only.
"""

import hashlib
import secrets

_P = 2**255 - 19
_ORDER = 2**252 + 27742317777372353535851937790883648493
_D = -121665 * pow(121666, -1, _P) % _P
_SQRT_MINUS_ONE = pow(2, (_P - 1) // 4, _P)

_Point = tuple[int, int, int, int]  # extended coordinates: X, Y, Z, T with x = X/Z, y = Y/Z, xy = T/Z


def sign(private_key: bytes, message: bytes) -> bytes:
    """The 64 bytes over *message* by a raw X25519 *private_key* of 32 bytes."""
    scalar = _clamp(private_key)
    public = _compress(_multiply(scalar, _BASE))
    # The prefix separates this hash from any other use of the key: the specification's hash_1.
    prefix = b"\xfe" + b"\xff" * 31
    nonce = _hash(prefix, private_key, message, secrets.token_bytes(64))
    commitment = _compress(_multiply(nonce, _BASE))
    response = (nonce + _hash(commitment, public, message) * scalar) % _ORDER
    signature = bytearray(commitment + response.to_bytes(32, "little"))
    signature[63] |= public[31] & 0x80
    return bytes(signature)


def verify(public_key: bytes, message: bytes, signature: bytes) -> bool:
    """Whether the holder of a raw X25519 *public_key* made *signature* over *message*."""
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

    if len(signature) != 64:
        return False
    montgomery = int.from_bytes(public_key, "little")
    edwards = (montgomery - 1) * pow(montgomery + 1, -1, _P) % _P | (signature[63] >> 7) << 255
    plain = bytes([*signature[:63], signature[63] & 0x7F])
    try:
        Ed25519PublicKey.from_public_bytes(edwards.to_bytes(32, "little")).verify(plain, message)
    except InvalidSignature:
        return False
    return True


def _clamp(private_key: bytes) -> int:
    scalar = int.from_bytes(private_key, "little")
    return scalar & ((1 << 254) - 8) | 1 << 254


def _hash(*parts: bytes) -> int:
    return int.from_bytes(hashlib.sha512(b"".join(parts)).digest(), "little") % _ORDER


def _recover_x(y: int) -> int:
    """The even x of the point on -x² + y² = 1 + dx²y²."""
    square = (y * y - 1) * pow(_D * y * y + 1, -1, _P) % _P
    x = pow(square, (_P + 3) // 8, _P)
    if (x * x - square) % _P:
        x = x * _SQRT_MINUS_ONE % _P
    return _P - x if x % 2 else x


def _base_point() -> _Point:
    y = 4 * pow(5, -1, _P) % _P
    x = _recover_x(y)
    return x, y, 1, x * y % _P


def _add(left: _Point, right: _Point) -> _Point:
    """Unified addition, formulas of Hisil and others, 2008, section 3.1."""
    a = (left[1] - left[0]) * (right[1] - right[0])
    b = (left[1] + left[0]) * (right[1] + right[0])
    c = 2 * _D * left[3] * right[3]
    d = 2 * left[2] * right[2]
    e, f, g, h = b - a, d - c, d + c, b + a
    return e * f % _P, g * h % _P, f * g % _P, e * h % _P


def _multiply(scalar: int, point: _Point) -> _Point:
    total: _Point = (0, 1, 1, 0)
    while scalar:
        if scalar & 1:
            total = _add(total, point)
        point = _add(point, point)
        scalar >>= 1
    return total


def _compress(point: _Point) -> bytes:
    inverse = pow(point[2], -1, _P)
    x, y = point[0] * inverse % _P, point[1] * inverse % _P
    return (y | (x & 1) << 255).to_bytes(32, "little")


_BASE = _base_point()
