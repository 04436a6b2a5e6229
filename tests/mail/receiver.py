"""A mail server on 127.0.0.1 that tells each mail as a line of JSON on standard error.

Usage: receiver.py PORT plain|starttls|implicit [CERTIFICATE KEY]
It refuses `nobody@…`, and has no room for `later@…` the first time. With TLS it wants the user `gemba` with `a password`.
"""

import email
import email.policy
import json
import ssl
import sys
import time

from aiosmtpd.controller import Controller
from aiosmtpd.smtp import AuthResult


class Handler:
    def __init__(self):
        self.seen = set()

    async def handle_RCPT(self, server, session, envelope, address, options):
        if address.startswith("nobody@"):
            return "550 no such mailbox"
        if address.startswith("later@") and address not in self.seen:
            self.seen.add(address)
            return "451 the mailbox is busy"
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server, session, envelope):
        mail = email.message_from_bytes(envelope.content, policy=email.policy.default)
        told = {
            "from": envelope.mail_from,
            "to": envelope.rcpt_tos,
            "headers": {name: str(value) for name, value in mail.items()},
            "names": sorted(name.lower() for name in mail.keys()),
            "text": mail.get_body(("plain",)).get_content(),
            "html": mail.get_body(("html",)).get_content(),
            "login": bool(session.authenticated),
        }
        print(json.dumps(told), file=sys.stderr, flush=True)
        return "250 OK"


def authenticator(server, session, envelope, mechanism, login):
    is_right = login.login == b"gemba" and login.password == b"a password"
    return AuthResult(success=is_right, handled=False)


port, mode = int(sys.argv[1]), sys.argv[2]
context = None
if mode != "plain":
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(sys.argv[3], sys.argv[4])
options = {"hostname": "127.0.0.1", "port": port}
if mode == "implicit":
    options |= {"ssl_context": context, "auth_required": True, "auth_require_tls": False, "authenticator": authenticator}
elif mode == "starttls":
    options |= {"tls_context": context, "require_starttls": True, "auth_required": True, "authenticator": authenticator}
Controller(Handler(), **options).start()
print("ready", file=sys.stderr, flush=True)
while True:
    time.sleep(3600)
