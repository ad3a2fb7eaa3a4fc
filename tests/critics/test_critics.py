"""What every critic is given (loss, reward estimate, advantage), and neural critics, one of which is the table."""

import itertools
import math
import re

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from marl.core.critic import Critic, Transition
from marl.core.errors import ConfigError
from marl.core.indexing import NeighborhoodKeys
from marl.critics import NeuralCritic, TabularCritic
from marl.envs import WirelessAccess
from marl.policies import TabularSoftmax
from marl.schedulers import Constant, PowerLaw
from marl.testing import random_inputs
from marl.trainers import ScalableActorCritic
from tests.critics.experience import REPLICAS as B
from tests.critics.experience import experience, learn


class OneHotCritic(Critic):
    """The table, written as a linear layer on the one-hot joint pair of the neighborhood."""

    def __init__(self, env: WirelessAccess, *, kappa: int, replicas: int):
        super().__init__(env, kappa=kappa, replicas=replicas)
        self.keys = NeighborhoodKeys(self.neighborhood, env.index.num_pairs)
        self.layer = self.initial.zeros(int(self.keys.total))

    def _q(self, s: Tensor, a: Tensor) -> Tensor:
        seen = F.one_hot(self.keys.keys(self.env.index.pairs(s, a)), self.layer.shape[1]).to(self.dtype)
        return (seen @ self.layer.unsqueeze(-1)).squeeze(-1)


def trainer(env: WirelessAccess, critic: Critic, rescale: bool = False) -> ScalableActorCritic:
    policy, alpha, eta = TabularSoftmax(env, replicas=critic.replicas), PowerLaw(0.9, 0.3), Constant(5.0)
    return ScalableActorCritic(env, policy, critic, critic_scheduler=alpha, actor_scheduler=eta, rescale=rescale, seed=2)


@pytest.mark.parametrize("kappa", [0, 1])
def test_a_linear_layer_on_one_hot_pairs_is_the_table(mixed: WirelessAccess, kappa: int) -> None:
    table = TabularCritic(mixed, kappa=kappa, storage="dense", replicas=B)
    layer = OneHotCritic(mixed, kappa=kappa, replicas=B)
    by_table, by_layer = trainer(mixed, table), trainer(mixed, layer)
    by_table.run(200)
    by_layer.run(200)
    assert torch.equal(by_table.s, by_layer.s)
    assert torch.equal(by_table.a, by_layer.a)
    held = table.table.values.detach()[:-1].view(B, -1)[:, : layer.layer.shape[1]]
    torch.testing.assert_close(layer.layer.detach(), held, rtol=0, atol=1e-10)
    torch.testing.assert_close(layer.mu, table.mu, rtol=0, atol=1e-12)
    torch.testing.assert_close(by_layer.policy.state_dict(), by_table.policy.state_dict(), rtol=0, atol=1e-10)
    assert held.abs().max() > 0.05
    assert by_table.policy.get_parameter("theta").abs().max() > 0.01


def test_a_critic_that_cannot_know_its_norm_refuses_rescaling(mixed: WirelessAccess) -> None:
    with pytest.raises(
        ConfigError, match=re.escape("needs the largest |Q|, which only a table knows, and OneHotCritic is none")
    ):
        trainer(mixed, OneHotCritic(mixed, kappa=0, replicas=1), rescale=True)


def shaken(critic: Critic) -> Critic:
    """The critic with random parameters (those that start at zero hide what they multiply)."""
    draw = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for parameter in critic.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=draw, dtype=parameter.dtype))
    return critic


@pytest.mark.parametrize("kappa", [0, 1, 2])
def test_neural_critic_sees_exactly_its_neighborhood(kappa: int) -> None:
    env = WirelessAccess(incidence=[[0], [0, 1], [1, 2], [2, 3], [3]], deadline=[2, 1, 2, 1, 2])
    critic = shaken(NeuralCritic(env, kappa=kappa, hidden=4, replicas=B))
    s, a, _ = random_inputs(env, B, 0)
    q = critic.q(s, a)
    for j in range(env.n):
        other_s, other_a = s.clone(), a.clone()
        other_s[:, j], other_a[:, j] = (s[:, j] + 1) % env.num_states[j], 0
        changed = critic.q(other_s, other_a) != q
        assert changed.tolist() == [[abs(i - j) <= kappa for i in range(env.n)]] * B


