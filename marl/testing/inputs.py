"""Random inputs for contract kits are states that exist, actions that are legal in them, and uniforms."""

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from marl.core.critic import Transition
from marl.core.environment import ALMOST_ONE, Environment, FiniteEnvironment

ActionDraw = Callable[[Tensor, torch.Generator], Tensor]
"""Draws a legal action of every agent at states s [B, n, ...] with the numbers of a generator."""


class Inputs(NamedTuple):
    """This is what a step takes. Shapes: s, a [batch, n, ...], u [batch, n, num_uniforms]."""

    s: Tensor
    a: Tensor
    u: Tensor


def random_inputs(env: FiniteEnvironment, batch: int, seed: int) -> Inputs:
    """Draws real states, legal actions s, a [batch, n], uniforms u [batch, n, U]; the last row has the largest below 1."""
    draw = torch.Generator().manual_seed(seed)
    states = torch.arange(env.action_mask.shape[1]) < env.num_states[:, None]
    s = torch.multinomial(states.double(), batch, replacement=True, generator=draw).T.contiguous()
    a = legal_actions(env, s, draw)
    u = torch.rand(batch, env.n, env.num_uniforms, generator=draw, dtype=torch.float64)
    u[-1] = ALMOST_ONE
    return Inputs(s, a, u)


def legal_actions(env: FiniteEnvironment, s: Tensor, draw: torch.Generator) -> Tensor:
    """Draws actions; every legal one of an agent is equally likely. Shapes: s [batch, n] -> [batch, n]."""
    legal = env.action_mask[torch.arange(env.n), s]
    return torch.multinomial(legal.double().flatten(0, 1), 1, generator=draw).reshape(s.shape)


def walked_inputs(env: Environment, draw_actions: ActionDraw, batch: int, seed: int) -> Inputs:
    """Draws starting states and those up to three steps later, of any environment; otherwise as `random_inputs`."""
    draw = torch.Generator().manual_seed(seed)

    def uniforms() -> Tensor:
        return torch.rand(batch, env.n, env.num_uniforms, generator=draw, dtype=torch.float64)

    s = env.reset(uniforms())
    for k in range(3):
        walks = (torch.arange(batch) % 4 > k).view(-1, *[1] * (s.ndim - 1))
        s = torch.where(walks, env.step(s, draw_actions(s, draw), uniforms())[0], s)
    u = uniforms()
    u[-1] = ALMOST_ONE
    return Inputs(s, draw_actions(s, draw), u)


def random_pairs(env: FiniteEnvironment, *shape: int, seed: int) -> tuple[Tensor, Tensor]:
    """Draws real states and legal actions with any axes in front of the agents. Shapes: [*shape, n] each."""
    s, a, _ = random_inputs(env, int(torch.tensor(shape).prod()), seed)
    return s.reshape(*shape, env.n), a.reshape(*shape, env.n)


def random_transition(env: FiniteEnvironment, replicas: int, seed: int) -> Transition:
    """Draws legal pairs and rewards of both signs without dynamics, so that every pair is met. Shapes: [replicas, n]."""
    (s, next_s), (a, next_a) = random_pairs(env, 2, replicas, seed=seed)
    draw = torch.Generator().manual_seed(seed)
    return Transition(s, a, torch.randn(replicas, env.n, generator=draw, dtype=torch.float64), next_s, next_a)
