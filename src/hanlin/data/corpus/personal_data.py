"""Which personal data is in a text, and how is it masked?

Numbers with a check digit (identity cards, bank cards) are masked only where it is right: an order
number stays. What looks the same and is not personal (an example's IP address) is masked too.
"""

from __future__ import annotations

import ipaddress
import re
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Literal

Kind = Literal["email", "id", "card", "phone", "ip"]

ID_WEIGHTS = (7, 9, 10, 5, 8, 4, 2, 1, 6, 3, 7, 9, 10, 5, 8, 4, 2)  # GB 11643-1999
ID_CHECKS = "10X98765432"


def mask(text: str, kinds: Sequence[Kind]) -> tuple[str, Counter[str]]:
    """Replace personal data of some kinds by `[kind]`; return how often each was found."""
    found: Counter[str] = Counter()
    for kind, (pattern, is_real) in _FINDERS.items():
        if kind in kinds:
            text = pattern.sub(_replacement(kind, is_real, found), text)
    return text, found


def _replacement(
    kind: str, is_real: Callable[[str], bool], found: Counter[str]
) -> Callable[[re.Match[str]], str]:
    def replace(match: re.Match[str]) -> str:
        if not is_real(match.group()):
            return match.group()
        found[kind] += 1
        return f"[{kind}]"

    return replace


def is_id(number: str) -> bool:
    """Tell whether 18 characters are a Chinese identity number: month, day and check digit fit."""
    if not ("01" <= number[10:12] <= "12" and "01" <= number[12:14] <= "31"):
        return False
    total = sum(int(digit) * weight for digit, weight in zip(number, ID_WEIGHTS, strict=False))
    return ID_CHECKS[total % 11] == number[17].upper()


def is_card(number: str) -> bool:
    """Tell whether the digits of a bank card's number pass the Luhn check (ISO/IEC 7812-1)."""
    digits = [int(character) for character in number if character.isdigit()]
    doubled = [digit * 2 - 9 * (digit > 4) for digit in digits[-2::-2]]
    return (
        13 <= len(digits) <= 19 and any(digits) and (sum(doubled) + sum(digits[-1::-2])) % 10 == 0
    )


def is_ip(address: str) -> bool:
    """Tell whether a text is an IPv4 or IPv6 address."""
    try:
        ipaddress.ip_address(address)
    except ValueError:
        return False
    return True


_FINDERS: dict[str, tuple[re.Pattern[str], Callable[[str], bool]]] = {
    "email": (
        re.compile(r"(?<![A-Za-z0-9._%+-])[A-Za-z0-9][A-Za-z0-9._%+-]*@"
                   r"(?:[A-Za-z0-9-]+\.)+[A-Za-z]{2,24}(?![A-Za-z0-9])"),
        lambda _text: True,
    ),
    "id": (re.compile(r"(?<![0-9])[1-9][0-9]{16}[0-9Xx](?![0-9A-Za-z])"), is_id),
    "card": (re.compile(r"(?<![0-9.])[3-6][0-9]{3}(?:[ -]?[0-9]{2,6}){2,4}(?![0-9.])"), is_card),
    "phone": (
        re.compile(r"(?<![0-9A-Za-z+])(?:(?:\+|00)86[ -]?)?(?:1[3-9][0-9][ -]?[0-9]{4}[ -]?[0-9]{4}"
                   r"|0[1-9][0-9]{1,2}[ -][2-9][0-9]{6,7}|400[ -][0-9]{3}[ -]?[0-9]{4})(?![0-9])"
                   r"|(?<![0-9A-Za-z])\+[1-9][0-9]{0,2}[ -]?(?:\([0-9]{1,4}\)[ -]?)?"
                   r"[0-9]{2,4}(?:[ -]?[0-9]{2,4}){2,3}(?![0-9])"),
        lambda _text: True,
    ),
    "ip": (
        re.compile(r"(?<![0-9A-Za-z.:])(?:(?:[0-9]{1,3}\.){3}[0-9]{1,3}"
                   r"|(?:[0-9A-Fa-f]{0,4}:){2,7}[0-9A-Fa-f]{1,4})(?![0-9A-Za-z:])(?!\.[0-9])"),
        is_ip,
    ),
}  # fmt: skip
