"""The dedicated matching and the flow bound against brute force, simulation and exact policies."""

import itertools

import numpy as np
import pytest
import torch

from marl import Policy, WirelessAccess, evaluate
from marl.envs.wireless import dedicated_matching, flow_bound

SMALL = {
    "grid": lambda seed: WirelessAccess(rows=2, cols=2, access_points="corners", instance_seed=seed),
    "crowd": lambda seed: WirelessAccess(incidence=[[0], [0, 1], [1], [1, 2]], deadline=[1, 2, 3, 1], instance_seed=seed),
}


class Dedicated(Policy):
    """Every user sends to its own point whenever it holds a packet, or is silent if it has none."""

    def __init__(self, env: WirelessAccess, owned: dict[int, int]):
        super().__init__(env)
        self.action = torch.tensor([1 + env.access[i].index(owned[i]) if i in owned else 0 for i in range(env.n)])

    def _logits(self, s):
        action = torch.where(s > 0, self.action, 0)
        return torch.nn.functional.one_hot(action, self.env.action_mask.shape[2]).double().log()


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("name", SMALL)
def test_the_matching_pays_what_its_policy_earns(name: str, seed: int) -> None:
    """Within 5 half widths of a simulation of 50,000 steps, which is wrong with probability below 1e-9 (t, 19 degrees)."""
    env = SMALL[name](seed)
    value, owned = dedicated_matching(env)
    assert len(set(owned.values())) == len(owned)
    assert all(y in env.access[i] for i, y in owned.items())
    measured = evaluate(env, Dedicated(env, owned), steps=50_000)
    assert abs(measured.average_reward - value) < 5 * measured.half_width
    assert value <= flow_bound(env) + 1e-12


@pytest.mark.parametrize("seed", range(5))
def test_no_other_matching_is_better(seed: int) -> None:
    """All ways to give points to users, each valued by the matching of the network that holds just those pairs."""
    env = SMALL["crowd"](seed)
    best = 0.0
    for choice in itertools.product(*[[None, *points] for points in env.access]):
        given = [y for y in choice if y is not None]
        if len(set(given)) == len(given):
            alone = [
                dedicated_matching(
                    WirelessAccess(
                        incidence=[[0]],
                        deadline=int(env.deadline[i]),
                        arrival=float(env.arrival[i]),
                        success=float(env.success[y]),
                    )
                )[0]
                for i, y in enumerate(choice)
                if y is not None
            ]
            best = max(best, sum(alone) / env.n)
    assert dedicated_matching(env)[0] == pytest.approx(best, abs=1e-12)


def test_one_user_by_hand() -> None:
    """Deadline 1: a packet comes with p, is sent at once and goes through with q."""
    one = WirelessAccess(incidence=[[0]], deadline=1, arrival=0.4, success=0.6)
    assert dedicated_matching(one) == (pytest.approx(0.24), {0: 0})
    assert flow_bound(one) == pytest.approx(0.4)
    assert flow_bound(WirelessAccess(incidence=[[0]], deadline=1, arrival=0.8, success=0.6)) == pytest.approx(0.6)
    always = WirelessAccess(incidence=[[0]], deadline=3, arrival=1.0, success=0.5)
    assert dedicated_matching(always)[0] == pytest.approx(0.5)
    assert dedicated_matching(WirelessAccess(incidence=[[0]], arrival=0.0))[0] == pytest.approx(0.0)


@pytest.mark.parametrize("seed", range(5))
def test_the_flow_bound_is_the_smallest_cut(seed: int) -> None:
    """Max flow = min cut: the least of sum over users outside U of p plus sum over points that U reaches of q."""
    env = SMALL["grid"](seed)
    cuts = []
    for kept in itertools.product([False, True], repeat=env.n):
        reached = {y for i in range(env.n) if kept[i] for y in env.access[i]}
        lost = sum(float(env.arrival[i]) for i in range(env.n) if not kept[i])
        cuts.append(lost + sum(float(env.success[y]) for y in reached))
    assert flow_bound(env) * env.n == pytest.approx(min(cuts), abs=1e-12)


def test_the_network_of_the_paper() -> None:
    """The lines of Figure 5 at full length, docs/results.md."""
    found = {
        p: (dedicated_matching(e := WirelessAccess(access_points=p))[0], flow_bound(e)) for p in ("interior", "corners")
    }
    assert np.allclose(found["interior"], [0.313, 0.388], atol=5e-4)
    assert np.allclose(found["corners"], [0.387, 0.493], atol=5e-4)
