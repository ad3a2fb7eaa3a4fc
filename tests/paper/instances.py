"""Tiny instances that every statement of the paper is tried on, with the oracle's picture of each."""

from collections.abc import Callable
from functools import cached_property

import numpy as np
import pytest
import torch

from marl.core.environment import NetworkedMDP
from marl.core.network import Network
from marl.core.policy import Policy
from marl.envs import Coloring, LocalMDP, WirelessAccess, random_local_mdp
from marl.envs.wireless import Aloha
from marl.exact import Chain, JointPairs
from marl.policies import NeuralPolicy, RandomTable, StateIndependentSoftmax, TabularSoftmax
from tests.paper import oracle


def randomized(policy: Policy, seed: int = 0) -> Policy:
    """The policy with standard normal parameters, different in every replica."""
    draw = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in policy.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=draw, dtype=torch.float64))
    return policy


class Case:
    """An environment under one replica of a policy. Each part is made when first asked for, then kept."""

    def __init__(self, name: str, env: Callable[[], NetworkedMDP], policy: Callable[[NetworkedMDP], Policy], replica: int):
        self.name, self.replica = name, replica
        self._env, self._policy = env, policy

    @property
    def is_softmax(self) -> bool:
        """Whether the parameters are those of the oracle's gradients."""
        return self._policy is softmax

    @cached_property
    def env(self) -> NetworkedMDP:
        return self._env()

    @cached_property
    def policy(self) -> Policy:
        return self._policy(self.env)

    @cached_property
    def model(self) -> oracle.Model:
        """What the oracle sees."""
        return oracle.model_of(self.env, self.policy, self.replica)

    @cached_property
    def pairs(self) -> tuple[torch.Tensor, torch.Tensor]:
        """(s, a) [Z, n] of all joint pairs in the oracle's order."""
        pairs = oracle.all_pairs(self.model)
        return torch.tensor([s for s, _ in pairs]), torch.tensor([a for _, a in pairs])

    @cached_property
    def joint(self) -> JointPairs:
        return JointPairs(self.chain("dense"))

    def chain(self, method: str) -> Chain:
        return Chain(self.env, self.policy, replica=self.replica, method=method)


def softmax(env: NetworkedMDP) -> Policy:
    return randomized(TabularSoftmax(env, replicas=2))


def isolated() -> Network:
    """0 - 1, and 2 by itself."""
    return Network.from_edges(3, [(0, 1)])


def uneven_tables() -> LocalMDP:
    """Agent 0 is of form (1), law and reward of agent 1 see all of z_{N_1}."""
    draw = np.random.default_rng(7)
    law = [draw.dirichlet(np.ones(2), size=(2, 3, 2)), draw.dirichlet(np.ones(3), size=(2, 2, 3, 2))]
    return LocalMDP(Network.line(2), law, [draw.normal(size=(2, 2)), draw.normal(size=(2, 2, 3, 2))])


def left_for_ever() -> LocalMDP:
    """Agent 0 leaves its state 0 with probability 1/2 a step and never comes back: a third of S is transient."""
    draw = np.random.default_rng(8)
    law = [draw.dirichlet(np.ones(3), size=(3, 2, 2)), draw.dirichlet(np.ones(2), size=(3, 2, 1))]
    law[0][0, :, :, 0], law[0][0, :, :, 1:] = 0.5, 0.25
    law[0][1:, :, :, 0] = 0.0
    law[0][1:, :, :, 1:] /= law[0][1:, :, :, 1:].sum(axis=-1, keepdims=True)
    return LocalMDP(Network.line(2), law, [draw.normal(size=(3, 2)), draw.normal(size=(2, 1))])


def walk() -> LocalMDP:
    """Agent 0 walks 0 - 1 - 2 and turns at the ends: period 2. Agent 1 sees it."""
    draw = np.random.default_rng(9)
    there = np.array([[0.0, 1.0, 0.0], [0.5, 0.0, 0.5], [0.0, 1.0, 0.0]])
    law = [np.broadcast_to(there[:, None, None, :], (3, 2, 1, 3)), draw.dirichlet(np.ones(2), size=(3, 2, 2))]
    return LocalMDP(Network.line(2), law, [draw.normal(size=(3, 1)), draw.normal(size=(2, 2))])


def drawn(graph: str | Network, states: list[int], actions: list[int], form: str = "pp", **more: float) -> NetworkedMDP:
    """form: are actions, rewards private (p) or shared (s)? Rewards are signed."""
    private = {"private_actions": form[0] == "p", "private_rewards": form[1] == "p"}
    return random_local_mdp(graph, states, actions, reward_low=-1.0, instance_seed=3, **private, **more)  # type: ignore[arg-type]


STAR = Network.from_edges(4, [(0, 1), (1, 2), (1, 3)])
WIRES = {"incidence": [[0], [0, 1], [1]], "deadline": [1, 2, 1], "instance_seed": 4}
CASES = [
    Case("one-agent", lambda: drawn("line:1", [3], [2]), softmax, 0),
    Case("pair-private", lambda: drawn("line:2", [2, 3], [2, 2]), softmax, 1),
    Case("line-private", lambda: drawn("line:3", [2, 2, 3], [2, 1, 2]), softmax, 1),
    Case("line-shared-actions", lambda: drawn("line:3", [2, 3, 2], [2, 1, 2], "sp"), softmax, 0),
    Case("line-shared-rewards", lambda: drawn("line:3", [2, 1, 3], [1, 3, 2], "ps"), softmax, 1),
    Case("ring-shared-both", lambda: drawn("ring:3", [2, 2, 2], [1, 2, 2], "ss"), softmax, 0),
    Case("star-neural", lambda: drawn(STAR, [2, 1, 2, 2], [2, 2, 1, 2], "ss"), lambda e: randomized(NeuralPolicy(e)), 0),
    Case("isolated-agent", lambda: drawn(isolated(), [2, 2, 3], [2, 2, 1], "ss"), softmax, 1),
    Case("uneven-tables", uneven_tables, lambda env: RandomTable(env, instance_seed=5), 0),
    Case("transient-states", left_for_ever, softmax, 0),
    Case("periodic", walk, softmax, 0),
    Case("wireless", lambda: WirelessAccess(**WIRES), softmax, 1),
    Case("wireless-aloha", lambda: WirelessAccess(**WIRES), lambda e: Aloha(e, send_probability=[0.2, 0.7], replicas=2), 1),
    Case("coloring", lambda: Coloring("line:2", 2), lambda e: randomized(StateIndependentSoftmax(e)), 0),
]
WEAK = [  # little influence: certified
    Case("weak-line", lambda: drawn("line:4", [2] * 4, [1, 2, 2, 1], interaction=0.3), softmax, 1),
    Case("weak-shared", lambda: drawn("line:3", [2, 2, 2], [2, 1, 2], "sp", interaction=0.3), softmax, 0),
    Case("weak-rewards", lambda: drawn("line:3", [2, 2, 3], [2, 2, 1], "ps", interaction=0.3), softmax, 0),
    Case("weak-isolated", lambda: drawn(isolated(), [2, 2, 3], [2, 2, 1], interaction=0.2), softmax, 1),
]
every_case = pytest.mark.parametrize("case", CASES + WEAK, ids=lambda case: case.name)
in_oracle_coordinates = pytest.mark.parametrize(
    "case", [case for case in CASES + WEAK if case.is_softmax], ids=lambda case: case.name
)
weak_cases = pytest.mark.parametrize("case", WEAK, ids=lambda case: case.name)
