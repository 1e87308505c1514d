"""Which name a misspelled one is near to."""

import pytest

from bff.transcoding.near_names import one_edit_away

NAMES = ("product_id", "productId", "name")


@pytest.mark.rule("transcoding.157")
@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("productid", "productId"),
        ("productIdd", "productId"),
        ("product_ids", "product_id"),
        ("product_Id", "product_id"),
        ("nmae", "name"),
        ("quantity", ""),
    ],
)
def test_of_two_names_of_a_field_it_is_the_one_that_is_written_alike(
    written: str, meant: str
) -> None:
    assert one_edit_away(written, NAMES) == meant
