"""What stands in the place of functions of torch, against torch's own."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.func import vmap
from torch.nn import functional as F

from sweeper.tasks.functions import Functions

KEY = torch.tensor(1234567)


def normal(*size: int, seed: int = 0) -> Tensor:
    return torch.randn(*size, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


CAUSAL = torch.ones(5, 7, dtype=torch.bool).tril()


@pytest.mark.parametrize(
    "arguments",
    [
        {},
        {"is_causal": True},
        {"attn_mask": CAUSAL},
        {"attn_mask": normal(5, 7, seed=9)},
        {"attn_mask": normal(2, 4, 5, 7, seed=9), "scale": 0.3},
    ],
)
def test_attention_is_that_of_torch(arguments: dict[str, Any]) -> None:
    query, key, value = normal(2, 4, 5, 8), normal(2, 4, 7, 8, seed=1), normal(2, 4, 7, 6, seed=2)
    expected = F.scaled_dot_product_attention(query, key, value, **arguments)
    with Functions(KEY):
        found = F.scaled_dot_product_attention(query, key, value, **arguments)
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-14)


def test_grouped_queries() -> None:
    query, key, value = normal(2, 8, 5, 4), normal(2, 2, 5, 4, seed=1), normal(2, 2, 5, 4, seed=2)
    expected = F.scaled_dot_product_attention(query, key, value, enable_gqa=True)
    with Functions(KEY):
        found = F.scaled_dot_product_attention(query, key, value, enable_gqa=True)
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-14)


def test_attention_has_second_derivatives_and_drops_weights() -> None:
    query = normal(1, 1, 4, 4).requires_grad_()
    with Functions(KEY):
        plain = F.scaled_dot_product_attention(query, query, query)
        dropped = F.scaled_dot_product_attention(query, query, query, dropout_p=0.5)
    assert not torch.allclose(plain, dropped)

    def attend(query: Tensor) -> Tensor:
        with Functions(KEY):
            return F.scaled_dot_product_attention(query, query, query, dropout_p=0.3)

    assert torch.autograd.gradcheck(attend, query)
    assert torch.autograd.gradgradcheck(attend, query)


@pytest.mark.parametrize(
    "build",
    [
        lambda: nn.TransformerEncoderLayer(8, 2, 16, dropout=0.0, batch_first=True),
        lambda: nn.TransformerDecoderLayer(8, 2, 16, dropout=0.0, batch_first=True),
    ],
)
def test_layers_with_attention_are_those_of_torch(build: Callable[[], nn.Module]) -> None:
    torch.manual_seed(0)
    layer = build().double()
    inputs = (normal(3, 5, 8),)
    if isinstance(layer, nn.TransformerDecoderLayer):
        inputs = (*inputs, normal(3, 6, 8, seed=1))
    expected = layer(*inputs)
    with Functions(KEY):
        found = layer(*inputs)
    torch.testing.assert_close(found, expected, rtol=1e-10, atol=1e-12)


def test_weights_of_multi_head_attention() -> None:
    torch.manual_seed(0)
    layer = nn.MultiheadAttention(8, 2, dropout=0.5).double()
    inputs = normal(5, 3, 8)
    with Functions(KEY) as functions:
        _, weights = layer(inputs, inputs, inputs)
        assert functions.calls == 1
    assert (weights == 0).any() and (weights >= 0).all()
    layer.eval()
    expected = layer(inputs, inputs, inputs)[1]
    with Functions(KEY):
        torch.testing.assert_close(layer(inputs, inputs, inputs)[1], expected)


@pytest.mark.parametrize(
    ("layer", "size", "dims"),
    [
        (nn.Dropout(0.3), (200, 500), ()),
        (nn.Dropout1d(0.3), (300, 400, 3), (2,)),
        (nn.Dropout2d(0.3), (300, 400, 2, 2), (2, 3)),
        (nn.Dropout3d(0.3), (300, 400, 2, 2, 1), (2, 3, 4)),
    ],
)
def test_dropout_keeps_its_share_and_the_mean(
    layer: nn.Module, size: tuple[int, ...], dims: tuple[int, ...]
) -> None:
    ones = torch.ones(size)
    with Functions(KEY):
        found = layer(ones)
        again = layer(ones)
    assert set(found.unique().tolist()) == {0.0, torch.tensor(1 / 0.7).item()}
    channels = found.amax(dims) if dims else found
    assert torch.equal(channels, found.amin(dims) if dims else found)
    # Five standard errors of a share of 0.3.
    share = (channels == 0).double().mean()
    assert abs(share - 0.3) < 5 * (0.21 / channels.numel()) ** 0.5
    assert not torch.equal(found, again)
    layer.eval()
    with Functions(KEY):
        assert torch.equal(layer(ones), ones)


def test_dropout_in_place_and_at_its_ends() -> None:
    x = torch.ones(100)
    with Functions(KEY):
        found = F.dropout(x, 0.5, inplace=True)
        assert found is x and (x == 0).any()
        assert torch.equal(F.dropout(torch.ones(9), 0.0), torch.ones(9))
        assert torch.equal(F.dropout(torch.ones(9), 1.0), torch.zeros(9))
        assert torch.equal(torch.dropout(torch.ones(9), 0.5, False), torch.ones(9))


def test_alpha_dropout_keeps_mean_and_variance() -> None:
    x = normal(1000, 1000)
    with Functions(KEY):
        found = nn.AlphaDropout(0.2)(x)
    assert abs(found.mean()) < 0.01 and abs(found.var() - 1) < 0.01
    # What torch puts in the place of what is dropped, by its own source: a alpha' + b.
    torch.manual_seed(0)
    expected = F.alpha_dropout(torch.zeros(1000, dtype=torch.float64), 0.2, training=True)
    with Functions(KEY):
        zeros = F.alpha_dropout(torch.zeros(1000, dtype=torch.float64), 0.2, training=True)
    torch.testing.assert_close(zeros.unique(), expected.unique(), rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize(
    "draw",
    [
        lambda x: torch.rand(3, 4) + 0 * x.sum(),
        lambda x: torch.rand(size=(3, 4)) + 0 * x.sum(),
        lambda x: torch.randn((3, 4)) + 0 * x.sum(),
        lambda x: torch.rand_like(x),
        lambda x: torch.randn_like(x),
        lambda x: torch.bernoulli(torch.full_like(x, 0.4)),
        lambda x: x.bernoulli(0.4),
        lambda x: x.new_empty(3, 4).bernoulli_(0.4),
        lambda x: x.new_empty(3, 4).uniform_(2, 3),
        lambda x: x.new_empty(3, 4).normal_(1, 2),
        lambda x: F.dropout(x, 0.5),
    ],
)
def test_random_tensors_are_the_rows_own(draw: Callable[[Tensor], Tensor]) -> None:
    def one(key: Tensor, x: Tensor) -> Tensor:
        with Functions(key):
            return draw(x)

    keys, x = torch.tensor([5, 6, 7]), torch.ones(3, 3, 4)
    packed = vmap(one)(keys, x)
    assert packed.shape == (3, 3, 4)
    assert torch.equal(packed, torch.stack([one(key, row) for key, row in zip(keys, x)]))
    assert not torch.equal(packed[0], packed[1])


def test_a_generator_of_ones_own_stays() -> None:
    with Functions(KEY):
        found = torch.rand(3, generator=torch.Generator().manual_seed(4))
    assert torch.equal(found, torch.rand(3, generator=torch.Generator().manual_seed(4)))
