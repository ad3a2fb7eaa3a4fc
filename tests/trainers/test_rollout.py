"""The actor-critic with K steps between updates: Algorithm 1 at K = 1, plain loops beyond, pieces, resumption, replicas."""

import copy
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.optim import Adam

from marl.core.environment import Environment
from marl.core.errors import CheckpointError, ConfigError
from marl.critics import AdditiveCritic, NeuralCritic, PairwiseCritic, StateValue, TabularCritic
from marl.envs import WirelessAccess, random_local_mdp
from marl.loggers import ArrayLogger
from marl.policies import NeighborhoodNeural, NeighborhoodSoftmax, NeuralPolicy, TabularSoftmax
from marl.schedulers import Constant, Linear, PowerLaw
from marl.testing import random_inputs
from marl.trainers import RolloutActorCritic, ScalableActorCritic
from marl.trainers.returns import lambda_returns
from marl.trainers.rollout import Collector

ENVIRONMENTS = {
    "wireless": lambda: WirelessAccess(rows=2, cols=3, deadline=[1, 2, 2, 1, 3, 2]),
    "tables": lambda: random_local_mdp("line:4", [2, 3, 2, 1], [2, 1, 3, 2], private_actions=False),
}
PARTS: dict[str, tuple[type[Any], type[Any], dict[str, Any]]] = {
    "table": (TabularSoftmax, TabularCritic, {"storage": "dense"}),
    "hash": (TabularSoftmax, TabularCritic, {"storage": "hash"}),
    "neural": (NeuralPolicy, NeuralCritic, {"hidden": 5}),
    "additive": (NeighborhoodSoftmax, AdditiveCritic, {}),
    "pairwise": (NeighborhoodNeural, PairwiseCritic, {}),
}
OPTIONS: dict[str, dict[str, Any]] = {
    "plain": {},
    "lambda": {"trace_decay": 0.7, "discount": 0.9},
    "all": {"gradient": "all_actions", "trace_decay": 0.5, "entropy": 0.02, "centering": 0.5},
}


class OwnLoss(AdditiveCritic):
    """Means something by it."""

    def loss(self, q: Any, step: Any) -> Any:
        return super().loss(q, step).sqrt()


def made(
    kind: str, env: Environment, replicas: int = 2, seed: int = 0, trainer: Any = RolloutActorCritic, **more: Any
) -> Any:
    policy, critic, given = PARTS[kind]
    sizes = {"critic_scheduler": PowerLaw(0.3, 0.3), "actor_scheduler": Constant(2.0)}
    return trainer(
        env,
        policy(env, replicas=replicas, seed=seed),
        critic(env, kappa=1, replicas=replicas, seed=seed, **given),
        seed=seed,
        **{**sizes, **more},
    )


def parameters(trainer: Any) -> list[Tensor]:
    return [*trainer.policy.parameters(), *trainer.critic.parameters(), *trainer.critic.objective.buffers()]


def assert_same(one: Any, other: Any, atol: float = 0.0) -> None:
    assert one.t == other.t
    assert torch.equal(one.s, other.s)
    assert torch.equal(one.a, other.a)
    for x, y in zip(parameters(one), parameters(other), strict=True):
        assert torch.allclose(x, y, rtol=0.0, atol=atol)
    for x, y in zip(vars(one.interval).values(), vars(other.interval).values(), strict=True):
        assert torch.allclose(torch.as_tensor(x), torch.as_tensor(y), rtol=0.0, atol=10 * atol)


@pytest.mark.parametrize("discount", [1.0, 0.8])
@pytest.mark.parametrize("kind", PARTS)
@pytest.mark.parametrize("name", ENVIRONMENTS)
def test_one_step_between_updates_is_algorithm_1(name: str, kind: str, discount: float) -> None:
    env = ENVIRONMENTS[name]()
    one = made(kind, env, rollout=1, discount=discount, log_every=1000)
    other = made(kind, env, trainer=ScalableActorCritic, engine="autograd", discount=discount, log_every=1000)
    one.run(80)
    other.run(80)
    assert_same(one, other, atol=1e-12)


