"""`make demo`: everything in one command, with a guided tour.

On a terminal it keeps serving until Ctrl-C; otherwise it ends with status 0, or 1 if anything on the
tour went otherwise than it should.
"""

import signal
import sys

from rich.console import Console
from rich.text import Text

from sample_services.stage import Stage
from sample_services.tour import Tour

__all__: list[str] = []


def main() -> int:
    """Run the demo; returns the exit status."""
    out = Console(highlight=False, soft_wrap=True)
    out.print(Text("Starting three gRPC services, an identity provider and a gateway ...", "bold"))
    with Stage() as stage:
        tour = Tour(stage, out)
        tour.walk()
        _tell_where(stage, out)
        if tour.surprises:
            out.print(Text(f"{len(tour.surprises)} surprise(s): {tour.surprises}", "bold red"))
            return 1
        if sys.stdin.isatty() and sys.stdout.isatty():
            out.print("Serving until Ctrl-C.")
            signal.sigwait({signal.SIGINT, signal.SIGTERM})
    return 0


def _tell_where(stage: Stage, out: Console) -> None:
    out.print()
    out.print(Text("Look around:", "bold"))
    for name, url in (
        ("REST", f"{stage.public}/v1/products/p-1"),
        ("API page", f"{stage.public}/docs"),
        ("OpenAPI", f"{stage.public}/openapi.json"),
        ("GraphiQL", f"{stage.public}/graphql"),
        ("sign-in", f"{stage.identity}/.well-known/openid-configuration"),
        ("readiness", f"{stage.admin}/readyz?verbose"),
        ("metrics", f"{stage.admin}/metrics"),
    ):
        out.print(f"  {name:<10} {url}")
    out.print(f"  mappings   {stage.mappings} (edit one: it goes live, or says why not)")


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
