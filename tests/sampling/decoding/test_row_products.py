"""Products whose rows do not depend on how many they are."""

import pytest
import torch

from bittygpt.sampling.decoding import row_products
from bittygpt.sampling.decoding.row_products import RowProducts, whole_columns

CPU = torch.device("cpu")
SHAPES = [(8, 8), (64, 192), (256, 768), (704, 256), (1500, 256), (300, 256), (101, 37)]


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("shape", SHAPES)
def test_a_row_has_the_same_bits_in_every_company(shape, dtype):
    weight, x = torch.randn(shape, dtype=dtype), torch.randn(40, shape[0], dtype=dtype)
    products, wide = RowProducts(40, CPU), whole_columns(weight)

    def multiply(rows):
        return products(rows, wide, rows.new_empty(len(rows), wide.shape[1]))[:, : shape[1]]

    alone = torch.cat([multiply(x[at : at + 2]) for at in range(0, 40, 2)])
    for count in (4, 6, 16, 34, 40):
        assert torch.equal(multiply(x[:count].contiguous()), alone[:count])
        assert torch.equal(multiply(x[:count].flip(0)), alone[:count].flip(0))
    torch.testing.assert_close(alone.float(), x.float() @ weight.float(), atol=0.5, rtol=0.05)


def test_the_smallest_blocks_are_taken_where_larger_ones_round_otherwise(monkeypatch):
    """As on this machine bfloat16 products of more than 16 rows do; here it is made up, so as to hold everywhere."""
    weight, x = torch.randn(8, 8), torch.randn(12, 8)
    monkeypatch.setattr(row_products.torch, "equal", lambda *_: False)
    products = RowProducts(12, CPU)
    out = torch.empty(12, 8)
    products(x, weight, out)
    found = torch.cat([block @ weight for block in x.split(2)])
    assert (products(x, weight, out) == found).all()
    assert products._at_once[(8, 8)] == {count: 2 for count in range(2, 14, 2)}


def test_a_weight_of_zeros_does_not_make_all_products_look_alike(monkeypatch):
    seen = []
    monkeypatch.setattr(
        row_products.torch, "equal", lambda a, b: seen.append(bool((a != 0).all())) or bool((a == b).all())
    )
    RowProducts(8, CPU)(torch.ones(8, 16), torch.zeros(16, 16), torch.empty(8, 16))
    assert seen
    assert all(seen)
