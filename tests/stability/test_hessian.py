"""Hessian products against whole Hessians."""

from __future__ import annotations

import pytest
import torch
from losses import (
    DESIGN,
    NETWORK_SIZE,
    Loss,
    dense,
    least_squares,
    network,
    normal,
    packed,
    quadratic,
    symmetric,
)

from sweeper.stability.hessian import hessian_product
from sweeper.tasks.gradient import packed_gradient
from sweeper.tasks.layout import Form, Layout
from sweeper.tasks.registry import TaskName

# float64; a product is a sum of some hundred terms of size 1 to 100.
CLOSE = {"rtol": 1e-11, "atol": 1e-11}


@pytest.mark.parametrize(("loss", "size"), [(least_squares, 12), (network, NETWORK_SIZE)])
def test_product_is_that_of_the_whole_hessian(loss: Loss, size: int) -> None:
    theta, vector = normal(5, size, seed=0), normal(5, size, seed=1)
    found = hessian_product(packed(loss))(theta, vector)
    expected = (dense(loss, theta) @ vector[:, :, None])[:, :, 0]
    torch.testing.assert_close(found, expected, **CLOSE)


def test_least_squares_in_closed_form() -> None:
    vector = normal(3, 12, seed=1)
    found = hessian_product(packed(least_squares))(normal(3, 12, seed=0), vector)
    torch.testing.assert_close(found, vector @ (2 * DESIGN.T @ DESIGN), **CLOSE)


def test_every_row_has_its_own_batch() -> None:
    matrices = torch.stack([symmetric(1, 2, 3, seed=0), symmetric(-4, 5, 6, seed=1)])
    vector = normal(2, 3, seed=2)
    found = hessian_product(packed(quadratic))(normal(2, 3, seed=3), vector, matrices)
    torch.testing.assert_close(found, (matrices @ vector[:, :, None])[:, :, 0], **CLOSE)


@pytest.mark.parametrize("bad", [torch.nan, torch.inf])
def test_a_bad_row_stays_alone(bad: float) -> None:
    product = hessian_product(packed(network))
    theta, vector = normal(4, NETWORK_SIZE, seed=0), normal(4, NETWORK_SIZE, seed=1)
    expected = product(theta, vector)
    theta[2, 7] = bad
    found = product(theta, vector)
    assert torch.equal(found[[0, 1, 3]], expected[[0, 1, 3]])


def test_it_compiles_whole() -> None:
    product = hessian_product(packed(network))
    theta, vector = normal(4, NETWORK_SIZE, seed=0), normal(4, NETWORK_SIZE, seed=1)
    compiled = torch.compile(product, fullgraph=True, dynamic=False)
    # The compiler orders sums and rounds tanh its own way.
    torch.testing.assert_close(compiled(theta, vector), product(theta, vector), **CLOSE)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("name", ["perceptron", "digits"])
def test_products_of_bundled_tasks_do_not_depend_on_the_slot(
    name: str, dtype: torch.dtype
) -> None:
    task = TaskName(name, {}).build()
    layout = Layout.of(task.initial(0))
    row = layout.flatten(task.initial(0)).to(dtype)
    theta, vector = row.expand(7, -1).contiguous(), normal(row.numel(), seed=0).to(dtype)
    data = task.data[0].to(dtype), task.data[1].to(dtype if name == "perceptron" else None)
    batch = (torch.from_numpy(task.indices(0, 0, 1)).expand(7, -1),) if name == "digits" else ()
    product = hessian_product(packed_gradient(task, Form(layout), theta, data))
    found = product(theta, vector.expand(7, -1).contiguous(), *batch)
    assert (found == found[:1]).all()
    assert found.any()
