"""Ports before they are listened at: one that is free, why one cannot be had, and when one is taken up."""

import asyncio
import os
import socket

__all__ = ["free_port", "hold_port", "until_listening", "why_not_bindable"]

# Between two looks whether a server listens: it is a matter of milliseconds.
_LOOK_S = 0.005
# Where one connects to what listens everywhere.
_LOOPBACK = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - nothing is bound to it here


def free_port(host: str) -> int:
    """A port that was free a moment ago, for addresses written with port 0."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family) as probe:
        probe.bind((host, 0))
        return int(probe.getsockname()[1])


def hold_port(host: str) -> int:
    """A free port that is ours until the process ends: nobody is given it before we listen there.

    Who binds to it as well needs SO_REUSEADDR, or SO_REUSEPORT if several shall listen.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    holder = socket.socket(family)
    holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    holder.bind((host, 0))
    port = int(holder.getsockname()[1])
    # It never listens, so no connection comes to it; only the end of the process closes it.
    holder.detach()
    return port


async def until_listening(host: str, port: int) -> None:
    """Return once connections are taken there: by another thread, or process."""
    while True:
        try:
            _, writer = await asyncio.open_connection(_LOOPBACK.get(host, host), port)
        except OSError:
            await asyncio.sleep(_LOOK_S)
        else:
            writer.close()
            return


def why_not_bindable(host: str, port: int) -> str:
    """Why we cannot listen there; empty if we can. Without SO_REUSEPORT, so a second node is noticed."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        with socket.socket(family) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind((host, port))
    except OSError as error:
        return f"cannot listen on {host}:{port}: {os.strerror(error.errno or 0)}"
    return ""
