"""The counter-based generator, against SplitMix64 in Python's integers."""

from __future__ import annotations

import math

import numpy as np
import torch
from torch.func import vmap

from sweeper.tasks import randomness

BITS = (1 << 64) - 1
GAMMA = 0x9E3779B97F4A7C15


def mix(word: int) -> int:
    """The finaliser of SplitMix64 (Steele, Lea, Flood 2014; Stafford's variant 13)."""
    word = ((word ^ (word >> 30)) * 0xBF58476D1CE4E5B9) & BITS
    word = ((word ^ (word >> 27)) * 0x94D049BB133111EB) & BITS
    return word ^ (word >> 31)


def element(key: int, number: int) -> int:
    return mix(((key + number) * GAMMA) & BITS)


def key_of(seed: int, step: int) -> torch.Tensor:
    return torch.tensor(int(randomness.keys(seed, step, 1)[0]))


def test_the_finaliser_is_that_of_splitmix64() -> None:
    # The first values of the published generator from the state 0: mix(i * gamma).
    assert [element(0, i) for i in (1, 2, 3)] == [
        0xE220A8397B1DCDAF,
        0x6E789E6AA1B965F4,
        0x06C45D188009454F,
    ]


def test_keys_are_elements_of_the_stream_of_the_seed() -> None:
    for seed in (0, 3, 2**31 - 1):
        start = element(0, seed + 1)
        found = [int(key) & BITS for key in randomness.keys(seed, 17, 40)]
        assert found == [element(start, step + 1) for step in range(17, 57)]


def test_uniform_values_are_the_high_bits_of_the_stream_of_the_call() -> None:
    key = key_of(5, 9)
    for call in (1, 2, 77):
        stream = element(int(key) & BITS, call)
        expected = [(element(stream, i) >> 40) / 2**24 for i in range(1, 13)]
        found = randomness.uniform(key, call, (3, 4), torch.float64)
        assert found.flatten().tolist() == expected
        assert randomness.uniform(key, call, (12,), torch.float32).double().tolist() == expected


def test_rows_under_vmap_have_the_numbers_that_they_have_alone() -> None:
    keys = torch.stack([key_of(seed, 4) for seed in range(5)])
    packed = vmap(lambda key: randomness.normal(key, 3, (6,), torch.float32))(keys)
    alone = [randomness.normal(key, 3, (6,), torch.float32) for key in keys]
    assert torch.equal(packed, torch.stack(alone))


def test_seeds_steps_and_calls_differ() -> None:
    drawn = {
        tuple(randomness.uniform(key_of(seed, step), call, (2,), torch.float32).tolist())
        for seed in range(10)
        for step in range(10)
        for call in range(1, 11)
    }
    assert len(drawn) == 1000


def test_moments() -> None:
    count = 1_000_000
    uniform = randomness.uniform(key_of(0, 0), 1, (count,), torch.float64)
    # Five standard errors of the mean; the largest gap of the distribution function (Kolmogorov)
    # is below 1.95 / sqrt(n) with a chance of 99.9 %.
    assert abs(uniform.mean() - 0.5) < 5 / math.sqrt(12 * count)
    sorted_values = np.sort(uniform.numpy())
    assert np.abs(sorted_values - np.arange(count) / count).max() < 1.95 / math.sqrt(count)
    normal = randomness.normal(key_of(0, 1), 1, (count,), torch.float64)
    assert abs(normal.mean()) < 5 / math.sqrt(count)
    assert abs(normal.var() - 1) < 5 * math.sqrt(2 / count)
    assert abs((normal**4).mean() - 3) < 5 * math.sqrt(96 / count)
    neighbours = torch.corrcoef(torch.stack([uniform[:-1], uniform[1:]]))[0, 1]
    assert abs(neighbours) < 5 / math.sqrt(count)


def test_the_global_generator_is_as_it_was() -> None:
    torch.manual_seed(1)
    expected = torch.rand(3)
    torch.manual_seed(1)
    with randomness.seeded(12345, torch.device("cpu")):
        first = torch.rand(3)
    with randomness.seeded(12345, torch.device("cpu")):
        assert torch.equal(first, torch.rand(3))
    assert torch.equal(torch.rand(3), expected)
