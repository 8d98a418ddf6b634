#!/usr/bin/env python3
"""Checks sealed letters against another implementation.

ML-KEM-768, X25519, Ed25519 and ChaCha20-Poly1305 come from PyPI's `cryptography`, BLAKE3 from `blake3`;
X-Wing's combiner (draft-connolly-cfrg-xwing-kem-06 section 5.3) and HPKE's key schedule (RFC 9180
section 5.1) are written out below. Opens the letter of docs/vectors.txt; with `seal` it prints one of
its own, which is kept in letter.txt and opened by a test of the program.
"""

import hashlib
import hmac
import os
import sys

import blake3
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.mlkem import MLKEM768PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305

PAIR = bytes([0x60]) * 32
NUMBER, DAY, PREKEY = 5, 20_800, 7
PREKEY_SECRET = bytes([0x67]) * 32
SUITE = b"HPKE" + (0x647A).to_bytes(2, "big") + (1).to_bytes(2, "big") + (3).to_bytes(2, "big")


def public(seed):
    return Ed25519PrivateKey.from_private_bytes(seed).public_key().public_bytes_raw()


def derive(context, *parts):
    return blake3.blake3(b"".join(parts), derive_key_context=context).digest()


ANA = (public(bytes([0x61]) * 32), public(bytes([0x62]) * 32))
CEM = (public(bytes([0x63]) * 32), public(bytes([0x64]) * 32))
ANA_DEVICE = Ed25519PrivateKey.from_private_bytes(bytes([0x62]) * 32)
SPACE = derive("waymeet 1 conversation", PAIR)


class XWing:
    def __init__(self, seed):
        expanded = hashlib.shake_256(seed).digest(96)
        self.ml_kem = MLKEM768PrivateKey.from_seed_bytes(expanded[:64])
        self.x25519 = X25519PrivateKey.from_private_bytes(expanded[64:])
        self.point = self.x25519.public_key().public_bytes_raw()

    def combine(self, from_ml_kem, from_x25519, ephemeral):
        label = b"\\.//^\\"
        return hashlib.sha3_256(from_ml_kem + from_x25519 + ephemeral + self.point + label).digest()

    def decapsulate(self, encapsulated):
        ciphertext, ephemeral = encapsulated[:1088], encapsulated[1088:]
        agreed = self.x25519.exchange(X25519PublicKey.from_public_bytes(ephemeral))
        return self.combine(self.ml_kem.decapsulate(ciphertext), agreed, ephemeral)

    def encapsulate(self):
        secret, ciphertext = self.ml_kem.public_key().encapsulate()
        key = X25519PrivateKey.generate()
        ephemeral = key.public_key().public_bytes_raw()
        agreed = key.exchange(self.x25519.public_key())
        return self.combine(secret, agreed, ephemeral), ciphertext + ephemeral


def extract(salt, label, material):
    return hmac.digest(salt, b"HPKE-v1" + SUITE + label + material, "sha256")


def expand(key, label, info, length):
    message = length.to_bytes(2, "big") + b"HPKE-v1" + SUITE + label + info
    return hmac.digest(key, message + b"\x01", "sha256")[:length]


def cipher(shared, info):
    psk = derive("waymeet 1 letter psk", PAIR)
    context = (
        b"\x01"
        + extract(b"", b"psk_id_hash", b"waymeet/letter/1")
        + extract(b"", b"info_hash", info)
    )
    secret = extract(shared, b"secret", psk)
    key = expand(secret, b"key", context, 32)
    return ChaCha20Poly1305(key), expand(secret, b"base_nonce", context, 12)


def outside(receipt):
    tags = derive("waymeet 1 letter tags", PAIR, *ANA, *CEM)
    numbered = blake3.blake3(NUMBER.to_bytes(8, "big"), key=tags).digest(20)
    masked = PREKEY ^ int.from_bytes(numbered[16:], "big")
    return (
        b"\x01"
        + numbered[:16]
        + DAY.to_bytes(2, "big")
        + blake3.blake3(receipt).digest()
        + masked.to_bytes(4, "big")
    )


def info():
    numbers = PREKEY.to_bytes(4, "big") + NUMBER.to_bytes(8, "big") + DAY.to_bytes(2, "big")
    return b"waymeet/letter/1\0" + SPACE + b"".join(ANA) + b"".join(CEM) + numbers


def content(body):
    receipt, seq = bytes([0x66]) * 32, (3).to_bytes(8, "big")
    backlink, created = bytes([0x65]) * 32, (1_790_000_000_000).to_bytes(8, "big")
    length = len(body).to_bytes(4, "big")
    header = b"\x01" + SPACE + ANA[1] + seq + backlink + created + length + blake3.blake3(body).digest()
    signature = ANA_DEVICE.sign(b"waymeet/entry/1\0" + blake3.blake3(header).digest())
    plain = receipt + seq + backlink + created + signature + length + body
    return receipt, plain + bytes(256 - len(plain))


def open_ours():
    root = os.path.join(os.path.dirname(__file__), "..", "..")
    with open(os.path.join(root, "docs", "vectors.txt"), encoding="utf-8") as file:
        vectors = dict(line.strip().split(" = ") for line in file if " = " in line)
    envelope = bytes.fromhex(vectors["letter.envelope"])
    receipt, expected = content(bytes.fromhex(vectors["letter.body"]))
    assert envelope[:55] == outside(receipt), "what stands outside"
    key, nonce = cipher(XWing(PREKEY_SECRET).decapsulate(envelope[55:1175]), info())
    assert key.decrypt(nonce, envelope[1175:], envelope[:55]) == expected, "what stands inside"
    print("opened the letter of docs/vectors.txt")


def seal():
    receipt, plain = content(b"from elsewhere")
    shared, encapsulated = XWing(PREKEY_SECRET).encapsulate()
    key, nonce = cipher(shared, info())
    print((outside(receipt) + encapsulated + key.encrypt(nonce, plain, outside(receipt))).hex())


if __name__ == "__main__":
    seal() if sys.argv[1:] == ["seal"] else open_ours()
