"""A model of the environment is counted from what was seen: P_i(s_i' | z_{N_i}) and r_i(z_{N_i}), smoothed."""

import torch
import torch.nn.functional as F
from torch import Tensor

from marl.core.checks import gib, size
from marl.core.environment import FiniteEnvironment, NetworkedMDP
from marl.core.errors import ConfigError, NotEnoughMemoryError
from marl.core.memory import require
from marl.core.snapshot import SnapshotModule
from marl.trainers.local_rows import LocalRows, sizes
from marl.trainers.rollout import Rollout

MAX_NEIGHBORS = 8
"""Most neighbors of an agent whose law is counted."""
MAX_ENTRIES = 2**27
"""Most counts over all replicas (1 GiB)."""


class LearnedMDP(NetworkedMDP):
    """This environment has the network, states and actions of another one, and laws and rewards that were learned.

    Several laws may be given: row k of the states [K, n] obeys number which[k]. With one, states have any leading axes. A
    run starts in a uniform state per agent; a sampled reward is the expected one.
    rows: what numbers those of laws, and of rewards. tables: law [L, R, S], rewards [L, R']. Shapes: which [K].
    """

    def __init__(
        self, env: FiniteEnvironment, rows: tuple[LocalRows, LocalRows], tables: tuple[Tensor, Tensor], which: Tensor
    ):
        self._parts = env, rows, tables
        (self._law_rows, self._reward_rows), (law, rewards) = rows, tables
        self._law, self._rewards = law.flatten(0, 1), rewards.flatten()
        which = which[:, None] if len(law) > 1 or len(which) > 1 else which[0]
        self._law_start, self._reward_start = which * law.shape[1], which * rewards.shape[1]
        super().__init__(
            env.network,
            num_states=env.num_states,
            num_actions=env.num_actions,
            action_mask=env.action_mask,
            num_uniforms=1,
            reward_range=env.reward_range,
            private_actions=env.private_actions,
            private_rewards=env.private_rewards,
        )

    def of(self, number: int) -> "LearnedMDP":
        """Returns the one that obeys this law alone, with states of any leading axes."""
        env, rows, (law, rewards) = self._parts
        one = slice(number, number + 1)
        return LearnedMDP(env, rows, (law[one], rewards[one]), torch.zeros(1, dtype=torch.int64))

    def _reset(self, u: Tensor) -> Tensor:
        return (u[..., -1] * self.num_states).long()

    def _transition(self, s: Tensor, a: Tensor) -> Tensor:
        return self._law[self._law_rows.row(s, a) + self._law_start]

    def _reward(self, s: Tensor, a: Tensor) -> Tensor:
        return self._rewards[self._reward_rows.row(s, a) + self._reward_start]


