"""The name that a client most likely meant. Cheap, since strangers choose the names; nothing is guessed at."""

__all__ = ["one_edit_away"]


def one_edit_away(name: str, known: tuple[str, ...]) -> str:
    """The known name that differs by one inserted, dropped, changed or swapped letter, or an empty string.

    Fields have two names: who writes `productid` means `productId` rather than `product_id`.
    """
    for other in sorted(known, key=lambda each: ("_" in each) != ("_" in name)):
        # Below three letters anything is one edit from anything.
        if len(other) < 3 or abs(len(other) - len(name)) > 1:
            continue
        start = 0
        while start < min(len(name), len(other)) and name[start] == other[start]:
            start += 1
        a, b = name[start:], other[start:]
        if a[1:] == b[1:] or a[1:] == b or a == b[1:] or (a[:2] == b[1::-1] and a[2:] == b[2:]):
            return other
    return ""