def test_an_update_written_out() -> None:
    """Additive critic, tabular softmax, five steps: TD errors, line 7 and both means by loops over steps and agents."""
    env = ENVIRONMENTS["wireless"]()
    steps, alpha, eta = 5, 0.3, 2.0
    policy, critic = TabularSoftmax(env), AdditiveCritic(env, kappa=1)
    sizes = {"critic_scheduler": Constant(alpha), "actor_scheduler": Constant(eta)}
    trainer = RolloutActorCritic(env, policy, critic, rollout=steps, log_every=1000, **sizes)
    trainer.run(10 * steps)
    index, mask, _ = env.network.neighborhood(1)
    theta, weight, mu = policy.theta.detach()[0].clone(), critic.weight.detach()[0].clone(), critic.mu[0].clone()
    trainer.run(steps)
    (s, a, r), n = (part[:, 0] for part in trainer.buffer.rollout), env.n
    members = [index[i, mask[i]].tolist() for i in range(n)]

    def q(k: int, i: int) -> float:
        z = [(j, int(env.pair_index[m, s[k, m], a[k, m]])) for j, m in enumerate(members[i])]
        return sum(float(weight[i, j, pair]) for j, pair in z) / len(members[i]) ** 0.5

    new_weight, new_theta = weight.clone(), theta.clone()
    for k in range(steps):
        for i in range(n):
            delta = float(r[k, i]) - float(mu[i]) + q(k + 1, i) - q(k, i)
            for j, m in enumerate(members[i]):
                new_weight[i, j, env.pair_index[m, s[k, m], a[k, m]]] += alpha / steps * delta / len(members[i]) ** 0.5
            near = sum(q(k, j) for j in members[i]) / n
            legal = env.action_mask[i, s[k, i]]
            zeta = torch.softmax(theta[i, s[k, i]].masked_fill(~legal, -torch.inf), dim=0)
            new_theta[i, s[k, i]] -= eta / steps * near * zeta
            new_theta[i, s[k, i], a[k, i]] += eta / steps * near
    assert torch.allclose(critic.weight[0], new_weight, atol=1e-13)
    assert torch.allclose(policy.theta[0], new_theta, atol=1e-13)
    assert torch.allclose(critic.mu[0], mu + alpha * (r.mean(dim=0) - mu), atol=1e-13)


@pytest.mark.parametrize("option", OPTIONS)
@pytest.mark.parametrize("kind", ["neural", "pairwise"])
def test_pieces_and_resumption(kind: str, option: str) -> None:
    """Pieces of any length are the whole run, and so is a run that goes on from a state taken within a rollout."""
    env = ENVIRONMENTS["wireless"]()
    adam = {"critic_scheduler": Constant(0.01), "critic_optimizer": Adam}
    whole = made(kind, env, rollout=8, log_every=1000, **OPTIONS[option], **adam)
    whole.run(200)
    pieces = made(kind, env, rollout=8, log_every=1000, **OPTIONS[option], **adam)
    for steps in (1, 7, 30, 51):
        pieces.run(steps)
    state = copy.deepcopy(pieces.state_dict())
    pieces.run(111)
    assert_same(whole, pieces)
    resumed = made(kind, env, rollout=8, log_every=1000, **OPTIONS[option], **adam)
    resumed.load_state_dict(state)
    resumed.run(111)
    assert_same(whole, resumed)


@pytest.mark.parametrize("option", OPTIONS)
@pytest.mark.parametrize("kind", ["neural", "additive"])
def test_replica_b_is_the_solo_run_of_its_seed(kind: str, option: str) -> None:
    env = ENVIRONMENTS["wireless"]()
    together = made(kind, env, 3, rollout=4, log_every=1000, **OPTIONS[option])
    together.run(100)
    for b in range(3):
        solo = made(kind, env, 1, b, rollout=4, log_every=1000, **OPTIONS[option])
        solo.run(100)
        for x, y in zip(parameters(together), parameters(solo), strict=True):
            assert torch.allclose(x[b], y[0], rtol=0.0, atol=1e-12)


