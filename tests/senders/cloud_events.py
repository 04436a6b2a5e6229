"""Builds signals with both interfaces of the `cloudevents` package, in structured mode, and sends them.

Attributes that a program leaves at None are `null` in what the package writes. Usage: cloud_events.py URL SECRET_FILE.
Prints one line of JSON for each answer.
"""

import hashlib
import hmac
import http.client
import json
import sys
import warnings
from urllib.parse import urlsplit

warnings.simplefilter("ignore", DeprecationWarning)

from cloudevents.core.bindings.http import to_structured_event
from cloudevents.core.v1.event import CloudEvent as CoreEvent
from cloudevents.v1.http import CloudEvent, to_structured

UNSET = {"severity": None, "traceparent": None, "note": None}


def attributes(number, **more):
    named = {"id": f"ce-{number}", "source": "/tests", "type": "cost.usage", "tenant": "acme", "sku": "vm"}
    return {**named, **more}


def first(number, data, **more):
    _, body = to_structured(CloudEvent(attributes(number, **more), data))
    return body


def core(number, data, **more):
    return to_structured_event(CoreEvent(attributes(number, specversion="1.0", **more), data)).body


def post(url, secret, content_type, body):
    fields = {"content-type": content_type, "x-signature": hmac.new(secret, body, hashlib.sha256).hexdigest()}
    connection = http.client.HTTPConnection(url.hostname, url.port, timeout=30)
    connection.request("POST", url.path, body, fields)
    answer = connection.getresponse()
    print(json.dumps({"status": answer.status, "answer": json.loads(answer.read())}))
    connection.close()


def main(url, secret_file):
    url = urlsplit(url)
    with open(secret_file, "rb") as file:
        secret = file.read().strip()
    singles = [
        first(1, {"spend": 81.25}, subject=None, time=None, dataschema=None, **UNSET),
        first(2, None, **UNSET),
        core(3, {"spend": 81.25}, **UNSET),
        core(4, None, severity="critical", note=None),
    ]
    assert all(b": null" in body for body in singles), singles
    for body in singles:
        post(url, secret, "application/cloudevents+json", body)
    several = [make(number, {"spend": number}, **UNSET) for number, make in enumerate([first, core], start=5)]
    post(url, secret, "application/cloudevents-batch+json", b"[" + b", ".join(several) + b"]")
    several = [make(number, {"spend": number}, **UNSET) for number, make in enumerate([first, core], start=7)]
    post(url, secret, "application/x-ndjson", b"\n".join(several))
    # What is needed must be set.
    post(url, secret, "application/cloudevents+json", core(9, None, **{**UNSET, "sku": None}))


if __name__ == "__main__":
    main(*sys.argv[1:])
