"""In random instances of appendix B.4 every transition probability and every reward is drawn at random."""

import math

import numpy as np

from marl.core.checks import boolean, choice, integer, number
from marl.core.errors import ConfigError
from marl.core.network import Network
from marl.envs.graph import graph as named_graph
from marl.envs.local_mdp import tables
from marl.envs.local_mdp.env import LocalMDP
from marl.envs.per_agent import integers


def random_local_mdp(
    graph: str | Network = "line:10",
    num_states: int | list[int] = 2,
    num_actions: int | list[int] = 3,
    distribution: str = "normalized",
    interaction: float = 1.0,
    private_actions: bool = True,
    private_rewards: bool = True,
    reward_low: float = 0.0,
    reward_high: float = 1.0,
    instance_seed: int = 0,
) -> LocalMDP:
    """Draws a `LocalMDP` from `numpy.random.default_rng(instance_seed)`.

    graph: see `marl.envs.graph`. num_states, num_actions: one for all or a list with one per agent.
    distribution of a row P_i(. | .): `normalized` = independent U[0,1) numbers divided by their sum; `dirichlet` =
    uniform on the simplex. Rewards are uniform in [reward_low, reward_high].
    interaction: x in [0, 1]; laws are (1 - x) times a row that depends on nothing, drawn once per agent, plus x times the
    random rows: the smaller x, the less agents notice of each other. The paper's instances have x = 1.
    private_actions, private_rewards: P_i sees only a_i of the actions, r_i only z_i (equation (1)); else all z_{N_i}.

    Draws, agent by agent: its transition table, its reward table, the row that depends on nothing; entries in order.
    Errors: `ConfigError`.
    """
    network = named_graph(graph)
    states = integers("env.num_states", num_states, network.n, "agent", 1).tolist()
    actions = integers("env.num_actions", num_actions, network.n, "agent", 1).tolist()
    dirichlet = choice("env.distribution", distribution, ("normalized", "dirichlet")) == "dirichlet"
    interaction = number("env.interaction", interaction, 0.0, 1.0)
    private_actions = boolean("env.private_actions", private_actions)
    private_rewards = boolean("env.private_rewards", private_rewards)
    low, high = number("env.reward_low", reward_low), number("env.reward_high", reward_high)
    if not (low <= high and math.isfinite(high - low)):
        raise ConfigError(f"env.reward_low={low:g} must not be above env.reward_high={high:g}, nor infinitely far below")
    draw = np.random.default_rng(integer("env.instance_seed", instance_seed, 0))

    near = tables.neighbors(network)
    law_axes = [tables.transition_axes(i, members, private_actions) for i, members in enumerate(near)]
    reward_axes = [tables.reward_axes(i, members, private_rewards) for i, members in enumerate(near)]
    sizes = (states, actions)
    tables.check_entries(sizes, law_axes, reward_axes)
    transition, reward = [], []
    for i in range(network.n):
        shape = tables.shape_of(law_axes[i], sizes)
        rows = _rows(draw, dirichlet, (*shape, states[i]))
        reward.append(draw.uniform(low, high, tables.shape_of(reward_axes[i], sizes)))
        common = _rows(draw, dirichlet, (states[i],))
        transition.append(rows if interaction == 1.0 else interaction * rows + (1.0 - interaction) * common)
    return LocalMDP(network, transition, reward)


def _rows(draw: np.random.Generator, dirichlet: bool, shape: tuple[int, ...]) -> np.ndarray:
    """Draws distributions over the last axis."""
    if dirichlet:
        return draw.dirichlet(np.ones(shape[-1]), size=shape[:-1])
    weight = draw.random(shape)
    return weight / weight.sum(axis=-1, keepdims=True)
