"""Ports before they are listened at: one that is free, and why one cannot be had."""

import os
import socket

__all__ = ["free_port", "why_not_bindable"]


def free_port(host: str) -> int:
    """A port that was free a moment ago, for addresses written with port 0."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family) as probe:
        probe.bind((host, 0))
        return int(probe.getsockname()[1])


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
