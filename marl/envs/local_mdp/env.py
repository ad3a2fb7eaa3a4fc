"""These environments are given by explicit tables P_i and r_i over each agent's neighborhood."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from marl.core.environment import NetworkedMDP
from marl.core.errors import ConfigError
from marl.core.network import Network
from marl.envs.local_mdp import files, tables
from marl.kernels.arguments import FusedStep


class LocalMDP(NetworkedMDP):
    """Tables give P_i(s_i' | s_{N_i}, a_i) and r_i(s_i, a_i) of equation (1), or P_i(s_i' | z_{N_i}) and r_i(z_{N_i}).

    Let j1 < ... < jm be N_i, i itself included. Every agent's tables have one of two forms, told apart by their
    number of axes (an agent without neighbors has but one); agents may differ.

    transition[i]: private form [S_j1, ..., S_jm, A_i, S_i], general form [S_j1, A_j1, ..., S_jm, A_jm, S_i]; the last
    axis is s_i'. Rows must sum to one within 1e-9; those that are off by more than rounding are divided by their sum.
    reward[i]: private form [S_i, A_i], general form [S_j1, A_j1, ..., S_jm, A_jm]; any finite numbers.

    All actions are legal. A sampled reward is the expected one. A run starts in a uniform state per agent.

    Attributes, which lay all tables out flat (see `marl.envs.local_mdp.tables`; R rows in all): `transition_values` [R, S],
    `reward_values` [R], and for both `.._base` [n], `.._state_stride` and `.._action_stride` [n, m].
    Errors: `ConfigError` that names the table, and the entry or the shape that is wrong, or the size if too large.
    """

    def __init__(self, network: Network, transition: Iterable[Any], reward: Iterable[Any]):
        members = tables.neighbors(network)
        laws = tables.as_arrays("transition", transition, network.n)
        rewards = tables.as_arrays("reward", reward, network.n)
        law_axes, private_laws = tables.choose_forms("transition", laws, tables.transition_axes, members, "s'")
        reward_axes, private_rewards = tables.choose_forms("reward", rewards, tables.reward_axes, members, "")
        sizes = states, actions = tables.sizes_of(laws, law_axes)
        tables.check_shapes("transition", laws, law_axes, sizes, "s'")
        tables.check_shapes("reward", rewards, reward_axes, sizes, "")
        tables.check_entries(sizes, law_axes, reward_axes)
        tables.check_finite("transition", laws, 0.0, "probabilities must be finite and not negative")
        tables.check_finite("reward", rewards, -np.inf, "rewards must be finite")

        if not np.isfinite(np.ptp([[table.min(), table.max()] for table in rewards])):
            raise ConfigError("rewards must span a finite range; theirs is too wide for float64")

        self._shapes = [law.shape for law in laws], [table.shape for table in rewards]
        self._near = network.neighborhood(1).index
        law_rows = tables.lay_out(tables.normalized(laws), law_axes, members)
        self.transition_values, self.transition_base, self.transition_state_stride, self.transition_action_stride = law_rows
        reward_rows = tables.lay_out(rewards, reward_axes, members)
        self.reward_values, self.reward_base, self.reward_state_stride, self.reward_action_stride = reward_rows
        num_states, num_actions = torch.tensor(states), torch.tensor(actions)
        real_state = torch.arange(max(states)) < num_states[:, None]
        real_action = torch.arange(max(actions)) < num_actions[:, None]
        super().__init__(
            network,
            num_states=num_states,
            num_actions=num_actions,
            action_mask=real_state[:, :, None] & real_action[:, None, :],
            num_uniforms=1,
            reward_range=(float(self.reward_values.min()), float(self.reward_values.max())),
            private_actions=all(private_laws),
            private_rewards=all(private_rewards),
        )

    def as_tables(self) -> tuple[list[np.ndarray], list[np.ndarray]]:
        """Gives (transition, reward) back in the forms that they were given in."""
        laws = np.split(self.transition_values.numpy(), self.transition_base[1:].tolist())
        rewards = np.split(self.reward_values.numpy(), self.reward_base[1:].tolist())
        return (
            [rows[:, : shape[-1]].reshape(shape).copy() for rows, shape in zip(laws, self._shapes[0], strict=True)],
            [rows.reshape(shape).copy() for rows, shape in zip(rewards, self._shapes[1], strict=True)],
        )

    def save(self, path: str | Path) -> None:
        """Writes the file that `local_mdp_from_file` reads. Errors: `ConfigError` if it cannot be written."""
        files.write(path, self.network, *self.as_tables())

    def fused(self) -> FusedStep:
        """Gives the compiled step (see `marl.envs.local_mdp.kernel`) and its numbers."""
        from marl.envs.local_mdp import kernel  # numba takes its time: only where it is used

        rows, width = self.transition_values.shape
        laws = self.transition_base, self.transition_state_stride, self.transition_action_stride
        rewards = self.reward_base, self.reward_state_stride, self.reward_action_stride
        head = torch.tensor([self._near.shape[1], width, rows])
        ints = torch.cat([head, *(part.flatten() for part in (self._near, self.num_states, *laws, *rewards))])
        floats = torch.cat([self.transition_values.flatten(), self.reward_values])
        return FusedStep(kernel.step, ints.numpy(), floats.numpy())

    def _reset(self, u: Tensor) -> Tensor:
        return (u[..., -1] * self.num_states).long()

    def _rows(self, s: Tensor, a: Tensor, base: Tensor, state_stride: Tensor, action_stride: Tensor) -> Tensor:
        """Finds the row of every agent's table at (s, a) [..., n]."""
        near = self._near
        return (s[..., near] * state_stride + a[..., near] * action_stride).sum(dim=-1) + base

    def _transition(self, s: Tensor, a: Tensor) -> Tensor:
        rows = self._rows(s, a, self.transition_base, self.transition_state_stride, self.transition_action_stride)
        return self.transition_values[rows]

    def _reward(self, s: Tensor, a: Tensor) -> Tensor:
        return self.reward_values[self._rows(s, a, self.reward_base, self.reward_state_stride, self.reward_action_stride)]


def local_mdp_from_file(path: str | Path) -> LocalMDP:
    """Builds the environment of an `.npz` file: `n`, `edges` [E, 2], `transition_0` .. , `reward_0` .. (see `LocalMDP`).

    Errors: `ConfigError` if the file is missing or malformed, lacks an array or has one too many, or if its tables are
    refused.
    """
    network, transition, reward = files.read(path)
    try:
        return LocalMDP(network, transition, reward)
    except ConfigError as error:
        raise type(error)(f"env.path={path}: {error}") from None
