"""A broker that loses a share of what it is sent: it stands before Redis and says “taken”."""

import random
import socket
import threading
from contextlib import suppress
from pathlib import Path

# How a client puts a message into a queue, in Redis' own protocol, and what Redis would answer.
PUSH, TAKEN = b"*3\r\n$5\r\nLPUSH\r\n", b":1\r\n"
PIECE = 1 << 16


class LossyBroker:
    """Passes every command on but the messages it loses."""

    def __init__(self, path: Path, redis: Path, share: float) -> None:
        self.url = f"redis+socket://{path}"
        self.lost = self.passed = 0
        self._redis, self._share = redis, share
        self._dice = random.Random(7)
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(path))
        self._listener.listen()
        self._start(self._accept)

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def _start(self, call: object, *words: object) -> None:
        threading.Thread(target=call, args=words, name="lossy", daemon=True).start()  # type: ignore[arg-type]

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                server = socket.socket(socket.AF_UNIX)
                server.connect(str(self._redis))
                self._start(self._pass_commands, client, server)
                self._start(_copy, server, client)

    def _pass_commands(self, client: socket.socket, server: socket.socket) -> None:
        with suppress(OSError):
            while piece := client.recv(PIECE):
                if piece.startswith(PUSH) and self._loses():
                    client.sendall(TAKEN)
                else:
                    server.sendall(piece)
        for each in (client, server):
            each.close()

    def _loses(self) -> bool:
        loses = self._dice.random() < self._share
        self.lost, self.passed = self.lost + loses, self.passed + (not loses)
        return loses


def _copy(source: socket.socket, target: socket.socket) -> None:
    with suppress(OSError):
        while piece := source.recv(PIECE):
            target.sendall(piece)
