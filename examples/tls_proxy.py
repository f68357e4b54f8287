"""Takes TLS off connections and passes them on: ``python tls_proxy.py --to 127.0.0.1:8000 --certificate both.pem``."""

import argparse

import hubbub
from hubbub_net import socket, ssl
from hubbub_server import StreamServer


def copy(source: socket.socket, target: socket.socket) -> None:
    """Pass on what comes until the end, then end that direction."""
    while data := source.recv(65536):
        target.sendall(data)
    target.shutdown(socket.SHUT_WR)


class Proxy:
    """Connects each client to the server at ``address``."""

    def __init__(self, address: tuple[str, int]) -> None:
        self.address = address

    def serve(self, client: socket.socket, address: object) -> None:
        """Copy both ways. If one way fails the other is cancelled."""
        try:
            with socket.create_connection(self.address, timeout=10) as server:
                server.settimeout(None)
                with hubbub.TaskGroup() as both:
                    both.spawn(copy, client, server)
                    both.spawn(copy, server, client)
        except* OSError as errors:
            print(f"{address}: {errors.exceptions[0]}", flush=True)


def host_and_port(text: str) -> tuple[str, int]:
    """The parts of ``127.0.0.1:80``."""
    host, _, port = text.rpartition(":")
    return host.strip("[]"), int(port)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--bind", default="127.0.0.1:7443")
    parser.add_argument("--to", type=host_and_port, required=True, help="HOST:PORT")
    parser.add_argument("--certificate", required=True, help="a PEM file with the chain and its key")
    options = parser.parse_args()
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(options.certificate)
    StreamServer(options.bind, Proxy(options.to).serve, ssl_context=context).serve_forever()
