"""The counter-based random numbers: SplitMix64, and what they look like."""

from __future__ import annotations

import math
from itertools import product

import numpy as np
import pytest
import torch
from torch.func import vmap

from sweeper.tasks.randomness import keys, normal, seeded, uniform

WORD = 2**64
COUNT = 200_000


class SplitMix64:
    """Vigna's C code (prng.di.unimi.it/splitmix64.c), in Python's integers."""

    def __init__(self, state: int) -> None:
        self.state = state % WORD

    def next(self) -> int:
        self.state = (self.state + 0x9E3779B97F4A7C15) % WORD
        z = self.state
        z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9 % WORD
        z = (z ^ (z >> 27)) * 0x94D049BB133111EB % WORD
        return z ^ (z >> 31)


def numbers(state: int, count: int) -> list[int]:
    generator = SplitMix64(state)
    return [generator.next() for _ in range(count)]


def mixed(word: int) -> int:
    """What the generator gives for a state that its step leads to `word` times the constant."""
    return SplitMix64((word - 1) * 0x9E3779B97F4A7C15).next()


def step_key(seed: int, step: int) -> int:
    return mixed(mixed(seed + 1) + step + 1)


def key_of(seed: int, step: int) -> torch.Tensor:
    return torch.tensor(int(keys(seed, step, 1)[0]))


def test_the_reference_is_the_published_one() -> None:
    # Of the C code for the state 1234567, as Rosetta Code and others print them.
    assert numbers(1234567, 5) == [
        6457827717110365317,
        3203168211198807973,
        9817491932198370423,
        4593380528125082431,
        16408922859458223821,
    ]


@pytest.mark.parametrize("seed", [0, 1, 12345, 2**31, 2**62])
@pytest.mark.parametrize("step", [0, 1, 999, 10**9])
def test_keys_are_elements_of_the_seeds_stream(seed: int, step: int) -> None:
    found = keys(seed, step, 3).view(np.uint64).tolist()
    assert found == [step_key(seed, step + i) for i in range(3)]


@pytest.mark.parametrize(("seed", "step", "call"), [(0, 0, 1), (3, 17, 2), (2**40, 10**6, 9)])
def test_uniform_numbers_are_the_high_bits_of_the_calls_stream(
    seed: int, step: int, call: int
) -> None:
    stream = mixed(step_key(seed, step) + call)
    expected = [(mixed(stream + i) >> 40) * 2.0**-24 for i in range(1, 9)]
    found = uniform(key_of(seed, step), call, (2, 4), torch.float64)
    assert found.reshape(-1).tolist() == expected


def test_keys_of_other_seeds_steps_and_calls_differ() -> None:
    table = np.stack([keys(seed, 0, 1000) for seed in range(100)])
    assert len(np.unique(table)) == table.size
    assert np.array_equal(keys(5, 300, 200), table[5, 300:500])
    drawn = {
        tuple(uniform(key_of(seed, step), call, (4,), torch.float32).tolist())
        for seed, step, call in product(range(6), range(6), range(1, 7))
    }
    assert len(drawn) == 6**3


def test_streams_of_neighbours_are_uncorrelated() -> None:
    drawn = [
        uniform(key_of(seed, step), call, (COUNT,), torch.float64).numpy()
        for seed, step, call in ((0, 0, 1), (0, 0, 2), (0, 1, 1), (1, 0, 1), (1, 1, 1))
    ]
    apart = np.corrcoef(drawn) - np.eye(len(drawn))
    assert np.abs(apart).max() < 5 / math.sqrt(COUNT)
    shifted = np.corrcoef(drawn[0][1:], drawn[0][:-1])[0, 1]
    assert abs(shifted) < 5 / math.sqrt(COUNT)


def test_uniform_numbers_are_uniform() -> None:
    found = uniform(key_of(0, 0), 1, (COUNT,), torch.float64).numpy()
    assert 0 <= found.min() and found.max() < 1
    assert abs(found.mean() - 0.5) < 5 * math.sqrt(1 / 12 / COUNT)
    assert found.var() == pytest.approx(1 / 12, rel=0.01)
    shares = np.histogram(found, 64, (0, 1))[0] / COUNT
    assert np.abs(shares - 1 / 64).max() < 5 * math.sqrt(1 / 64 / COUNT)


def test_normal_numbers_are_normal() -> None:
    found = normal(key_of(0, 0), 1, (COUNT,), torch.float64).numpy()
    assert np.isfinite(found).all()
    # Moments 1 to 4, and five of their standard errors: 1, 2, 15, 96 over the count.
    for power, value, variance in ((1, 0, 1), (2, 1, 2), (3, 0, 15), (4, 3, 96)):
        assert abs((found**power).mean() - value) < 5 * math.sqrt(variance / COUNT)


def test_every_dtype_has_the_same_numbers() -> None:
    one, other = (uniform(key_of(4, 2), 3, (50, 50), d) for d in (torch.float32, torch.float64))
    assert torch.equal(one.double(), other)
    one, other = (normal(key_of(4, 2), 3, (50, 50), d) for d in (torch.float32, torch.float64))
    torch.testing.assert_close(one.double(), other, rtol=1e-4, atol=1e-5)


def test_a_batch_of_keys_has_the_numbers_of_each() -> None:
    several = torch.from_numpy(keys(8, 0, 5))
    packed = vmap(lambda key: uniform(key, 2, (3, 7), torch.float32))(several)
    alone = torch.stack([uniform(key, 2, (3, 7), torch.float32) for key in several])
    assert torch.equal(packed, alone)


def test_a_prefix_does_not_depend_on_the_size() -> None:
    key = key_of(1, 1)
    assert torch.equal(uniform(key, 1, (100,), torch.float32)[:7], uniform(key, 1, (7,), torch.float32))
    assert uniform(key, 1, (), torch.float32).shape == ()
    assert uniform(key, 1, (0, 3), torch.float32).shape == (0, 3)


def test_seeded_leaves_the_global_generator_as_it_was() -> None:
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    with seeded(-7, torch.device("cpu")):
        first = torch.rand(2)
    with seeded(-7, torch.device("cpu")):
        assert torch.equal(first, torch.rand(2))
    assert torch.equal(torch.rand(3), expected)
