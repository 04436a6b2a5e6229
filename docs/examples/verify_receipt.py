"""Checks a receipt without the program that wrote it, with Python's standard library.

Usage: python3 verify_receipt.py RECEIPT.json RECEIPT_SECRET_FILE [SIGNAL_BODY]

RECEIPT.json is the answer to `GET /v1/receipts/{id}`. RECEIPT_SECRET_FILE is the file that `receipt.secret_file` names.
SIGNAL_BODY has the bytes of the signal as they were sent; of a batch, those of this one signal.
"""

import hashlib
import hmac
import json
import sys
from decimal import Decimal

# The node adds these when it logs the receipt; the hash is taken without them.
ADDED = {"hash", "signature", "key_id", "salt", "log_index", "log_origin"}


def canonical(value):
    """Canonical JSON (RFC 8785) of a value that was read from canonical JSON."""
    if isinstance(value, dict):
        names = sorted(value, key=lambda name: name.encode("utf-16-be"))
        return "{" + ",".join(canonical(name) + ":" + canonical(value[name]) for name in names) + "}"
    if isinstance(value, list):
        return "[" + ",".join(map(canonical, value)) + "]"
    if isinstance(value, float) and 1e-6 <= abs(value) < 1e-4:
        return format(Decimal(repr(value)), "f")  # RFC 8785 has 0.00001 where Python has 1e-05.
    if isinstance(value, float):
        return repr(value).replace("e-0", "e-")
    return json.dumps(value, ensure_ascii=False)


def verify(receipt, secret, body=None):
    """The first thing about the receipt that does not hold, or None."""
    context = {name: value for name, value in receipt.items() if name not in ADDED}
    digest = hashlib.sha256(canonical(context).encode()).digest()
    if digest.hex() != receipt["hash"]:
        return "the hash is not that of the receipt"
    if not hmac.compare_digest(hmac.digest(secret, digest, "sha256").hex(), receipt["signature"]):
        return "the signature is not by this secret"
    if body is not None and hashlib.sha256(body).hexdigest() != receipt["signal_hash"]:
        return "the receipt is about a different signal"
    return None


if len(sys.argv) not in (3, 4):
    sys.exit(__doc__)
receipt_file, secret_file, *body_file = sys.argv[1:]
with open(receipt_file, encoding="utf-8") as file:
    receipt = json.load(file)
with open(secret_file, "rb") as file:
    secret = file.read().rstrip()
body = None
if body_file:
    with open(body_file[0], "rb") as file:
        body = file.read()
wrong = verify(receipt, secret, body)
if wrong:
    sys.exit(f"{receipt['receipt_id']}: {wrong}")
print(f"{receipt['receipt_id']} holds")
