"""The rules of SysAdmin: what they do in states made by hand, and what they earn, exactly, on three machines."""

import functools
from typing import Any

import jaxtyping
import numpy as np
import pytest
import torch

from marl.core.errors import ConfigError
from marl.core.network import Network
from marl.core.policy import Policy
from marl.envs import Coloring, SysAdmin
from marl.envs.sysadmin import RebootByTurns, RebootIfDead, RebootIfNotGood
from marl.policies import Uniform
from marl.testing import random_inputs
from tests.envs.joint import average_reward, joint_states

GOOD, FAULTY, DEAD = 0, 3, 6  # and idle; + 1 loaded, + 2 done
CREWS = [[0], [0, 1], [1], [0, 2]]
POLICIES: dict[str, Any] = {
    "uniform": Uniform,
    "if dead": RebootIfDead,
    "if not good": RebootIfNotGood,
    "by turns": RebootByTurns,
    "if not good, spare jobs": functools.partial(RebootIfNotGood, spare_jobs=True),
    "by turns, not good": functools.partial(RebootByTurns, need="not_good"),
    "by turns, spare jobs": functools.partial(RebootByTurns, need="not_good", spare_jobs=True),
}
EARNED = {  # crews -> optimum, then the average reward of each policy above, to the digits of docs/systems/sysadmin.md
    "own": (0.2203, 0.0791, 0.1837, 0.1371, 0.1837, 0.2120, 0.1371, 0.2120),
    "edges": (0.2203, 0.0905, 0.1789, 0.1403, 0.1831, 0.2043, 0.1364, 0.2107),
    1: (0.2063, 0.0623, 0.0, 0.0, 0.1744, 0.0, 0.1442, 0.2000),
}


class Joint:
    """All joint states and actions of a small network: P(s'|s, a) [X, K, X'] and the mean reward [X, K]."""

    def __init__(self, env: SysAdmin):
        self.env, self.states = env, joint_states(env)
        self.actions = torch.cartesian_prod(*(torch.arange(k) for k in env.num_actions.tolist()))
        pairs = len(self.states), len(self.actions), env.n
        s, a = self.states[:, None].expand(pairs), self.actions.expand(pairs)
        self.reward = env.reward(s, a).mean(dim=-1).numpy()
        own = env.transition(s, a).movedim(2, 0).numpy()
        following = functools.reduce(lambda x, y: np.einsum("skx,sky->skxy", x, y).reshape(*pairs[:2], -1), own)
        self.law = following

    def value(self, weight: np.ndarray) -> tuple[float, np.ndarray]:
        """The average reward, and the bias h with h(first state) = 0, under weights [X, K] of joint actions."""
        matrix = np.einsum("sk,skt->st", weight, self.law)
        system = np.eye(len(matrix)) - matrix
        system[:, 0] = 1.0  # in place of h(first) = 0
        found = np.linalg.solve(system, (weight * self.reward).sum(axis=1))
        return float(found[0]), np.append(0.0, found[1:])

    def earned(self, policy: Policy) -> float:
        probs = policy.probs(self.states[:, None])[:, 0]
        taken = (
            probs.unsqueeze(1)
            .expand(-1, len(self.actions), -1, -1)
            .gather(3, self.actions.expand(len(self.states), -1, -1).unsqueeze(-1))
        )
        return self.value(taken.squeeze(-1).prod(dim=-1).double().numpy())[0]

    def optimum(self) -> float:
        """Policy iteration from the rule that is best: at most ten sweeps."""
        last = -np.inf
        choice = RebootByTurns(self.env, need="not_good", spare_jobs=True).sample(
            self.states[:, None], torch.zeros(len(self.states), 1, self.env.n, dtype=torch.float64)
        )[:, 0]
        best = (self.actions == choice[:, None]).all(dim=-1).byte().argmax(dim=1).numpy()
        for _ in range(10):
            value, bias = self.value(np.eye(len(self.actions))[best])
            if value < last + 1e-9:
                return value
            last, best = value, (self.reward + self.law @ bias).argmax(axis=1)
        raise AssertionError("policy iteration goes on")


@pytest.mark.parametrize("crews", EARNED)
def test_values_of_the_page(crews: str | int) -> None:
    env = SysAdmin("ring:3", crews)
    joint = Joint(env)
    found = [joint.optimum(), *(joint.earned(make(env)) for make in POLICIES.values())]
    assert [round(abs(x), 4) for x in found] == list(EARNED[crews])


