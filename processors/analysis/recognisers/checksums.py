"""Check digits that tell real numbers from random ones."""

import hashlib

_BASE58 = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"
_BECH32 = "qpzry9x8gf2tvdw0s3jn54khce6mua7l"
_BECH32_GENERATOR = (0x3B6A57B2, 0x26508E6D, 0x1EA119FA, 0x3D4233DD, 0x2A1462B3)
_BECH32_RESIDUES = (1, 0x2BC830A3)  # Bech32 and Bech32m (BIP 173, BIP 350)


def luhn(digits: str) -> bool:
    """ISO/IEC 7812-1: payment cards."""
    total = 0
    for place, digit in enumerate(reversed(digits)):
        value = int(digit) * (1 + place % 2)
        total += value - 9 if value > 9 else value
    return total % 10 == 0


def iban_mod_97(iban: str) -> bool:
    """ISO 13616: letters count from 10, the first four characters go to the end."""
    turned = iban[4:] + iban[:4]
    return int("".join(str(int(character, 36)) for character in turned)) % 97 == 1


def aba_routing(digits: str) -> bool:
    """American Bankers Association routing numbers: weights 3, 7, 1."""
    return sum(int(d) * (3, 7, 1)[i % 3] for i, d in enumerate(digits)) % 10 == 0


def base58check(address: str) -> bool:
    """Bitcoin's first address format: the last four bytes are a double SHA-256 of the others."""
    number = 0
    for character in address:
        number = number * 58 + _BASE58.index(character)
    try:
        raw = number.to_bytes(25, "big")
    except OverflowError:
        return False
    body, check = raw[:-4], raw[-4:]
    return hashlib.sha256(hashlib.sha256(body).digest()).digest()[:4] == check


def bech32(address: str) -> bool:
    """Bitcoin's segregated-witness addresses, lower-cased, with their human-readable part."""
    prefix, _, body = address.rpartition("1")
    values = [ord(c) >> 5 for c in prefix] + [0] + [ord(c) & 31 for c in prefix]
    values += [_BECH32.index(c) for c in body]
    residue = 1
    for value in values:
        top = residue >> 25
        residue = (residue & 0x1FFFFFF) << 5 ^ value
        for bit, generator in enumerate(_BECH32_GENERATOR):
            residue ^= generator if top >> bit & 1 else 0
    return residue in _BECH32_RESIDUES
