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
    """49 agents, 20 joint pairs each at most: neighborhoods of up to 49 agents have 20^49."""
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
        assert keys.count[i] == math.prod(radices)
        if math.prod(radices) > 50_000:
            pytest.skip("too many to enumerate")
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


@pytest.mark.parametrize("agents, exact", [(61, True), (62, False)])
def test_exact_as_long_as_all_keys_fit(agents: int, exact: bool) -> None:
    """A ring in which every agent sees everyone has agents * 2^agents joint pairs; a line far fewer at kappa = 0."""
    num_pairs = torch.full((agents,), 2)
    whole = NeighborhoodKeys(Network.ring(agents).neighborhood(agents), num_pairs)
    assert not whole.exact
    star = torch.cat([torch.tensor([2]), torch.ones(agents, dtype=torch.int64)])
    star[1:] = 2
    hub = Network.from_edges(agents + 1, [(0, j) for j in range(1, agents + 1)])
    assert NeighborhoodKeys(hub.neighborhood(0), star).exact
    counted = torch.ones(agents + 1, dtype=torch.int64)
    counted[1 : agents + 1] = 2
    del exact