def test_returns_against_their_definitions() -> None:
    draw = torch.Generator().manual_seed(0)
    reward, following = (torch.randn(6, 2, 3, generator=draw, dtype=torch.float64) for _ in range(2))
    for discount in (1.0, 0.7):
        for t in range(6):
            fixed = []  # the 1-, 2-, ... step returns, the last one to the end of the rollout
            for length in range(1, 7 - t):
                summed = sum(discount**k * reward[t + k] for k in range(length))
                fixed.append(summed + discount**length * following[t + length - 1])
            for decay in (0.0, 0.4, 1.0):
                weights = [(1.0 - decay) * decay**k for k in range(len(fixed) - 1)] + [decay ** (len(fixed) - 1)]
                wanted = sum(w * g for w, g in zip(weights, fixed, strict=True))
                assert torch.allclose(lambda_returns(reward, following, discount, decay)[t], wanted)


def test_all_actions_is_the_mean_over_the_own_action() -> None:
    """sum_a zeta_i(a) grad log zeta_i(a) (1/n) sum_j Q_j(z with a_i = a), by one evaluation for every action."""
    env = ENVIRONMENTS["wireless"]()
    critic = PairwiseCritic(env, kappa=1)
    sizes = {"critic_scheduler": Constant(0.3), "actor_scheduler": Constant(2.0)}
    trainer = RolloutActorCritic(env, TabularSoftmax(env), critic, gradient="all_actions", rollout=1, **sizes)
    draw = torch.Generator().manual_seed(1)
    with torch.no_grad():
        critic.weight.copy_(torch.randn(critic.weight.shape, generator=draw, dtype=torch.float64))
        trainer.policy.theta.copy_(torch.randn(trainer.policy.theta.shape, generator=draw, dtype=torch.float64))
    s, a, _ = random_inputs(env, 1, 0)
    trainer._objective(critic.q(s, a)[None], s[None], a[None], 0).backward()
    found = trainer.policy.theta.grad.clone()
    trainer.policy.theta.grad = None
    wanted = torch.zeros_like(found)
    for i in range(env.n):
        zeta = trainer.policy.probs(s).detach()[0, i]
        for action in env.action_mask[i, s[0, i]].nonzero().flatten().tolist():
            other = a.clone()
            other[0, i] = action
            (score,) = torch.autograd.grad(trainer.policy.log_prob(s, other)[0, i], trainer.policy.theta)
            wanted += zeta[action] * score * critic.advantage(critic.q(s, other))[0, i].detach()
    assert torch.allclose(found, wanted, atol=1e-12)


def test_the_natural_gradient_solves_with_the_fisher_information() -> None:
    env, draw = ENVIRONMENTS["wireless"](), torch.Generator().manual_seed(2)
    policy = TabularSoftmax(env, replicas=2)
    with torch.no_grad():
        policy.theta.copy_(torch.randn(policy.theta.shape, generator=draw, dtype=torch.float64))
    s = torch.stack([random_inputs(env, 2, k)[0] for k in range(9)])
    a = torch.stack([policy.sample(x, torch.rand(x.shape, generator=draw, dtype=torch.float64)) for x in s])
    (policy.log_prob(s, a) * torch.randn(s.shape, generator=draw, dtype=torch.float64)).mean(dim=0).sum().backward()
    plain = policy.theta.grad.clone()
    policy.natural_gradient(s, 0.03)
    table = policy.probability_table()
    for b in range(2):
        for i in range(env.n):
            for x in range(int(env.num_states[i])):
                d, zeta = (s[:, b, i] == x).double().mean(), table[b, i, x]
                fisher = d * (torch.diag(zeta) - torch.outer(zeta, zeta)) + 0.03 * torch.eye(len(zeta))
                wanted = torch.linalg.solve(fisher, plain[b, i, x])
                assert torch.allclose(policy.theta.grad[b, i, x], wanted, atol=1e-11)


