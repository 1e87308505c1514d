"""An order as a one-page PDF (ISO 32000-1, 7.5): header, five objects, cross-reference, trailer."""

from typing import Any

__all__ = ["write_invoice"]

_LINES_PER_PAGE = 40  # what fits A4 at 18 points a line; an order has at most 50 items


def write_invoice(order: Any) -> bytes:
    """The invoice of a `sample.orders.v1.Order`, as bytes of a PDF file."""
    lines = [
        f"Invoice for order {order.id}",
        f"Customer {order.customer_id}, {order.created_at.ToJsonString()[:10]}",
        "",
        *(
            f"{item.quantity} x {item.product_id} at {_amount(item.unit_price)}"
            for item in order.items
        ),
        "",
        f"Total {_amount(order.total)}",
    ]
    return _pdf(_page_text(lines[:_LINES_PER_PAGE]))


def _amount(money: Any) -> str:
    return f"{money.units}.{money.nanos // 10_000_000:02d} {money.currency_code}"


def _page_text(lines: list[str]) -> bytes:
    shown = "\n".join(f"({_escaped(line)}) Tj T*" for line in lines)
    return f"BT /F1 12 Tf 18 TL 60 780 Td\n{shown}\nET".encode("latin-1", "replace")


def _escaped(line: str) -> str:
    return line.replace("\\", r"\\").replace("(", r"\(").replace(")", r"\)")


def _pdf(content: bytes) -> bytes:
    objects = (
        b"<< /Type /Catalog /Pages 2 0 R >>",
        b"<< /Type /Pages /Kids [3 0 R] /Count 1 >>",
        (
            b"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 595 842] /Contents 5 0 R"
            b" /Resources << /Font << /F1 4 0 R >> >> >>"
        ),
        b"<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>",
        b"<< /Length %d >>\nstream\n%s\nendstream" % (len(content), content),
    )
    out = bytearray(b"%PDF-1.4\n")
    offsets: list[int] = []
    for number, body in enumerate(objects, start=1):
        offsets.append(len(out))
        out += b"%d 0 obj\n%s\nendobj\n" % (number, body)
    table_at = len(out)
    out += b"xref\n0 %d\n0000000000 65535 f \n" % (len(objects) + 1)
    out += b"".join(b"%010d 00000 n \n" % offset for offset in offsets)
    out += b"trailer << /Size %d /Root 1 0 R >>\n" % (len(objects) + 1)
    out += b"startxref\n%d\n%%%%EOF\n" % table_at
    return bytes(out)
