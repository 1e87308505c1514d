"""`bff demo`."""


def demo() -> None:
    """Services, identity provider and gateway in one command, with a guided tour."""