class Counts(SnapshotModule):
    """These count, for every agent and replica, how often x_{N_i} was followed by s_i', and add up the rewards.

    Of N visits to x_{N_i}, which the environment says to be z_{N_i}, or s_{N_i} and a_i where actions are private (rewards:
    z_{N_i}, or z_i), the model is, c = `smoothing` and N(x, s') of them followed by s':

        P_i(s' | x_{N_i}) = (N(x_{N_i}, s') + c P(s')) / (N(x_{N_i}) + c)
        P(s') ~ P_i(s' | x_i) prod_{j in N_i, j != i} P_i(s' | x_i, x_j) / P_i(s' | x_i)
        P_i(s' | x_i, x_j) = (N(x_i, x_j, s') + c P_i(s' | x_i)) / (N(x_i, x_j) + c)
        P_i(s' | x_i) = (N(x_i, s') + c / |S_i|) / (N(x_i) + c)

    so what was seen a few times only is filled in by what each neighbor does by itself. Mean rewards are smoothed likewise
    with `reward_smoothing`, where effects of neighbors add up, down to the mean of all
    rewards of the agent, and stay within the range of rewards.

    Shapes: buffers law [B, R, S], law_pairs [B, R2, S], reward [B, R', 2], reward_pairs [B, R2', 2]: (visits, sum).
    Errors: `ConfigError` with sizes where an agent has more than 8 neighbors, or counts would not fit.
    """

    law: Tensor
    law_pairs: Tensor
    reward: Tensor
    reward_pairs: Tensor

    def __init__(self, env: FiniteEnvironment, replicas: int):
        super().__init__()
        self.env = env
        law = {"sees_actions": not env.private_actions, "sees_neighbors": True}
        reward = {"sees_actions": not env.private_rewards, "sees_neighbors": not env.private_rewards}
        states = int(env.num_states.max())
        _check_size(env, replicas, sizes(env, **law), sizes(env, **reward), states)
        self.law_rows, self.reward_rows = LocalRows(env, **law), LocalRows(env, **reward)
        for name, rows, width in (("law", self.law_rows, states), ("reward", self.reward_rows, 2)):
            self.register_buffer(name, torch.zeros(replicas, rows.count, width, dtype=torch.float64))
            self.register_buffer(f"{name}_pairs", torch.zeros(replicas, rows.pair_count, width, dtype=torch.float64))

    def add(self, rollout: Rollout) -> None:
        """Counts K steps of trajectories side by side. Shapes: fields [K (+ 1), copies, B, n]."""
        s, a = rollout.s[:-1], rollout.a[:-1]
        followed = F.one_hot(rollout.s[1:], self.law.shape[-1]).to(self.law)
        _tally(self.law, self.law_pairs, self.law_rows, self.law_rows.row(s, a), followed)
        earned = torch.stack([torch.ones_like(rollout.r), rollout.r], dim=-1)
        _tally(self.reward, self.reward_pairs, self.reward_rows, self.reward_rows.row(s, a), earned)

    def model(self, smoothing: float, reward_smoothing: float, branches: int = 1) -> LearnedMDP:
        """Makes the model of all replicas, for states [branches * B, n] in which replicas run fastest."""
        which = torch.arange(len(self.law)).repeat(branches)
        law, rewards = self._smooth_law(smoothing), self._smooth_rewards(reward_smoothing)
        return LearnedMDP(self.env, (self.law_rows, self.reward_rows), (law, rewards), which)

    def _smooth_law(self, c: float) -> Tensor:
        rows = self.law_rows
        uniform = (torch.arange(self.law.shape[-1]) < self.env.num_states[:, None]) / self.env.num_states[:, None]
        visits = self.law_pairs.sum(dim=-1, keepdim=True)
        alone = ((self.law_pairs + c * uniform[rows.pair_agent]) / (visits + c))[:, rows.alone]
        lift = (self.law_pairs + c * alone) / (visits + c) / alone.where(alone > 0.0, 1.0)
        base = alone[:, rows.own]
        for pairs, others in zip(rows.pairs.T, rows.others.T, strict=True):  # neighbor by neighbor: a row is seldom wide
            base = base * lift[:, pairs.where(others, 0)].where(others[:, None], 1.0)
        base /= base.sum(dim=-1, keepdim=True)
        return (self.law + c * base) / (self.law.sum(dim=-1, keepdim=True) + c)

    def _smooth_rewards(self, c: float) -> Tensor:
        rows = self.reward_rows
        total = self.reward.new_zeros(len(self.reward), self.env.n, 2).index_add_(1, rows.agent, self.reward)
        mean = total[..., 1] / total[..., 0].clamp(min=1.0)
        visits, summed = self.reward_pairs.unbind(dim=-1)
        alone = ((summed + c * mean[:, rows.pair_agent]) / (visits + c))[:, rows.alone]
        lift = (summed + c * alone) / (visits + c) - alone
        base = alone[:, rows.own]
        for pairs, others in zip(rows.pairs.T, rows.others.T, strict=True):
            base = base + lift[:, pairs.where(others, 0)].where(others, 0.0)
        visits, summed = self.reward.unbind(dim=-1)
        return ((summed + c * base) / (visits + c)).clamp(*self.env.reward_range)


def _tally(table: Tensor, pairs: Tensor, rows: LocalRows, row: Tensor, what: Tensor) -> None:
    """Adds what was seen in rows [K, B, n] to both tables. Shapes: what [K, B, n, W]."""
    replica = torch.arange(len(table))[:, None]
    table.view(-1, table.shape[-1]).index_add_(0, (row + replica * rows.count).flatten(), what.flatten(0, -2))
    seen = rows.seen[row]
    each = what[..., None, :].expand(*seen.shape, what.shape[-1])[seen]
    at = (rows.pairs[row] + replica[..., None] * rows.pair_count)[seen]
    pairs.view(-1, pairs.shape[-1]).index_add_(0, at, each)


def _check_size(env: FiniteEnvironment, replicas: int, law: Tensor, reward: Tensor, states: int) -> None:
    """Checks before anything is numbered. Shapes: law, reward [n, m], how many values every neighbor takes."""
    members = env.network.neighborhood(1).size
    i = int(members.argmax())
    if int(members[i]) - 1 > MAX_NEIGHBORS:
        raise ConfigError(
            f"trainer=certainty_equivalence counts what follows the joint pairs of at most {MAX_NEIGHBORS} neighbors, and "
            f"agent {i} has {int(members[i]) - 1}; use a graph of smaller degree, or method=recommended"
        )
    of_law, of_reward = law.double().prod(dim=1), reward.double().prod(dim=1)
    entries = int(replicas * (states * of_law + 2 * of_reward).sum())
    worst = int((states * of_law).argmax())
    told = (
        f"trainer=certainty_equivalence counts {size(entries)} numbers over {replicas} replicas, "
        f"{size(int(of_law[worst]))} rows of {states} states for agent {worst}"
    )
    advice = "use fewer states, actions, neighbors or replicas, or method=recommended"
    if entries > MAX_ENTRIES:
        raise ConfigError(f"{told}, more than the {size(MAX_ENTRIES)} that are allowed; {advice}")
    try:
        require(6 * 8 * entries, told)
    except NotEnoughMemoryError as error:
        raise ConfigError(f"{error}: {gib(48 * entries)} GiB with the model; {advice}") from None
