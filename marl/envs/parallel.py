"""Any finite environment becomes a PettingZoo `ParallelEnv`, so that other libraries can train on it."""

import operator
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from gymnasium.spaces import Discrete
from pettingzoo import ParallelEnv

from marl.core.checks import integer
from marl.core.environment import Environment, finite_environment
from marl.core.errors import ConfigError

STEPS = 1000


class ParallelEnvironment(ParallelEnv):  # type: ignore[misc]
    """Agent i is "agent_i": it observes s_i, in Discrete(num_states[i]), and earns r_i.

    Actions are Discrete(num_actions[i]); infos[agent]["action_mask"] says which are legal in its state, and one that is not
    is taken as the first that is (on the wireless network: send nothing). The network goes on for ever: an episode is cut
    (truncated) after `steps` steps, and no one ever terminates.

    `reset(seed)` starts the noise anew; without a seed it goes on. Errors: `ConfigError` for an action that does not exist,
    and for an environment without numbered states and actions.
    """

    metadata = {"name": "marl_v0", "render_modes": [], "is_parallelizable": True}  # noqa: RUF012
    render_mode = None

    def __init__(self, env: Environment, steps: int = STEPS):
        self.env = finite_environment(env, type(self).__name__)
        self.steps = integer("steps", steps, 1)
        self.possible_agents = [f"agent_{i}" for i in range(env.n)]
        self.agents: list[str] = []
        self.observation_spaces = self._spaces(self.env.num_states)
        self.action_spaces = self._spaces(self.env.num_actions)
        self._noise = np.random.default_rng()

    def observation_space(self, agent: str) -> Discrete:
        return self.observation_spaces[agent]

    def action_space(self, agent: str) -> Discrete:
        return self.action_spaces[agent]

    def reset(
        self, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[dict[str, np.int64], dict[str, Any]]:
        """Starts afresh and gives (observations, infos)."""
        if seed is not None:
            self._noise = np.random.default_rng(seed)
        self.agents, self._t = list(self.possible_agents), 0
        self._s = self.env.reset(self._uniforms())
        return self._observed(), self._infos()

    def step(self, actions: dict[str, Any]) -> tuple[dict[str, Any], ...]:
        """Takes one action of every agent; gives (observations, rewards, terminations, truncations, infos)."""
        if not isinstance(actions, Mapping) or not self.agents:
            raise ConfigError(
                f"step takes a dictionary with an action of every agent, got {actions!r}"
                if self.agents
                else "there is no episode to take a step in; call reset first"
            )
        a = self._legal_actions(torch.tensor([_number(agent, actions) for agent in self.agents]))[None]
        self._s, r = self.env.step(self._s, a, self._uniforms())
        self._t += 1
        over = self._t >= self.steps
        outcome = (
            self._observed(),
            dict(zip(self.agents, r[0].tolist(), strict=True)),
            dict.fromkeys(self.agents, False),
            dict.fromkeys(self.agents, over),
            self._infos(),
        )
        if over:
            self.agents = []
        return outcome

    def state(self) -> np.ndarray:
        """Gives the states of all agents [n]."""
        return self._s[0].numpy().copy()

    def render(self) -> None:
        """There is nothing to see."""

    def close(self) -> None:
        """There is nothing to close."""

    def _uniforms(self) -> torch.Tensor:
        return torch.from_numpy(self._noise.random((1, self.env.n, self.env.num_uniforms)))

    def _spaces(self, sizes: torch.Tensor) -> dict[str, Discrete]:
        return {agent: Discrete(size) for agent, size in zip(self.possible_agents, sizes.tolist(), strict=True)}

    def _observed(self) -> dict[str, np.int64]:
        return dict(zip(self.agents, self._s[0].numpy().copy(), strict=True))  # numbers of NumPy, as a space has them

    def _legal(self) -> torch.Tensor:
        return self.env.action_mask[torch.arange(self.env.n), self._s[0]]

    def _infos(self) -> dict[str, Any]:
        masks = self._legal().numpy().astype(np.int8)
        sizes = self.env.num_actions.tolist()
        return {agent: {"action_mask": mask[:size]} for agent, mask, size in zip(self.agents, masks, sizes, strict=True)}

    def _legal_actions(self, a: torch.Tensor) -> torch.Tensor:
        wrong = ((a < 0) | (a >= self.env.num_actions)).nonzero().flatten().tolist()
        if wrong:
            i = wrong[0]
            raise ConfigError(f"agent_{i} has actions 0 to {int(self.env.num_actions[i]) - 1}, got {int(a[i])}")
        legal = self._legal()
        return torch.where(legal.gather(1, a[:, None])[:, 0], a, legal.int().argmax(dim=1))


def _number(agent: str, actions: dict[str, Any]) -> int:
    """Reads the action of an agent, a whole number of any kind. Errors: `ConfigError` if there is none."""
    try:
        return operator.index(actions[agent])
    except KeyError:
        raise ConfigError(f"the actions lack {agent}: there must be one for every agent") from None
    except TypeError:
        raise ConfigError(f"the action of {agent} must be a whole number, got {actions[agent]!r}") from None
