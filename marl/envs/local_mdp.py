"""Environments given by explicit tables P_i and r_i over each agent's neighborhood."""

import zipfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from marl.core.checks import integer
from marl.core.environment import NetworkedMDP
from marl.core.errors import ConfigError
from marl.core.files import write_atomically
from marl.kernels.arguments import FusedStep
from marl.core.network import Network
from marl.envs import tables


class LocalMDP(NetworkedMDP):
    """s_i' ~ P_i(. | s_{N_i}, a_i) and r_i(s_i, a_i) of equation (1), or P_i(. | z_{N_i}) and r_i(z_{N_i}), as tables.

    Let j1 < ... < jm be N_i, i itself included. Every agent's tables have one of two forms, told apart by their
    number of axes (an agent without neighbors has but one); agents may differ.

    transition[i]: private form [S_j1, ..., S_jm, A_i, S_i], general form [S_j1, A_j1, ..., S_jm, A_jm, S_i]; the last
    axis is s_i'. Rows must sum to one within 1e-9; those that are off by more than rounding are divided by their sum.
    reward[i]: private form [S_i, A_i], general form [S_j1, A_j1, ..., S_jm, A_jm]; any finite numbers.

    All actions are legal. A sampled reward is the expected one. A run starts in a uniform state per agent.

    Attributes, which lay all tables out flat (see `marl.envs.tables`; R rows in all): `transition_values` [R, S],
    `reward_values` [R], and for both `.._base` [n], `.._state_stride` and `.._action_stride` [n, m].
    Errors: `ConfigError` that names the table, and the entry or the shape that is wrong, or the size if too large.
    """

    def __init__(self, network: Network, transition: Iterable[Any], reward: Iterable[Any]):
        members = tables.neighbors(network)
        laws, paid = tables.as_arrays("transition", transition, network.n), tables.as_arrays("reward", reward, network.n)
        law_axes, private_laws = tables.choose_forms("transition", laws, tables.transition_axes, members, "s'")
        paid_axes, private_paid = tables.choose_forms("reward", paid, tables.reward_axes, members, "")
        sizes = states, actions = tables.sizes_of(laws, law_axes)
        tables.check_shapes("transition", laws, law_axes, sizes, "s'")
        tables.check_shapes("reward", paid, paid_axes, sizes, "")
        tables.check_entries(sizes, law_axes, paid_axes)
        tables.check_finite("transition", laws, 0.0, "probabilities must be finite and not negative")
        tables.check_finite("reward", paid, -np.inf, "rewards must be finite")

        if not np.isfinite(np.ptp([[table.min(), table.max()] for table in paid])):
            raise ConfigError("rewards must span a finite range; theirs is too wide for float64")

        self._shapes = [law.shape for law in laws], [table.shape for table in paid]
        self._near = network.neighborhood(1).index
        law_rows = tables.lay_out(tables.normalised(laws), law_axes, members)
        self.transition_values, self.transition_base, self.transition_state_stride, self.transition_action_stride = law_rows
        paid_rows = tables.lay_out(paid, paid_axes, members)
        self.reward_values, self.reward_base, self.reward_state_stride, self.reward_action_stride = paid_rows
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
            private_rewards=all(private_paid),
        )

    def as_tables(self) -> tuple[list[np.ndarray], list[np.ndarray]]:
        """(transition, reward) in the forms that they were given in."""
        held = (self.transition_values, self.transition_base), (self.reward_values, self.reward_base)
        laws, paid = (np.split(values.numpy(), base[1:].tolist()) for values, base in held)
        return (
            [rows[:, : shape[-1]].reshape(shape).copy() for rows, shape in zip(laws, self._shapes[0], strict=True)],
            [rows.reshape(shape).copy() for rows, shape in zip(paid, self._shapes[1], strict=True)],
        )

    def save(self, path: str | Path) -> None:
        """Writes the file that `local_mdp_from_file` reads. Errors: `ConfigError` if it cannot be written."""
        named = zip(("transition", "reward"), self.as_tables(), strict=True)
        arrays = {f"{name}_{i}": table for name, tables_ in named for i, table in enumerate(tables_)}
        content = {"n": np.array(self.n), "edges": self.network.edges, **arrays}
        try:
            write_atomically(Path(path), lambda file: np.savez(file, **content))  # type: ignore[arg-type]
        except OSError as error:
            raise ConfigError(f"tables cannot be written to {path}: {error.strerror or error}") from None

    def fused(self) -> FusedStep:
        """The step compiled; see `marl.kernels.steps.tables`."""
        from marl.kernels import steps  # numba takes its time: only where it is used

        rows, width = self.transition_values.shape
        laws = self.transition_base, self.transition_state_stride, self.transition_action_stride
        paid = self.reward_base, self.reward_state_stride, self.reward_action_stride
        head = torch.tensor([self._near.shape[1], width, rows])
        ints = torch.cat([head, *(part.flatten() for part in (self._near, self.num_states, *laws, *paid))])
        return FusedStep(
            steps.tables, ints.numpy(), torch.cat([self.transition_values.flatten(), self.reward_values]).numpy()
        )

    def _reset(self, u: Tensor) -> Tensor:
        return (u[..., -1] * self.num_states).long()

    def _rows(self, s: Tensor, a: Tensor, base: Tensor, state_stride: Tensor, action_stride: Tensor) -> Tensor:
        """The row of every agent's table at (s, a) [..., n]."""
        near = self._near
        return (s[..., near] * state_stride + a[..., near] * action_stride).sum(dim=-1) + base

    def _transition(self, s: Tensor, a: Tensor) -> Tensor:
        rows = self._rows(s, a, self.transition_base, self.transition_state_stride, self.transition_action_stride)
        return self.transition_values[rows]

    def _reward(self, s: Tensor, a: Tensor) -> Tensor:
        return self.reward_values[self._rows(s, a, self.reward_base, self.reward_state_stride, self.reward_action_stride)]


