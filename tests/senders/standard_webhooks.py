"""Signs four signals with the `standardwebhooks` package and sends them.

Usage: standard_webhooks.py URL SECRET_FILE. Prints one line of JSON for each answer.
"""

import http.client
import json
import sys
from datetime import datetime, timezone
from urllib.parse import urlsplit

from standardwebhooks.webhooks import Webhook

SIGNALS = [
    {"type": "cost.usage", "sku": "vm", "data": {"spend": 81.25, "budget": 100.0}},
    {"type": "permission.change", "sku": "iam", "data": {"user": "zoë", "role": "owner"}},
    {"type": "change.request", "sku": "db", "data": {"change": "CHG-7", "risk": "low"}},
    {"type": "compliance.finding", "sku": "s3", "severity": "critical", "data": {"public": True}},
]


def headers(webhook, message_id, body):
    now = datetime.now(tz=timezone.utc)
    return {
        "content-type": "application/json",
        "webhook-id": message_id,
        "webhook-timestamp": str(int(now.timestamp())),
        "webhook-signature": webhook.sign(message_id, now, body),
    }


def post(url, fields, body):
    connection = http.client.HTTPConnection(url.hostname, url.port, timeout=30)
    connection.request("POST", url.path, body.encode(), fields)
    answer = connection.getresponse()
    print(json.dumps({"status": answer.status, "answer": json.loads(answer.read())}))
    connection.close()


def main(url, secret_file):
    url = urlsplit(url)
    with open(secret_file, encoding="ascii") as file:
        webhook = Webhook(file.read().strip())
    for number, signal in enumerate(SIGNALS, start=1):
        message_id = f"msg-{number}"
        body = json.dumps({"id": message_id, "tenant": "acme", **signal}, ensure_ascii=False)
        fields = headers(webhook, message_id, body)
        webhook.verify(body, fields)
        post(url, fields, body)
    # The last one again, as a sender does that got no answer; then with another body under its signature.
    post(url, headers(webhook, message_id, body), body)
    post(url, fields, body.replace("acme", "evil"))


if __name__ == "__main__":
    main(*sys.argv[1:])
