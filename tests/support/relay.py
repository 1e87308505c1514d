"""A TCP port in front of a unix socket: for clients that are configured with host and port."""

import contextlib
import shutil
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

__all__ = ["tcp_in_front_of"]


@contextmanager
def tcp_in_front_of(path: Path) -> Iterator[int]:
    """A loopback port that leads to the unix socket while the block runs."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        open_sockets: list[socket.socket] = []
        accepting = threading.Thread(target=_accept, args=(listener, path, open_sockets))
        accepting.start()
        try:
            yield listener.getsockname()[1]
        finally:
            # Wakes the thread that waits in accept, which close alone would not.
            listener.shutdown(socket.SHUT_RDWR)
            accepting.join()
            for one in open_sockets:
                with contextlib.suppress(OSError):
                    one.shutdown(socket.SHUT_RDWR)
                one.close()


def _accept(listener: socket.socket, path: Path, open_sockets: list[socket.socket]) -> None:
    # Ends with OSError when the listener is shut down.
    with contextlib.suppress(OSError):
        while True:
            outer, _ = listener.accept()
            outer.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            inner = socket.socket(socket.AF_UNIX)
            open_sockets += (outer, inner)
            inner.connect(str(path))
            for source, target in ((outer, inner), (inner, outer)):
                threading.Thread(target=_pump, args=(source, target), daemon=True).start()


def _pump(source: socket.socket, target: socket.socket) -> None:
    with contextlib.suppress(OSError), source.makefile("rb", 0) as reader:
        with target.makefile("wb", 0) as writer:
            shutil.copyfileobj(reader, writer, 65_536)
        target.shutdown(socket.SHUT_WR)