def test_the_value_by_another_route() -> None:
    """... and a limiting case: machines that never fail take 1/p_load + 1/p_done + 1 steps for a job."""
    env = SysAdmin("line:2")
    for rule in RebootByTurns(env), RebootIfDead(env, replicas=2):
        assert average_reward(env, rule) == pytest.approx(Joint(env).earned(rule), abs=1e-9)
    sound = SysAdmin("line:2", p_fail=0.0, faulty_neighbor=0.0, dead_neighbor=0.0)
    rule = RebootByTurns(sound, need="not_good")
    assert average_reward(sound, rule) == pytest.approx(1.0 / (1.0 / 0.6 + 1.0 / 0.9 + 1.0), abs=1e-12)


def chances(rule: Policy, s: list[int]) -> list[list[float]]:
    return rule.probs(torch.tensor([s]))[0].tolist()


def test_who_requests() -> None:
    env = SysAdmin("line:4", CREWS)
    wait, first, either = [1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.5, 0.5]
    assert chances(RebootIfDead(env), [DEAD, DEAD + 1, FAULTY, GOOD + 1]) == [first, either, wait, wait]
    assert chances(RebootIfNotGood(env), [FAULTY + 1, DEAD, FAULTY, GOOD]) == [first, either, first, wait]
    spares = RebootIfNotGood(env, spare_jobs=True)
    assert chances(spares, [FAULTY + 1, DEAD + 1, FAULTY + 2, FAULTY]) == [wait, either, first, either]


@pytest.mark.parametrize(
    ("options", "s", "a"),
    [
        ({}, [DEAD, DEAD, GOOD, FAULTY], [1, 2, 0, 0]),  # crew 0 is 0's, so machine 1 takes crew 1
        ({}, [DEAD, DEAD, DEAD, DEAD + 2], [1, 2, 0, 2]),
        ({}, [GOOD, DEAD + 1, DEAD, FAULTY], [0, 1, 0, 0]),  # it is 1's turn at both, and 2 waits
        ({}, [FAULTY + 1, GOOD + 2, GOOD, GOOD], [0, 0, 0, 0]),
        ({"need": "not_good"}, [FAULTY + 1, DEAD, FAULTY, GOOD], [0, 1, 0, 0]),  # the dead one before the faulty ones
        ({"need": "not_good"}, [FAULTY + 1, GOOD, FAULTY, FAULTY], [1, 0, 1, 2]),
        ({"need": "not_good", "spare_jobs": True}, [FAULTY + 1, GOOD, FAULTY + 2, FAULTY], [0, 0, 1, 1]),
    ],
)
def test_whose_turn_it_is(options: dict[str, Any], s: list[int], a: list[int]) -> None:
    rule = RebootByTurns(SysAdmin("line:4", CREWS), **options)
    assert rule.probs(torch.tensor([s])).argmax(dim=-1).tolist() == [a]
    assert rule.entropy(torch.tensor([s])).abs().max() == 0.0


def test_requests_by_turns_never_cancel_each_other_and_help_somebody() -> None:
    graph = Network.from_edges(7, [(0, 2), (2, 5), (3, 4), (3, 2)])
    for crews in ("edges", 2, [[0, 3], [0], [1], [2], [1, 2, 0], [3], [1]]):
        env = SysAdmin(graph, crews)
        s, _, u = random_inputs(env, 200, 1)
        a = RebootByTurns(env, replicas=200).sample(s, u[..., 0])
        assert torch.equal(env._rebooted(a), a > 0)
        assert torch.equal((a > 0).any(dim=-1), (s >= DEAD).any(dim=-1))
        assert ((a > 0) <= (s >= DEAD)).all()


def test_two_dead_machines_with_one_crew_block_each_other() -> None:
    """... under requests of all that are dead: nothing changes any more; by turns one of them is rebooted."""
    env = SysAdmin("line:2", 1)
    s, u = torch.tensor([[DEAD, DEAD]]), torch.zeros(1, 2, dtype=torch.float64)
    assert env.transition(s, RebootIfDead(env).sample(s, u))[0, :, DEAD].tolist() == [1.0, 1.0]
    assert env.transition(s, RebootByTurns(env).sample(s, u))[0, :, GOOD].tolist() == [1.0, 0.0]


@pytest.mark.parametrize("rule", [RebootIfDead, RebootIfNotGood, RebootByTurns])
def test_another_system_is_refused(rule: Any) -> None:
    with pytest.raises(ConfigError, match=rf"{rule.__name__} is a rule for SysAdmin, not for Coloring"):
        rule(Coloring())


def test_options_are_checked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)
    env = SysAdmin("line:2")
    with pytest.raises(ConfigError, match=r"policy.need must be one of dead, not_good, got 'faulty'"):
        RebootByTurns(env, need="faulty")
    for rule in (RebootByTurns, RebootIfNotGood):
        with pytest.raises(ConfigError, match=r"policy.spare_jobs must be true or false, got 1"):
            rule(env, spare_jobs=1)
