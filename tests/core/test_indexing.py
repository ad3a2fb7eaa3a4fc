"""Numbers of pairs and of joint pairs: compact, exact where they fit, fingerprints with a stated bound where not."""

import itertools
import math

import pytest
import torch
from torch import Tensor

from marl.core.indexing import NeighborhoodKeys
from marl.core.network import Network
from marl.envs import WirelessAccess
from tests.conftest import written_out
from tests.oracles import legal

WORD = 2**63

ENVS = {
    "mixed": WirelessAccess(incidence=[[0], [0, 1], [1]], deadline=[2, 1, 3]),
    "any_slot": WirelessAccess(incidence=[[0], [0, 1, 2], [1], [1]], deadline=[1, 2, 3, 1], action_set="any_slot"),
    "grid": WirelessAccess(rows=2, cols=3),
}


@pytest.fixture(scope="module")
def large() -> tuple[WirelessAccess, NeighborhoodKeys]:
    """49 agents with 36 pairs each: the middle one, which sees all, has 36^49 joint pairs."""
    env = WirelessAccess(rows=7, cols=7, access_points="corners", action_set="any_slot")
    return env, NeighborhoodKeys(env.network.neighborhood(3), env.index.num_pairs)


def random_pairs(num_pairs: Tensor, count: int, seed: int) -> Tensor:
    u = torch.rand(count, len(num_pairs), generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return (u * num_pairs).long()


def elsewhere(z: Tensor, inside: list[int], num_pairs: Tensor, seed: int) -> Tensor:
    """Random pairs, those of `inside` kept from z."""
    other = random_pairs(num_pairs, len(z), seed)
    other[:, inside] = z[:, inside]
    return other


@pytest.mark.parametrize("name", ENVS)
def test_pair_index_counts_the_legal_pairs_of_each_agent(name: str) -> None:
    env = ENVS[name]
    model = written_out(env)
    expected = torch.full(env.action_mask.shape, -1)
    for i in range(env.n):
        number = 0
        for s in range(2 ** model.deadline[i]):
            for a in legal(model, i, s):
                expected[i, s, a] = number
                number += 1
        assert int(env.index.num_pairs[i]) == number
    assert torch.equal(env.pair_index, expected)


def test_pairs_looks_every_pair_up() -> None:
    for env in ENVS.values():
        _, states, actions = env.pair_index.shape
        for s, a in itertools.product(range(states), range(actions)):
            found = env.index.pairs(torch.full((2, env.n), s), torch.full((2, env.n), a))
            assert torch.equal(found, env.pair_index[:, s, a].expand(2, -1))


@pytest.mark.parametrize("kappa", [0, 1, 2])
@pytest.mark.parametrize("name", ["mixed", "any_slot"])
def test_exact_keys_fill_0_to_total_without_gaps(name: str, kappa: int) -> None:
    env = ENVS[name]
    index, mask, _ = env.network.neighborhood(kappa)
    keys = NeighborhoodKeys(env.network.neighborhood(kappa), env.index.num_pairs)
    seen, expected_total = [], 0
    for i in range(env.n):
        members = index[i, mask[i]].tolist()
        radices = [int(env.index.num_pairs[j]) for j in members]
        expected_total += math.prod(radices)
        z = torch.zeros(math.prod(radices), env.n, dtype=torch.int64)
        z[:, members] = torch.tensor(list(itertools.product(*map(range, radices))))
        seen.append(keys.keys(elsewhere(z, members, env.index.num_pairs, i))[:, i])
    assert keys.exact
    assert keys.pair_collision_bound == 0.0
    assert keys.total == expected_total
    assert torch.equal(torch.cat(seen).sort().values, torch.arange(expected_total))


def test_padding_and_outsiders_do_not_enter_a_key(large: tuple[WirelessAccess, NeighborhoodKeys]) -> None:
    env, keys = large
    index, mask, _ = env.network.neighborhood(3)
    z = random_pairs(env.index.num_pairs, 20, 1)
    for i in range(env.n):
        members = index[i, mask[i]].tolist()
        other = elsewhere(z, members, env.index.num_pairs, 2 + i)
        assert torch.equal(keys.keys(z)[:, i], keys.keys(other)[:, i])
        nudged = z.clone()
        nudged[:, members[-1]] = (z[:, members[-1]] + 1) % env.index.num_pairs[members[-1]]
        assert (keys.keys(nudged)[:, i] != keys.keys(z)[:, i]).all()
    written = torch.where(mask, z[:, index], 0)  # joint pairs written out, padding 0
    assert torch.equal(keys.of(written), keys.keys(z))
    assert torch.equal(keys.of(written.unsqueeze(1)).squeeze(1), keys.keys(z))


@pytest.mark.parametrize(("first", "second", "exact"), [(2**30, 2**30, True), (2**31, 2**30, False), (2**40, 2**40, False)])
def test_exact_up_to_the_last_key_that_fits(first: int, second: int, exact: bool) -> None:
    keys = NeighborhoodKeys(Network.line(2).neighborhood(1), torch.tensor([first, second]))
    assert keys.total == 2.0 * first * second
    assert keys.exact == exact
    ends = keys.keys(torch.tensor([[0, 0], [first - 1, second - 1]]))
    assert (ends >= 0).all()
    if exact:
        assert ends.tolist() == [[0, first * second], [first * second - 1, 2 * first * second - 1]]


def test_fingerprints_of_random_joint_pairs_do_not_collide(large: tuple[WirelessAccess, NeighborhoodKeys]) -> None:
    """107,800 random joint pairs of 49 agents; by the stated bound two collide with probability below 3e-8."""
    env, keys = large
    assert not keys.exact
    z = random_pairs(env.index.num_pairs, 2200, 0).unique(dim=0)
    assert len(z) == 2200
    found = keys.keys(z)
    assert found.min() >= 0
    assert found.unique().numel() == found.numel() >= 10**5
    assert 0.5 * found.numel() ** 2 * keys.pair_collision_bound < 3e-8
    assert torch.equal(keys.keys(z.clone()), found)
    again = NeighborhoodKeys(env.network.neighborhood(3), env.index.num_pairs)
    assert torch.equal(again.keys(z), found), "a resumed run must find its entries"


def test_fingerprints_of_near_joint_pairs_do_not_collide(large: tuple[WirelessAccess, NeighborhoodKeys]) -> None:
    """8,000 joint pairs of the middle agent that differ in three agents: two collide with probability below 2e-10."""
    env, keys = large
    z = random_pairs(env.index.num_pairs, 1, 3).repeat(20**3, 1)
    z[:, [0, 24, 25]] = torch.tensor(list(itertools.product(range(20), repeat=3)))
    found = keys.keys(z)[:, 24]
    assert found.min() >= 0
    assert found.unique().numel() == 20**3


@pytest.mark.parametrize("most", [2, 3, 5, 8, 9, 17, 33, 34])
def test_collision_bound_is_the_worst_difference(most: int) -> None:
    """x d = 0 modulo 2^63 has gcd(d, 2^63) solutions x, so a uniform stride x hides d with gcd(d, 2^63) / 2^63."""
    keys = NeighborhoodKeys(Network.king(9, 9).neighborhood(8), torch.full((81,), most))
    assert not keys.exact
    assert keys.pair_collision_bound == max(math.gcd(d, WORD) for d in range(1, most)) / WORD
    for d in range(1, most):  # the count of solutions, by enumeration in a small word
        assert sum(x * d % 2**7 == 0 for x in range(2**7)) == math.gcd(d, 2**7)


def test_strides_are_uniform_in_every_bit(large: tuple[WirelessAccess, NeighborhoodKeys]) -> None:
    """The bound needs it. 1,369 strides: a share of ones off by 0.1 in any of 63 bits has probability below 2e-10."""
    env, keys = large
    index, mask, _ = env.network.neighborhood(3)
    start = torch.zeros(1, env.n, dtype=torch.int64)
    steps = keys.keys(torch.eye(env.n, dtype=torch.int64)) - keys.keys(start)  # [j, i]: stride of j in the key of i
    strides = [int(steps[j, i]) % WORD for i in range(env.n) for j in index[i, mask[i]].tolist()]
    assert len(set(strides)) == len(strides) == int(mask.sum())
    for bit in range(63):
        assert abs(sum(stride >> bit & 1 for stride in strides) / len(strides) - 0.5) < 0.1