def local_mdp_from_file(path: str | Path) -> LocalMDP:
    """The tables of an `.npz` file: `n`, `edges` [E, 2], `transition_0` .. , `reward_0` .. (see `LocalMDP`).

    Errors: `ConfigError` if the file is missing or malformed, lacks an array or holds one too many, or if its tables
    are refused.
    """
    if not isinstance(path, (str, Path)):
        raise ConfigError(f"env.path must be the path of an .npz file of tables, got {path!r}")
    content = _arrays(path)
    try:
        if content["n"].size != 1:
            raise ConfigError(f"n must be one whole number, got an array of shape {content['n'].shape}")
        n = integer("n", content["n"].item(), 1)
        laws, paid = ([content[f"{name}_{i}"] for i in range(n)] for name in ("transition", "reward"))
        if len(content) > 2 * n + 2:
            known = {"n", "edges", *(f"{name}_{i}" for name in ("transition", "reward") for i in range(n))}
            raise ConfigError(f"there are {n} agents, so there can be no array {min(set(content) - known)!r}")
        return LocalMDP(Network.from_edges(n, content["edges"]), laws, paid)
    except KeyError as error:
        raise ConfigError(f"env.path={path} has no array {error}") from None
    except ConfigError as error:
        raise type(error)(f"env.path={path}: {error}") from None


def _arrays(path: str | Path) -> dict[str, np.ndarray]:
    """Every array of an .npz file; nothing in it is ever executed."""
    try:
        with open(path, "rb") as file:
            archived = zipfile.is_zipfile(file)
    except (OSError, ValueError) as error:  # ValueError: a name with a zero byte
        raise ConfigError(f"env.path={path} cannot be read: {getattr(error, 'strerror', None) or error}") from None
    if not archived:
        raise ConfigError(f"env.path={path} is no .npz file; numpy.savez or LocalMDP.save writes one")
    held: dict[str, np.ndarray] = {}
    with np.load(path, allow_pickle=False) as archive:
        for name in archive.files:
            try:
                held[name] = np.asarray(archive[name])
            except Exception as error:  # numpy, zipfile and zlib have many
                if "Object arrays" in str(error):
                    raise ConfigError(f"env.path={path}: {name} holds Python objects, not numbers") from None
                raise ConfigError(f"env.path={path} is damaged: {name} cannot be read ({error})") from None
    return held
