"""The canned replies and the bodies to post, of `bench.proto`: wire octets and the JSON they stand for."""

import json
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, json_format, message_factory
from grpc_tools import protoc
from msgspec import structs

from benchmarks.canned import SERVICE, Canned
from benchmarks.screens import canned_screens

__all__ = ["ASKED", "PROTOS", "SIZES", "canned_replies", "compile_protos"]

PROTOS = Path(__file__).resolve().parent / "protos"
# Size of the reply -> its items and labels, chosen so that compact JSON has 0.35, 1.7 and 15.6 KB.
SIZES = {"small": (0, 3), "medium": (4, 5), "large": (53, 10)}
# All that can be asked for.
ASKED = (*SIZES, "post", "aggregate", "graphql")
_SET = "bench.binpb"


def compile_protos(folder: Path) -> Path:
    """Write the descriptor set and Python stubs into `folder`; returns the set's path.

    Raises RuntimeError where protoc refuses the source.
    """
    status = protoc.main(
        [
            "protoc",
            f"--proto_path={PROTOS}",
            f"--proto_path={_package_of('grpc_tools.protoc') / '_proto'}",
            f"--proto_path={_package_of('google.api.annotations_pb2').parents[1]}",
            "--include_imports",
            f"--descriptor_set_out={folder / _SET}",
            f"--python_out={folder}",
            f"--grpc_python_out={folder}",
            "bench/v1/bench.proto",
        ]
    )
    if status != 0:
        raise RuntimeError(f"protoc refused {PROTOS} with status {status}; it said why above")
    return folder / _SET


def _package_of(module: str) -> Path:
    spec = find_spec(module)
    if spec is None or spec.origin is None:
        raise RuntimeError(f"{module} is not installed")
    return Path(spec.origin).parent


def canned_replies(descriptor_set: bytes) -> tuple[Canned, ...]:
    """In the order of ASKED: replies to GET, smallest first; then what is posted, and the screen."""
    files = descriptor_pb2.FileDescriptorSet.FromString(descriptor_set)
    pool = descriptor_pool.DescriptorPool()
    for file in files.file:
        pool.Add(file)
    make = message_factory.GetMessageClass(pool.FindMessageTypeByName("bench.v1.Order"))
    gets = tuple(_canned(size, make) for size in SIZES)
    small, medium = gets[0], gets[1]
    post = structs.replace(
        small,
        size="post",
        rest_path="/v1/orders",
        grpc_path=f"/{SERVICE}/PlaceOrder",
        body=json.dumps(medium.tree, separators=(",", ":"), ensure_ascii=False).encode(),
    )
    return (*gets, post, *canned_screens(pool, medium.tree))


def _canned(size: str, make: Any) -> Canned:
    items, labels = SIZES[size]
    message = json_format.ParseDict(_order(items, labels), make())
    tree = json_format.MessageToDict(message)
    return Canned(
        size=size,
        rest_path=f"/v1/{size}/ord-0001",
        grpc_path=f"/{SERVICE}/Get{size.capitalize()}",
        message=message.SerializeToString(deterministic=True),
        tree=tree,
        json_bytes=len(json.dumps(tree, separators=(",", ":"), ensure_ascii=False).encode()),
    )


def _order(items: int, labels: int) -> dict[str, Any]:
    order: dict[str, Any] = {
        "orderId": "ord-0001",
        "customerId": "cus-7f3a91",
        "status": "STATUS_PAID",
        "total": _money(184_999 + items, 990_000_000),
        "createdAt": "2026-03-14T09:26:53.589Z",
        "updatedAt": "2026-03-15T11:02:07Z",
        "labels": {f"label-{n}": f"value {n} of the order" for n in range(labels)},
        "revision": str(9_007_199_254_740_993 + items),
    }
    if items:
        order["items"] = [_item(n) for n in range(items)]
        order["shipTo"] = {
            "recipient": "Zoë Ångström",
            "lines": ["12 Example Street", "Third floor, left"],
            "city": "Springfield",
            "postalCode": "12345",
            "regionCode": "US",
        }
    return order


def _item(n: int) -> dict[str, Any]:
    return {
        "productId": f"prd-{n:05d}",
        "title": f"Product number {n}, the one in “blue”",
        "quantity": n % 7 + 1,
        "unitPrice": _money(19 + n, 500_000_000),
        "gift": n % 3 == 0,
        "tags": ["sale", f"row-{n}"],
        "promisedAt": f"2026-04-{n % 28 + 1:02d}T12:00:00Z",
        "status": ("STATUS_PLACED", "STATUS_PAID", "STATUS_SHIPPED")[n % 3],
        "stockKeepingUnit": str(4_000_000_000_000 + n),
    }


def _money(units: int, nanos: int) -> dict[str, Any]:
    return {"currencyCode": "EUR", "units": str(units), "nanos": nanos}
