"""A receiver of OTLP that answers as its script says and prints what it took: a line of JSON for each span.

receiver.py http|grpc [ANSWER...] [--tls CERT KEY [CA]]

The first line is the port. An answer is a status of HTTP or the name of one of gRPC, `partial:N`, or `hang`; what comes after the
last of them is taken. With CA, clients must have a certificate of it.
"""

import base64
import gzip
import http.server
import json
import ssl
import sys
import threading
import time
from concurrent import futures

import grpc
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2 as service
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2_grpc as service_grpc

lock = threading.Lock()


def value(any_value):
    return getattr(any_value, any_value.WhichOneof("value"))


def attributes(pairs):
    return {pair.key: value(pair.value) for pair in pairs}


def tell(line):
    with lock:
        print(json.dumps(line), flush=True)


def take(request, headers):
    for of_node in request.resource_spans:
        resource = attributes(of_node.resource.attributes)
        for scope in of_node.scope_spans:
            for span in scope.spans:
                tell({
                    "trace": span.trace_id.hex(),
                    "id": span.span_id.hex(),
                    "parent": span.parent_span_id.hex(),
                    "name": span.name,
                    "kind": span.kind,
                    "begun": span.start_time_unix_nano,
                    "ended": span.end_time_unix_nano,
                    "attributes": attributes(span.attributes),
                    "links": [[link.trace_id.hex(), link.span_id.hex()] for link in span.links],
                    "failed": span.status.code == 2,
                    "why": span.status.message,
                    "flags": span.flags,
                    "resource": resource,
                    "headers": headers,
                })


def next_answer():
    with lock:
        return answers.pop(0) if answers else "take"


def partial(answer):
    response = service.ExportTraceServiceResponse()
    if answer.startswith("partial:"):
        response.partial_success.rejected_spans = int(answer.removeprefix("partial:"))
        response.partial_success.error_message = "too many"
    return response


class OverHttp(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        body = self.rfile.read(int(self.headers["content-length"]))
        answer = next_answer()
        if answer == "hang":
            time.sleep(3600)
        status, _, after = answer.partition("/")
        if status.isdigit():
            tell({"answered": status})
            self.send_response(int(status))
            if after:
                self.send_header("retry-after", after)
            self.send_header("content-length", "0")
            self.end_headers()
            return
        assert self.headers["content-type"] == "application/x-protobuf", self.headers
        if self.headers["content-encoding"] == "gzip":
            body = gzip.decompress(body)
        headers = {name.lower(): text for name, text in self.headers.items()}
        headers["path"] = self.path
        take(service.ExportTraceServiceRequest.FromString(body), headers)
        response = partial(answer).SerializeToString()
        self.send_response(200)
        self.send_header("content-type", "application/x-protobuf")
        self.send_header("content-length", str(len(response)))
        self.end_headers()
        self.wfile.write(response)

    def log_message(self, *_):
        pass


class OverGrpc(service_grpc.TraceServiceServicer):
    def Export(self, request, context):
        answer = next_answer()
        if answer == "hang":
            time.sleep(3600)
        name, _, details = answer.partition("/")
        if hasattr(grpc.StatusCode, name):
            tell({"answered": name})
            if details:
                context.set_trailing_metadata((("grpc-status-details-bin", base64.b64decode(details)),))
            context.abort(getattr(grpc.StatusCode, name), "as the script says")
        take(request, dict(context.invocation_metadata()))
        return partial(answer)


arguments = sys.argv[1:]
tls = None
if "--tls" in arguments:
    at = arguments.index("--tls")
    tls = arguments[at + 1:at + 4]
    arguments = arguments[:at]
protocol, answers = arguments[0], arguments[1:]
if protocol == "http":
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), OverHttp)
    if tls:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(tls[0], tls[1])
        if len(tls) > 2:
            context.load_verify_locations(tls[2])
            context.verify_mode = ssl.CERT_REQUIRED
        server.socket = context.wrap_socket(server.socket, server_side=True)
    print(server.server_address[1], flush=True)
    server.serve_forever()
else:
    server = grpc.server(futures.ThreadPoolExecutor(max_workers=4), compression=grpc.Compression.NoCompression)
    service_grpc.add_TraceServiceServicer_to_server(OverGrpc(), server)
    if tls:
        cert, key, *ca = (open(path, "rb").read() for path in tls)
        credentials = grpc.ssl_server_credentials([(key, cert)], ca[0] if ca else None, require_client_auth=bool(ca))
        port = server.add_secure_port("127.0.0.1:0", credentials)
    else:
        port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    print(port, flush=True)
    server.wait_for_termination()
