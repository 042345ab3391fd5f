"""When certificates are valid. The standard library tells that only of a peer's, and only after a handshake.

A certificate is DER (ITU-T X.690): nested elements of a tag, a length and a content. The two times stand at a fixed
place (RFC 5280, section 4.1), so this reads no more than the way there.
"""

from __future__ import annotations

import re
import ssl
from datetime import UTC, datetime
from typing import NamedTuple

_PEM = re.compile(r"-----BEGIN CERTIFICATE-----.+?-----END CERTIFICATE-----", re.DOTALL)
_UTC_TIME = 0x17
_VERSION = 0xA0


class Validity(NamedTuple):
    """From when to when a certificate is good."""

    begins: datetime
    ends: datetime


def validities(pem: bytes) -> list[Validity]:
    """Read every certificate of a PEM file, in its order; [] without one. Raises ValueError for a broken one."""
    return [_validity(ssl.PEM_cert_to_DER_cert(block)) for block in _PEM.findall(pem.decode("ascii", "replace"))]


def _validity(der: bytes) -> Validity:
    try:
        certificate = _children(_children(der)[0][1])
        fields = _children(certificate[0][1])
        # version (absent in version 1), serial, algorithm, issuer, validity.
        times = _children(fields[4 if fields[0][0] == _VERSION else 3][1])
        return Validity(_time(*times[0]), _time(*times[1]))
    except IndexError:
        raise ValueError("wanted an X.509 certificate") from None


def _children(content: bytes) -> list[tuple[int, bytes]]:
    """Split a content into its elements: tag and content of each. Raises IndexError for one that is cut off."""
    elements: list[tuple[int, bytes]] = []
    at = 0
    while at < len(content):
        tag, length, at = content[at], content[at + 1], at + 2
        if length >= 0x80:
            size = length - 0x80
            length, at = int.from_bytes(content[at : at + size], "big"), at + size
        elements.append((tag, content[at : at + length]))
        at += length
    return elements


def _time(tag: int, content: bytes) -> datetime:
    text = content.decode("ascii")
    if tag == _UTC_TIME:
        # Two digits of the year: 50 to 99 are of the last century.
        text = ("19" if text >= "50" else "20") + text
    return datetime.strptime(text, "%Y%m%d%H%M%SZ").replace(tzinfo=UTC)
