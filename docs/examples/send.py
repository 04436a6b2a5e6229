"""Sends one signed signal to Gemba with Python's standard library.

Usage: python3 send.py hmac              http://localhost:8080/v1/signals          SECRET_FILE ID
       python3 send.py standard-webhooks http://localhost:8080/v1/sources/webhooks SECRET_FILE ID
"""

import base64
import hashlib
import hmac
import json
import sys
import time
import urllib.error
import urllib.request


def sign(scheme, secret, message_id, body):
    if scheme == "hmac":
        # Hex HMAC-SHA256 of the exact bytes of the body. The key is the text in the secret file.
        return {"x-signature": hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()}
    if scheme == "standard-webhooks":
        # The key is the decoded base64 after `whsec_`. The id and the time are signed, too.
        key = base64.b64decode(secret.removeprefix("whsec_"))
        now = str(int(time.time()))
        mac = hmac.digest(key, f"{message_id}.{now}.".encode() + body, "sha256")
        signature = "v1," + base64.b64encode(mac).decode()
        return {"webhook-id": message_id, "webhook-timestamp": now, "webhook-signature": signature}
    sys.exit(f"no such scheme: {scheme}")


def send(url, body, make_headers):
    """Sends the same bytes until they are accepted or refused: status and answer."""
    for left in reversed(range(6)):
        request = urllib.request.Request(url, body, {"content-type": "application/json", **make_headers()})
        try:
            with urllib.request.urlopen(request, timeout=30) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as refused:
            if left == 0 or refused.code not in (429, 503):
                return refused.code, refused.read().decode()
            wait = int(refused.headers.get("retry-after", 1))
        except OSError:  # No answer: the signal may have been accepted, and a repeat does no harm.
            if left == 0:
                raise
            wait = 1
        time.sleep(wait)


if len(sys.argv) != 5:
    sys.exit(__doc__)
scheme, url, secret_file, message_id = sys.argv[1:]
with open(secret_file, encoding="utf-8") as file:
    secret = file.read().rstrip()
# The id names the event: the same id with the same body is the same signal, however often it is sent.
data = {"spend": 81.25, "budget": 100}
body = json.dumps({"id": message_id, "tenant": "acme", "sku": "vm", "type": "cost.usage", "data": data}).encode()
status, text = send(url, body, lambda: sign(scheme, secret, message_id, body))
print(status, text)
sys.exit(status != 202)
