"""What any environment owes its users; `check_environment(env)` runs every check that applies to it."""

import math

import torch
from torch import Tensor

from marl.core.environment import FiniteEnvironment, NetworkedMDP
from marl.testing import random_inputs

Inputs = tuple[Tensor, Tensor, Tensor]
"""s [B, n], a [B, n] (legal), u [B, n, num_uniforms]."""


def check_environment(env: FiniteEnvironment, *, batch: int = 64, draws: int = 20_000) -> None:
    """Every check on `batch` random inputs; the law is held against `draws` samples of six of them."""
    check_facts(env)
    inputs = random_inputs(env, batch, 0)
    check_shapes_and_ranges(env, inputs)
    check_purity(env, inputs)
    check_rows_are_independent(env, inputs)
    check_only_neighbors_matter(env, inputs)
    check_privacy(env, inputs)
    if isinstance(env, NetworkedMDP):
        check_law(env, inputs)
        check_samples_follow_the_law(env, draws)


def check_facts(env: FiniteEnvironment) -> None:
    """Sizes agree with the mask, and every real state has a legal action."""
    n, states, actions = env.action_mask.shape
    assert n == env.n == env.network.n == len(env.num_states) == len(env.num_actions)
    assert (states, actions) == (int(env.num_states.max()), int(env.num_actions.max()))
    real = torch.arange(states) < env.num_states[:, None]
    assert torch.equal(env.action_mask.any(dim=2), real)
    assert not env.action_mask.any(dim=1)[torch.arange(actions) >= env.num_actions[:, None]].any()
    assert torch.equal(env.pair_index >= 0, env.action_mask)
    assert env.reward_range[0] <= env.reward_range[1]


def check_shapes_and_ranges(env: FiniteEnvironment, inputs: Inputs) -> None:
    """int64 states that exist, float64 rewards within their range, from `step` and from `reset`."""
    s, a, u = inputs
    s_next, r = env.step(s, a, u)
    for states in (s_next, env.reset(u)):
        assert (states.shape, states.dtype) == (s.shape, torch.int64)
        assert ((states >= 0) & (states < env.num_states)).all()
    assert (r.shape, r.dtype) == (s.shape, torch.float64)
    assert ((r >= env.reward_range[0]) & (r <= env.reward_range[1])).all()


def check_purity(env: FiniteEnvironment, inputs: Inputs) -> None:
    """Same inputs, same outputs, whatever was asked in between; the inputs are left alone."""
    kept = [x.clone() for x in inputs]
    s, a, u = inputs
    first = (*env.step(s, a, u), env.reset(u))
    env.step(*random_inputs(env, 3, 1))
    for before, after in zip(first, (*env.step(s, a, u), env.reset(u)), strict=True):
        assert torch.equal(before, after)
    assert all(torch.equal(x, y) for x, y in zip(inputs, kept, strict=True))


def check_rows_are_independent(env: FiniteEnvironment, inputs: Inputs) -> None:
    """Row b of a batch is what a batch of that row alone gives."""
    s, a, u = inputs
    together = (*env.step(s, a, u), env.reset(u))
    for b in range(len(s)):
        row = slice(b, b + 1)
        alone = (*env.step(s[row], a[row], u[row]), env.reset(u[row]))
        assert all(torch.equal(x[row], y) for x, y in zip(together, alone, strict=True))


def outcome(env: FiniteEnvironment, inputs: Inputs) -> list[Tensor]:
    """s', r and, where the environment states them, its law and expected rewards; agents on axis 1."""
    s, a, u = inputs
    law = [env.transition(s, a), env.reward(s, a)] if isinstance(env, NetworkedMDP) else []
    return [*env.step(s, a, u), *law]


def check_only_neighbors_matter(env: FiniteEnvironment, inputs: Inputs) -> None:
    """What becomes of agent i does not change with the states, actions and noise of agents outside N_i."""
    index, mask, _ = env.network.neighborhood(1)
    near = outcome(env, inputs)
    for i in range(env.n):
        changed = random_inputs(env, len(inputs[0]), 2 + i)
        members = index[i, mask[i]]
        for other, kept in zip(changed, inputs, strict=True):
            other[:, members] = kept[:, members]
        assert all(torch.equal(x[:, i], y[:, i]) for x, y in zip(near, outcome(env, changed), strict=True))


def check_privacy(env: FiniteEnvironment, inputs: Inputs) -> None:
    """`private_actions`: s_i' sees no other agent's action. `private_rewards`: r_i sees no other agent's pair."""
    s, a, u = inputs
    for i in range(env.n):
        other_s, other_a, _ = random_inputs(env, len(s), 1000 + i)
        other_s[:, i], other_a[:, i] = s[:, i], a[:, i]
        if env.private_actions:
            legal = env.action_mask[torch.arange(env.n), s].gather(-1, other_a.unsqueeze(-1)).squeeze(-1)
            s_next = env.step(s, torch.where(legal, other_a, a), u)[0]
            assert torch.equal(s_next[:, i], env.step(s, a, u)[0][:, i])
        if env.private_rewards:
            assert torch.equal(env.step(other_s, other_a, u)[1][:, i], env.step(s, a, u)[1][:, i])


def check_law(env: NetworkedMDP, inputs: Inputs) -> None:
    """Rows of the law are probabilities of real states, expected rewards in range; any leading axes give the same."""
    s, a, _ = inputs
    law, mean = env.transition(s, a), env.reward(s, a)
    assert (law.shape, law.dtype) == ((*s.shape, env.action_mask.shape[1]), torch.float64)
    assert (mean.shape, mean.dtype) == (s.shape, torch.float64)
    assert law.min() >= 0.0
    assert (law.sum(dim=-1) - 1.0).abs().max() < 1e-12
    assert not law[:, torch.arange(law.shape[-1]) >= env.num_states[:, None]].any()
    assert ((mean >= env.reward_range[0]) & (mean <= env.reward_range[1])).all()
    for shape in ((), (1,), (2, 3)):
        rows = torch.arange(math.prod(shape)).reshape(shape)
        assert torch.equal(env.transition(s[rows], a[rows]), law[rows])
        assert torch.equal(env.reward(s[rows], a[rows]), mean[rows])


def check_samples_follow_the_law(env: NetworkedMDP, draws: int) -> None:
    """Frequencies of s_i' and means of r_i of six (s, a); a right sampler fails with probability below 1e-9."""
    s, a, _ = random_inputs(env, 6, 3)
    level = math.log(2 * 6 * env.n * (env.action_mask.shape[1] + 1) / 1e-9)
    low, high = env.reward_range
    for k in range(6):
        u = torch.rand(draws, env.n, env.num_uniforms, dtype=torch.float64, generator=torch.Generator().manual_seed(k))
        s_next, r = env.step(s[k].repeat(draws, 1), a[k].repeat(draws, 1), u)
        p = env.transition(s[k], a[k])
        share = torch.stack([(s_next == x).double().mean(dim=0) for x in range(p.shape[-1])], dim=-1)
        bernstein = (2 * p * (1 - p) * level / draws).sqrt() + 2 * level / (3 * draws)
        assert ((share - p).abs() <= torch.where(p > 0, bernstein, 0.0)).all()
        hoeffding = (high - low) * math.sqrt(level / (2 * draws)) + 1e-12
        assert (r.mean(dim=0) - env.reward(s[k], a[k])).abs().max() <= hoeffding
