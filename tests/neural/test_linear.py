"""Every kind of matrix multiplies the same in its three ways: as a new tensor, into one, and onto one."""

from __future__ import annotations

import pytest
import torch

from services.neural.linear import Precision, prepare

# Of a product of numbers of about 1 with 32 weights of about 1.
TOLERANCES = {Precision.FLOAT32: 1e-4, Precision.BFLOAT16: 0.2, Precision.INT8: 0.3}


@pytest.mark.parametrize("precision", Precision)
@pytest.mark.parametrize("biased", [False, True])
@pytest.mark.parametrize("rows", [1, 5, 33])
def test_a_matrix_multiplies_writes_and_adds(precision: Precision, biased: bool, rows: int):
    random = torch.Generator().manual_seed(0)
    weight, bias = torch.randn(48, 32, generator=random), torch.randn(48, generator=random)
    x, before = torch.randn(rows, 32, generator=random), torch.randn(rows, 48, generator=random)
    wanted = (x.double() @ weight.double().t() + (bias if biased else 0)).float()
    matrix = prepare(weight, precision, bias if biased else None)

    written, added = torch.full((rows, 48), torch.nan), before.clone()
    matrix.write_to(written, x)
    matrix.add_to(added, x)

    for product in (matrix(x), written, added - before):
        torch.testing.assert_close(product, wanted, rtol=0, atol=TOLERANCES[precision])