def test_neural_critic_equals_its_formula(mixed: WirelessAccess) -> None:
    """Q_i = w_i . tanh(sum_j E_ij[z_j] + b_i), neighbor by neighbor."""
    critic = shaken(NeuralCritic(mixed, kappa=1, hidden=4, replicas=B))
    s, a, _ = random_inputs(mixed, B, 0)
    z, q, (index, mask, _) = mixed.index.pairs(s, a), critic.q(s, a), critic.neighborhood
    for b, i in itertools.product(range(B), range(mixed.n)):
        inner = critic.get_parameter("bias")[b, i].clone()
        for k, j in enumerate(index[i, mask[i]].tolist()):
            inner += critic.get_parameter("embedding")[b, i, k, z[b, j]]
        expected = (critic.get_parameter("weight")[b, i] * inner.tanh()).sum()
        assert q[b, i].item() == pytest.approx(expected.item(), rel=1e-12)


def test_neural_critic_starts_at_zero_and_its_replicas_equal_solo_critics(mixed: WirelessAccess) -> None:
    batched = NeuralCritic(mixed, kappa=1, replicas=3, seed=9)
    s, a, _ = random_inputs(mixed, 3, 1)
    assert (batched.q(s, a) == 0.0).all()
    for b in range(3):
        solo = NeuralCritic(mixed, kappa=1, seed=9 + b)
        for together, alone in zip(batched.parameters(), solo.parameters(), strict=True):
            assert torch.equal(together[b], alone[0])
    assert not torch.equal(batched.embedding[0], batched.embedding[1])
    with pytest.raises(ConfigError, match=r"critic.hidden must be a whole number of at least 1, got 0"):
        NeuralCritic(mixed, hidden=0)


@pytest.mark.parametrize("kappa", [0, 1, 2])
def test_advantage_is_the_neighborhood_sum_over_n(small: WirelessAccess, kappa: int) -> None:
    critic = TabularCritic(small, kappa=kappa, storage="hash", replicas=B)
    q = torch.randn(B, small.n, dtype=torch.float64, generator=torch.Generator().manual_seed(0)).requires_grad_()
    found = critic.advantage(q)
    index, mask, _ = critic.neighborhood
    for b in range(B):
        for i in range(small.n):
            expected = math.fsum(q[b, j].item() for j in index[i, mask[i]].tolist()) / small.n
            assert found[b, i].item() == pytest.approx(expected, abs=1e-15)
    assert not found.requires_grad


@pytest.mark.parametrize("kind", ["dense", "hash"])
def test_loss_differentiates_the_present_value_only(small: WirelessAccess, kind: str) -> None:
    """d loss / d Q(z(t)) = -(r - mu + Q(z(t+1)) - Q(z(t))), and nothing at z(t+1)."""
    critic = TabularCritic(small, kappa=1, storage=kind, replicas=B)
    for step in experience(small, 40):
        learn(critic, step)
    first, second = list(experience(small, 2))
    step = Transition(first.s, first.a, second.r, second.s, second.a)
    q, next_q = critic.q(step.s, step.a).detach(), critic.q(step.next_s, step.next_a).detach()
    assert next_q.abs().min() > 0.0
    critic.zero_grad()
    loss = critic.loss(critic.q(step.s, step.a), step)
    delta = step.r - critic.mu + next_q - q
    torch.testing.assert_close(loss, delta.square().sum(dim=1) / 2)
    loss.sum().backward()
    assert critic.table.values.grad is not None
    touched = critic.table.values.grad.coalesce()
    gradient = {int(slot): value.item() for slot, value in zip(touched.indices()[0], touched.values(), strict=True)}
    assert gradient == pytest.approx(
        dict(zip(critic.table.slots(step.s, step.a).flatten().tolist(), (-delta).flatten().tolist(), strict=True))
    )


def test_neural_loss_is_a_semi_gradient(mixed: WirelessAccess) -> None:
    critic = shaken(NeuralCritic(mixed, kappa=1, replicas=B))
    step = next(experience(mixed, 1))
    parameters = list(critic.parameters())
    q = critic.q(step.s, step.a)
    delta = (step.r - critic.mu + critic.q(step.next_s, step.next_a) - q).detach()
    expected = torch.autograd.grad((-delta * q).sum(), parameters, retain_graph=True)
    torch.testing.assert_close(torch.autograd.grad(critic.loss(q, step).sum(), parameters), expected)


def test_track_reward_is_line_5(mixed: WirelessAccess) -> None:
    critic = TabularCritic(mixed, replicas=1)
    critic.track_reward(torch.tensor([[1.0, 0.0, 2.0]], dtype=torch.float64), 0.5)
    critic.track_reward(torch.tensor([[0.0, 1.0, 2.0]], dtype=torch.float64), 0.25)
    assert critic.mu.tolist() == [[0.375, 0.25, 1.25]]
