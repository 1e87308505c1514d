"""Enum names without their prefix and in any letter case."""

import pytest

from bff.core.schema import EnumType, EnumValue
from bff.transcoding.enum_names import names_of, short_names


def enum(name: str, **values: int) -> EnumType:
    made = tuple(EnumValue(name=each, number=number) for each, number in values.items())
    return EnumType(full_name=f"shop.v1.{name}", package="shop.v1", values=made)


@pytest.mark.rule("transcoding.114")
@pytest.mark.parametrize(
    ("name", "value", "short"),
    [
        ("OrderState", "ORDER_STATE_NEW", "NEW"),
        ("HTTPMethod", "HTTP_METHOD_GET", "GET"),
        ("Code2Kind", "CODE2_KIND_A", "A"),
        ("OrderState", "STATE_NEW", "STATE_NEW"),
        ("Size", "SIZE_2XL", "SIZE_2XL"),
        ("Size", "SIZE_", "SIZE_"),
    ],
)
def test_prefix_is_the_name_of_the_enum(name: str, value: str, short: str) -> None:
    assert short_names(enum(name, **{value: 1})) == {value: short}


@pytest.mark.rule("transcoding.114")
def test_two_values_that_would_share_a_name_are_refused() -> None:
    with pytest.raises(ValueError, match="would be called A"):
        short_names(enum("Mood", MOOD_A=0, A=1))
    assert short_names(enum("Mood", MOOD_A=1, A=1)) == {"MOOD_A": "A", "A": "A"}


@pytest.mark.rule("transcoding.66")
def test_two_values_equal_but_for_case_are_refused() -> None:
    both = enum("Mood", GOOD=0, good=1)

    with pytest.raises(ValueError, match="but for letter case"):
        names_of(both, no_prefix=False, any_case=True)
    assert names_of(both, no_prefix=False, any_case=False) == {"GOOD": "GOOD", "good": "good"}
