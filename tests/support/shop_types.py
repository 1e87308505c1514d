"""The types of a small shop as plain values, for tests of expressions, aggregates and GraphQL."""

from bff.core.schema import EnumType, EnumValue, Field, Kind, MessageType, Method

__all__ = ["Shop", "enum_of", "make_shop", "message_of"]


def message_of(full_name: str, *fields: Field, comment: str = "") -> MessageType:
    """A message with these fields, numbered as they come where they have no number."""
    package = ".".join(part for part in full_name.split(".")[:-1] if part.islower())
    made = MessageType(full_name=full_name, package=package, comment=comment)
    fill(made, *fields)
    return made


def fill(message: MessageType, *fields: Field) -> None:
    """Give a message its fields; apart from making it, since messages may refer to each other."""
    for number, field in enumerate(fields, 1):
        field.number = field.number or number
        if (field.message is not None and not field.repeated and not field.is_map) or field.oneof:
            field.has_presence = True
    message.fields = fields
    message.by_name = {field.name: field for field in fields}
    message.by_name.update({field.json_name: field for field in fields})
    oneofs: dict[str, tuple[Field, ...]] = {}
    for field in fields:
        if field.oneof:
            oneofs[field.oneof] = (*oneofs.get(field.oneof, ()), field)
    message.oneofs = oneofs


def json_name(name: str) -> str:
    head, *rest = name.split("_")
    return head + "".join(part.capitalize() for part in rest)


def of(name: str, kind: Kind = "string", **more: object) -> Field:
    """A field; `more` as in Field."""
    return Field(name=name, json_name=json_name(name), number=0, kind=kind, **more)  # type: ignore[arg-type] # the caller's words


def enum_of(full_name: str, *names: str) -> EnumType:
    """An open enum with these names from 0 up."""
    values = tuple(EnumValue(name=name, number=number) for number, name in enumerate(names))
    return EnumType(full_name=full_name, package=full_name.rpartition(".")[0], values=values)


class Shop:
    """Messages and methods by their short names."""

    def __init__(self) -> None:
        self.timestamp = message_of("google.protobuf.Timestamp")
        self.money = message_of("google.type.Money", of("currency_code"), of("units", "int64"))
        self.status = enum_of(
            "shop.orders.v1.OrderStatus",
            "ORDER_STATUS_UNSPECIFIED",
            "ORDER_STATUS_OPEN",
            "ORDER_STATUS_PAID",
        )
        self.item = message_of(
            "shop.orders.v1.Order.Item", of("product_id"), of("quantity", "int32")
        )
        self.card = message_of("shop.orders.v1.Card", of("last_four"))
        self.order = message_of(
            "shop.orders.v1.Order",
            of("id"),
            of("customer_id"),
            of("total", "message", message=self.money),
            of("items", "message", message=self.item, repeated=True),
            of("status", "enum", enum=self.status),
            of("cents", "int64"),
            of("coupon", has_presence=True),
            of("labels", map_key="string"),
            of("created", "message", message=self.timestamp),
            of("digest", "bytes"),
            of("weight", "double"),
            of("gift", "bool"),
            of("card", "message", message=self.card, oneof="payment"),
            of("voucher", oneof="payment"),
            of("tags", repeated=True),
            comment="What somebody bought.",
        )
        self.user = message_of("shop.users.v1.User", of("user_id"), of("display_name"))
        self.product = message_of("shop.catalog.v1.Product", of("product_id"), of("name"))
        self._operations()

    def _operations(self) -> None:
        list_reply = message_of(
            "shop.orders.v1.ListOrdersResponse",
            of("orders", "message", message=self.order, repeated=True),
            of("next_page_token"),
        )
        list_request = message_of(
            "shop.orders.v1.ListOrdersRequest",
            of("user_id"),
            of("page_size", "int32"),
            of("page_token"),
            of("status", "enum", enum=self.status),
        )
        place_request = message_of(
            "shop.orders.v1.PlaceOrderRequest",
            of("customer_id", required=True),
            of("items", "message", message=self.item, repeated=True),
            of("status", "enum", enum=self.status),
            of("digest", "bytes"),
            of("created", "message", message=self.timestamp),
            of("card", "message", message=self.card, oneof="payment"),
            of("voucher", oneof="payment"),
            of("secret_note", output_only=True),
            of("labels", map_key="string"),
            of("cents", "int64"),
        )
        users_reply = message_of(
            "shop.users.v1.BatchGetUsersResponse",
            of("users", "message", message=self.user, repeated=True),
        )
        products_reply = message_of(
            "shop.catalog.v1.BatchGetProductsResponse",
            of("products", "message", message=self.product, repeated=True),
        )
        get_order = message_of("shop.orders.v1.GetOrderRequest", of("order_id", required=True))
        orders, users, catalog = (
            "shop.orders.v1.Orders",
            "shop.users.v1.Users",
            "shop.catalog.v1.Catalog",
        )
        self.get_order = method_of(orders, "GetOrder", get_order, self.order)
        self.list_orders = method_of(orders, "ListOrders", list_request, list_reply)
        self.place_order = method_of(orders, "PlaceOrder", place_request, self.order)
        self.get_user = method_of(
            users, "GetUser", message_of("shop.users.v1.GetUserRequest", of("user_id")), self.user
        )
        self.batch_users = method_of(
            users,
            "BatchGetUsers",
            message_of("shop.users.v1.BatchGetUsersRequest", of("user_ids", repeated=True)),
            users_reply,
        )
        self.batch_products = method_of(
            catalog,
            "BatchGetProducts",
            message_of("shop.catalog.v1.BatchGetProductsRequest", of("ids", repeated=True)),
            products_reply,
        )


def method_of(service: str, name: str, request: MessageType, reply: MessageType) -> Method:
    """A unary method."""
    return Method(
        name=name, service=service, path=f"/{service}/{name}", input=request, output=reply
    )


def make_shop() -> Shop:
    """A shop with types of its own, so that no test sees another's changes."""
    return Shop()
