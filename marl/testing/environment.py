"""An environment must be pure and local, and keep what it says of itself."""

import functools

import torch
from torch import Tensor

from marl.core.checks import integer
from marl.core.environment import Environment, FiniteEnvironment, NetworkedMDP
from marl.core.errors import ConfigError
from marl.testing.demands import demand, demand_equal
from marl.testing.fused_step import check_fused_step
from marl.testing.inputs import ActionDraw, Inputs, legal_actions, random_inputs, walked_inputs
from marl.testing.law import check_law
from marl.trainers.fusible import form_of


def check_environment(
    env: Environment, *, samples: int = 64, draws: int = 20_000, draw_actions: ActionDraw | None = None
) -> None:
    """Holds an environment of any kind against what it owes, on `samples` random inputs with a fixed seed.

    Always: shapes, purity, rows of a batch that do not see one another, nothing but the neighborhood N_i matters to agent
    i, `private_actions`, `private_rewards` and `reward_range` are true. Of a `FiniteEnvironment` also that next states
    exist; of a `NetworkedMDP` that its law is one and that `draws` samples of six inputs follow it (a right one is refused
    with probability below 1e-8); of a class that defines `fused` that its compiled step is `step`.
    draw_actions: draws legal actions at states s with a generator; needed where actions are not numbered.

    Errors: `ContractError` that says what differs and where; `ConfigError` if actions cannot be drawn.
    """
    samples, draws = integer("samples", samples, 2), integer("draws", draws, 1)
    if isinstance(env, FiniteEnvironment):
        draw_actions, draw = functools.partial(legal_actions, env), functools.partial(random_inputs, env)
    elif draw_actions is None:
        raise ConfigError(
            f"actions of {type(env).__name__} are not numbered; give check_environment(draw_actions=...), a function of "
            "the states and a torch.Generator that draws legal actions"
        )
    else:
        draw = functools.partial(walked_inputs, env, draw_actions)
    inputs = draw(samples, 0)
    others = [draw(samples, 1 + i) for i in range(env.n)]
    _check_purity(env, inputs, draw(3, 1))
    _check_results(env, inputs)
    _check_rows(env, inputs)
    _check_locality(env, inputs, others)
    _check_privacy(env, inputs, others, draw_actions)
    if isinstance(env, NetworkedMDP):
        check_law(env, inputs, draws)
    if "fused" in vars(type(env)) and form_of(env) is not None:
        check_fused_step(env, samples=samples)


def _outcome(env: Environment, inputs: Inputs) -> dict[str, Tensor]:
    """Returns everything that an environment says of these inputs, agents on axis 1."""
    s, a, u = inputs
    next_s, r = env.step(s, a, u)
    law = {"transition": env.transition(s, a), "reward": env.reward(s, a)} if isinstance(env, NetworkedMDP) else {}
    return {"next state of `step`": next_s, "reward of `step`": r, "start of `reset`": env.reset(u), **law}


def _check_purity(env: Environment, inputs: Inputs, between: Inputs) -> None:
    name, given = type(env).__name__, Inputs(*(part.clone() for part in inputs))
    first = _outcome(env, given)
    for part, before, after in zip(Inputs._fields, inputs, given, strict=True):
        demand(torch.equal(before, after), f"{name} changes its input {part}; `step` and `reset` must leave it alone")
    _outcome(env, between)
    for what, again in _outcome(env, inputs).items():
        demand(torch.equal(first[what], again), f"the {what} of {name} is another one when it is asked again")


def _check_results(env: Environment, inputs: Inputs) -> None:
    """Checks shapes, types and ranges of what comes out."""
    name, (s, a, u), finite = type(env).__name__, inputs, isinstance(env, FiniteEnvironment)
    next_s, r = env.step(s, a, u)
    demand(env.contains(s, a), f"{name}.contains denies states and legal actions that it has")
    for what, states in ("`step`", next_s), ("`reset`", env.reset(u)):
        kind = torch.int64 if finite else s.dtype
        fits = states.shape == s.shape and states.dtype == kind
        demand(
            fits, f"{what} of {name} gives states {list(states.shape)} {states.dtype}, which must be {list(s.shape)} {kind}"
        )
        if isinstance(env, FiniteEnvironment):
            exist = bool(((states >= 0) & (states < env.num_states)).all())
            demand(exist, f"{what} of {name} gives states that do not exist: they must be from 0 to num_states - 1")
    fits = r.shape == s.shape[:2] and (r.dtype == torch.float64 or (not finite and r.is_floating_point()))
    demand(fits, f"`step` of {name} gives rewards {list(r.shape)} {r.dtype}, which must be {list(s.shape[:2])} float64")
    low, high = env.reward_range
    demand(low <= high, f"reward_range of {name} is ({low}, {high}), which must rise")
    demand(
        bool(((r >= low) & (r <= high)).all()),
        f"rewards of {name} go from {r.min().item()} to {r.max().item()}, but its reward_range is ({low}, {high})",
    )


def _check_rows(env: Environment, inputs: Inputs) -> None:
    together = _outcome(env, inputs)
    for b in range(len(inputs.s)):
        alone = _outcome(env, Inputs(*(part[b : b + 1] for part in inputs)))
        for what, rows in together.items():
            same = torch.equal(rows[b : b + 1], alone[what])
            demand(same, f"the {what} of {type(env).__name__} in row {b} of a batch is not that of the row alone")


def _check_locality(env: Environment, inputs: Inputs, others: list[Inputs]) -> None:
    """Checks that agent i's outcome does not change with states, actions and noise of agents outside N_i."""
    near, (index, mask, _) = _outcome(env, inputs), env.network.neighborhood(1)
    near.pop("start of `reset`")
    for i, other in enumerate(others):
        changed = Inputs(*(part.clone() for part in other))
        for part, kept in zip(changed, inputs, strict=True):
            part[:, index[i, mask[i]]] = kept[:, index[i, mask[i]]]
        found = _outcome(env, changed)
        for what, rows in near.items():
            broken = f"the {what} of agent {i} of {type(env).__name__} changes with agents that are not its neighbors"
            demand(torch.equal(rows[:, i], found[what][:, i]), broken)


def _check_privacy(env: Environment, inputs: Inputs, others: list[Inputs], draw_actions: ActionDraw) -> None:
    """Checks `private_actions` (s_i' sees no other's action) and `private_rewards` (r_i sees no other's pair)."""
    name, (s, a, u) = type(env).__name__, inputs
    next_s, r = env.step(s, a, u)
    for i, other in enumerate(others):
        if env.private_actions:
            changed = draw_actions(s, torch.Generator().manual_seed(i))
            changed[:, i] = a[:, i]
            found = env.step(s, changed, u)[0][:, i]
            broken = f"the next state of agent {i} of {name} changes with actions of others, but it says private_actions"
            demand_equal(found, next_s[:, i], broken, axes=("row",))
        if env.private_rewards:
            changed_s, changed_a = other.s.clone(), other.a.clone()
            changed_s[:, i], changed_a[:, i] = s[:, i], a[:, i]
            found = env.step(changed_s, changed_a, u)[1][:, i]
            broken = f"the reward of agent {i} of {name} changes with what others do, but it says private_rewards"
            demand_equal(found, r[:, i], broken, axes=("row",))
