"""What stands in place of torch's functions: against torch's own, and by its moments."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.func import functional_call, vmap
from torch.nn.utils import parametrizations

from sweeper.tasks.functions import Functions
from sweeper.tasks.randomness import keys

BIG = (40, 50, 20, 5)  # 200,000 elements, 2,000 channels


def mode(step: int = 0) -> Functions:
    return Functions(torch.tensor(int(keys(0, step, 1)[0])))


def drawn(function: Callable[[], Any], step: int = 0) -> Any:
    with mode(step):
        return function()


def heads(*, kv: int = 4, length: int = 6) -> list[Tensor]:
    generator = torch.Generator().manual_seed(0)
    shapes = ((2, 4, 6, 8), (2, kv, length, 8), (2, kv, length, 8))
    return [torch.randn(s, generator=generator, dtype=torch.float64) for s in shapes]


MASK = torch.tensor([[i >= j or (i + j) % 3 == 0 for j in range(6)] for i in range(6)])


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"is_causal": True},
        {"attn_mask": MASK},
        {"attn_mask": MASK.double() * 0.7 - 0.2},
        {"attn_mask": MASK.expand(2, 1, 6, 6)},
        {"scale": 0.3},
    ],
)
def test_attention_is_torchs(options: dict[str, Any]) -> None:
    given = heads()
    expected = F.scaled_dot_product_attention(*given, **options)
    found = drawn(lambda: F.scaled_dot_product_attention(*given, **options))
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-13)


@pytest.mark.parametrize("is_causal", [False, True])
def test_attention_with_fewer_keys_is_torchs(is_causal: bool) -> None:
    given = heads(kv=2, length=9)
    options: dict[str, Any] = {"enable_gqa": True, "is_causal": is_causal}
    expected = F.scaled_dot_product_attention(*given, **options)
    found = drawn(lambda: F.scaled_dot_product_attention(*given, **options))
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-13)


def test_attention_drops_shares_of_its_weights() -> None:
    query, key = torch.zeros(1, 200, 4), torch.zeros(1, 500, 4)
    # Equal weights of 1/500 on the unit vectors: the output shows every weight.
    found = drawn(lambda: F.scaled_dot_product_attention(query, key, torch.eye(500)[None], None, 0.3))
    kept = found != 0
    assert kept.float().mean().item() == pytest.approx(0.7, abs=5 * math.sqrt(0.21 / 100_000))
    torch.testing.assert_close(found[kept], torch.full_like(found[kept], 1 / 500 / 0.7))


def test_attention_has_second_derivatives() -> None:
    given = [one[:, :1, :3, :2].clone().requires_grad_() for one in heads()]
    with mode():
        assert torch.autograd.gradgradcheck(
            lambda *a: F.scaled_dot_product_attention(*a, is_causal=True), given
        )


@pytest.mark.parametrize("need_weights", [False, True])
@pytest.mark.parametrize("masked", [False, True])
def test_multi_head_attention_is_torchs(need_weights: bool, masked: bool) -> None:
    torch.manual_seed(0)
    layer = nn.MultiheadAttention(8, 2, dropout=0.0, batch_first=True).double().train()
    x = torch.randn(3, 6, 8, dtype=torch.float64)
    options: dict[str, Any] = {"need_weights": need_weights}
    if masked:
        options |= {"attn_mask": ~MASK, "key_padding_mask": torch.eye(3, 6).bool()}
    expected = layer(x, x, x, **options)
    found = drawn(lambda: layer(x, x, x, **options))
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-13)


@pytest.mark.parametrize("norm_first", [False, True])
def test_a_transformer_layer_is_torchs(norm_first: bool) -> None:
    torch.manual_seed(0)
    layer = nn.TransformerEncoderLayer(8, 2, 16, 0.0, batch_first=True, norm_first=norm_first)
    layer, x = layer.double().train(), torch.randn(3, 6, 8, dtype=torch.float64)
    mask = nn.Transformer.generate_square_subsequent_mask(6, dtype=torch.float64)
    expected = layer(x, src_mask=mask, is_causal=True)
    found = drawn(lambda: layer(x, src_mask=mask, is_causal=True))
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12)


def test_dropout_within_multi_head_attention_is_ours() -> None:
    layer = nn.MultiheadAttention(8, 2, dropout=0.5, batch_first=True).train()
    x = torch.randn(3, 6, 8)
    first, again, next_step = (drawn(lambda: layer(x, x, x)[0], step) for step in (0, 0, 1))
    assert torch.equal(first, again)
    assert not torch.equal(first, next_step)


@pytest.mark.parametrize("function", [F.dropout, torch.dropout])
def test_dropout_keeps_the_mean_and_the_share(function: Callable[..., Tensor]) -> None:
    found = drawn(lambda: function(torch.ones(BIG), 0.3, True))
    assert sorted(set(found.reshape(-1).tolist())) == [0, pytest.approx(1 / 0.7)]
    assert (found == 0).float().mean().item() == pytest.approx(0.3, abs=5 * math.sqrt(0.21 / 2e5))
    assert found.mean().item() == pytest.approx(1, abs=0.02)


@pytest.mark.parametrize(
    ("function", "shape"),
    [(F.dropout1d, (40, 50, 20)), (F.dropout1d, (2000, 20)), (F.dropout2d, BIG),
     (F.dropout3d, (40, 50, 2, 5, 2)), (F.feature_alpha_dropout, BIG)],
)  # fmt: skip
def test_channels_are_dropped_as_a_whole(
    function: Callable[..., Tensor], shape: tuple[int, ...]
) -> None:
    # A tensor without batch counts its first dimension as channels.
    channels = 1 if len(shape) == 2 else 2
    found = drawn(lambda: function(torch.ones(shape), 0.3, True)).flatten(channels)
    assert (found == found[..., :1]).all()
    low = found.min()
    assert (found == low).float().mean().item() == pytest.approx(0.3, abs=5 * math.sqrt(0.21 / 2e3))


@pytest.mark.parametrize("p", [0.1, 0.4])
def test_alpha_dropout_keeps_mean_and_variance(p: float) -> None:
    x = torch.randn(BIG, generator=torch.Generator().manual_seed(0))
    found = drawn(lambda: F.alpha_dropout(x, p, True))
    assert found.mean().item() == pytest.approx(0, abs=0.02)
    assert found.var().item() == pytest.approx(1, abs=0.03)


def test_what_drops_nothing_returns_its_input() -> None:
    x = torch.randn(5, 5)
    for function in (F.dropout, F.alpha_dropout, F.dropout1d, F.feature_alpha_dropout):
        assert torch.equal(drawn(lambda: function(x, 0.5, False)), x)  # noqa: B023
        assert torch.equal(drawn(lambda: function(x, 0.0, True)), x)  # noqa: B023
    assert torch.equal(drawn(lambda: F.dropout(x, 1.0, True)), torch.zeros(5, 5))
    inside = x.clone()
    assert drawn(lambda: F.dropout(inside, 0.5, True, inplace=True)) is inside
    assert (inside == 0).any()


RANDOM: dict[str, Callable[[Tensor], Tensor]] = {
    "rand": lambda x: torch.rand(3, 4) + 0 * x,
    "rand of a tuple": lambda x: torch.rand((3, 4)) + 0 * x,
    "rand of a size": lambda x: torch.rand(size=(3, 4)) + 0 * x,
    "randn": lambda x: torch.randn(3, 4) + 0 * x,
    "rand_like": lambda x: torch.rand_like(x),
    "randn_like": lambda x: torch.randn_like(x),
    "bernoulli": lambda x: torch.bernoulli(torch.full_like(x, 0.5)),
    "method bernoulli": lambda x: x.bernoulli(0.5),
    "bernoulli_": lambda x: torch.zeros_like(x).bernoulli_(0.5),
    "uniform_": lambda x: torch.zeros_like(x).uniform_(-1, 1),
    "normal_": lambda x: torch.zeros_like(x).normal_(2, 3),
    "new": lambda x: x.new_empty(3, 4).normal_() + 0 * x,
    "two calls": lambda x: torch.rand_like(x) - torch.rand_like(x),
}  # fmt: skip


@pytest.mark.parametrize("name", list(RANDOM))
def test_random_tensors_are_the_same_for_a_batch_of_runs(name: str) -> None:
    given, several = torch.ones(4, 3, 4), torch.from_numpy(keys(3, 0, 4))

    def one(key: Tensor, x: Tensor) -> Tensor:
        with Functions(key):
            return RANDOM[name](x)

    alone = torch.stack([one(key, x) for key, x in zip(several, given, strict=True)])
    assert alone.unique().numel() > 1
    assert not torch.equal(alone[0], alone[1])
    if name == "new":  # filled in place: refused in packs, see test_examine
        return
    assert torch.equal(vmap(one)(several, given), alone)


@pytest.mark.parametrize(
    ("fill", "mean", "variance"),
    [
        (lambda: torch.rand(200_000), 0.5, 1 / 12),
        (lambda: torch.randn(200_000), 0, 1),
        (lambda: torch.empty(200_000).uniform_(-1, 3), 1, 16 / 12),
        (lambda: torch.empty(200_000).normal_(2, 3), 2, 9),
        (lambda: torch.bernoulli(torch.full((200_000,), 0.2)), 0.2, 0.16),
        (lambda: torch.empty(200_000).bernoulli_(0.2), 0.2, 0.16),
    ],
)
def test_random_tensors_have_their_moments(
    fill: Callable[[], Tensor], mean: float, variance: float
) -> None:
    found = drawn(fill)
    assert found.dtype == torch.float32
    assert found.mean().item() == pytest.approx(mean, abs=5 * math.sqrt(variance / 2e5))
    assert found.var().item() == pytest.approx(variance, rel=0.02)


def test_dtypes_are_those_that_were_asked_for() -> None:
    assert drawn(lambda: torch.rand(3, dtype=torch.float64)).dtype == torch.float64
    assert drawn(lambda: torch.randn_like(torch.ones(3), dtype=torch.float64)).dtype == torch.float64
    assert drawn(lambda: torch.bernoulli(torch.ones(3).double())).dtype == torch.float64


def test_a_generator_of_the_users_own_is_left_alone() -> None:
    expected = torch.rand(3, generator=torch.Generator().manual_seed(1))
    found = drawn(lambda: torch.rand(3, generator=torch.Generator().manual_seed(1)))
    assert torch.equal(found, expected)


LAYERS: dict[str, Callable[[], nn.Module]] = {
    "weight norm": lambda: parametrizations.weight_norm(nn.Linear(8, 5)),
    "weight norm of columns": lambda: parametrizations.weight_norm(nn.Linear(8, 5), dim=1),
    "spectral norm": lambda: parametrizations.spectral_norm(nn.Linear(8, 5)),
    "lstm": lambda: nn.LSTM(8, 5, 2, batch_first=True, bidirectional=True),
}


@pytest.mark.parametrize("name", list(LAYERS))
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_layers_without_a_batching_rule_are_torchs(name: str, dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    layer, x = LAYERS[name]().to(dtype).train(), torch.randn(3, 6, 8).to(dtype)
    state = {k: v.detach().clone() for k, v in layer.state_dict().items()}
    expected = functional_call(layer, {k: v.clone() for k, v in state.items()}, (x,))
    found = drawn(lambda: functional_call(layer, {k: v.clone() for k, v in state.items()}, (x,)))
    torch.testing.assert_close(found, expected)


def test_the_library_of_the_cpu_is_on_again_after_an_lstm() -> None:
    before = torch._C._get_mkldnn_enabled()
    drawn(lambda: nn.LSTM(8, 5)(torch.randn(3, 6, 8)))
    assert torch._C._get_mkldnn_enabled() == before