@pytest.mark.parametrize("entropy", [0.3, Linear(0.4, 0.2, 20)])
def test_the_entropy_bonus(entropy: Any) -> None:
    """Where nothing is earned, a bonus brings a policy back to uniform; its gradient is beta / n times the entropy's."""
    env = ENVIRONMENTS["wireless"]()
    trainer = made("table", env, 1, entropy=entropy, rollout=2)
    draw = torch.Generator().manual_seed(3)
    theta = trainer.policy.theta
    with torch.no_grad():
        theta.copy_(torch.randn(theta.shape, generator=draw, dtype=torch.float64))
    s, a, _ = random_inputs(env, 2, 0)
    s, a = s[:, None], a[:, None]
    (found,) = torch.autograd.grad(trainer._objective(trainer.critic.q(s, a), s, a, 10).sum(), theta)
    bonus = 0.3 / env.n * trainer.policy.entropy(s).sum(dim=-1).mean()
    assert torch.allclose(found, torch.autograd.grad(bonus, theta)[0], atol=1e-14)


@pytest.mark.parametrize("kind", [NeighborhoodSoftmax, NeighborhoodNeural])
def test_rollouts_of_policies_that_see_neighbors(kind: type[Any]) -> None:
    """Compiled, it gives the eager rollout."""
    env = ENVIRONMENTS["wireless"]()
    policy, draw = kind(env, kappa=1, replicas=2), torch.Generator().manual_seed(4)
    with torch.no_grad():
        for parameter in policy.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=draw, dtype=torch.float64))
    trainer = ScalableActorCritic(
        env, policy, AdditiveCritic(env, replicas=2), critic_scheduler=Constant(0.1), actor_scheduler=Constant(0.1)
    )
    collect = Collector(env, policy)
    assert collect.compiled_step() is not None
    given = trainer.noise, trainer.s, trainer.a, 0, 300
    compiled = collect(*given)
    collect.compiled_step = lambda: None
    for x, y in zip(compiled, collect(*given), strict=True):
        assert torch.equal(x, y)


def test_what_is_refused() -> None:
    env = ENVIRONMENTS["wireless"]()
    for wrong, words in (
        ({"rollout": 0}, "trainer.rollout"),
        ({"gradient": "mean"}, "trainer.gradient"),
        ({"rollout": 1, "trace_decay": 0.5}, "trainer.rollout above 1"),
        ({"natural": 0.1}, "Fisher"),
    ):
        with pytest.raises(ConfigError, match=words):
            made("neural", env, **wrong)
    with pytest.raises(ConfigError, match="all_actions"):
        made("table", env, gradient="all_actions")
    sizes = {"critic_scheduler": Constant(0.1), "actor_scheduler": Constant(1.0)}
    for trainer in (RolloutActorCritic, ScalableActorCritic):
        with pytest.raises(ConfigError, match="StateValue does not see actions"):
            trainer(env, TabularSoftmax(env), StateValue(env), **sizes)
    with pytest.raises(ConfigError, match="override `distance`"):
        RolloutActorCritic(env, TabularSoftmax(env), OwnLoss(env), **sizes)
    shorter, longer = made("neural", env, rollout=4), made("neural", env, rollout=8)
    with pytest.raises(CheckpointError, match="4 steps"):
        longer.load_state_dict(shorter.state_dict())
    with pytest.raises(CheckpointError, match="holds replay, target, which this trainer does not have"):
        longer.load_state_dict({**longer.state_dict(), "replay": {"count": 0}, "target": {}})
    for option in ("n_step", "target_rate", "replay"):  # they were options once
        with pytest.raises(TypeError, match=f"unexpected keyword argument '{option}'"):
            made("neural", env, **{option: 1})


def test_the_td_error_is_that_of_the_steps_learned_from() -> None:
    """Root mean square over the rollouts that ended since the last log point; not a number where none did."""
    env, arrays = ENVIRONMENTS["wireless"](), ArrayLogger()
    trainer = made("additive", env, 1, rollout=8, log_every=4, loggers=[arrays])
    trainer.run(16)
    held = arrays.arrays()["critic/td_error"][:, 0]
    assert np.isnan(held[[0, 2]]).all()
    s, a, r = trainer.buffer.rollout
    whole = made("additive", env, 1, rollout=8, log_every=1000)
    whole.run(8)
    critic = whole.critic
    delta = critic.centered(r) + critic.q(s, a)[1:] - critic.q(s, a)[:-1]
    assert held[3] == pytest.approx(float(delta.detach().square().mean().sqrt()), rel=1e-12)
