"""Accept fields (RFC 9110 12.5.1): how much a client wants a media type."""

__all__ = ["accepts"]

_MAX_RANGES = 64


def accepts(accept: bytes, media_type: str, *, by_name: bool = False) -> float:
    """The q-value (0..1) that the field gives to a type; 0 is not acceptable.

    The most specific range decides: the type itself, `type/*`, `*/*`. With `by_name` wildcards do
    not count.
    """
    kind = media_type.partition("/")[0]
    wanted = {media_type: 3, f"{kind}/*": 2, "*/*": 1}
    if by_name:
        wanted = {media_type: 3}
    best, quality = 0, 0.0
    for part in accept.decode("latin-1").lower().split(",")[:_MAX_RANGES]:
        name, *parameters = (piece.strip() for piece in part.split(";"))
        rank = wanted.get(name, 0)
        if rank > best:
            best, quality = rank, _quality(parameters)
    return quality


def _quality(parameters: list[str]) -> float:
    for parameter in parameters:
        name, _, value = parameter.partition("=")
        if name.strip() == "q":
            try:
                return min(1.0, max(0.0, float(value)))
            except ValueError:
                return 0.0
    return 1.0
