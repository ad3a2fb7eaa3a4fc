"""Tables over neighborhoods say which axis is whose, are checked, and get one flat layout for all agents.

An axis is (STATE, j) or (ACTION, j): it runs over s_j or a_j. The rows of all agents' tables lie one after the other,
and the row of agent i at (s, a) is

    base_i + sum_j (state_stride_ij s_j + action_stride_ij a_j),   j over the padded N_i; stride 0 = not seen.
"""

import math
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Int64
from torch import Tensor

from marl.core.errors import ConfigError
from marl.core.network import Network

STATE, ACTION = 0, 1
MAX_ENTRIES = 2**27
"""Largest number of padded table entries (1 GiB)."""
TOLERANCE = 1e-9
_ROUNDING = 1e-13

Axes = list[tuple[int, int]]
AxesOf = Callable[[int, Sequence[int], bool], Axes]
Sizes = tuple[Sequence[int], Sequence[int]]
"""(num_states, num_actions) per agent."""


class Rows(NamedTuple):
    """This is the flat layout. Shapes: values [R, S] or [R], base [n], strides [n, m]."""

    values: Float[Tensor, "R *S"]
    base: Int64[Tensor, "n"]
    state_stride: Int64[Tensor, "n m"]
    action_stride: Int64[Tensor, "n m"]


def neighbors(network: Network) -> list[list[int]]:
    """Lists N_i of every agent, itself included, in increasing order."""
    index, _, size = network.neighborhood(1)
    return [row[:count].tolist() for row, count in zip(index.numpy(), size.tolist(), strict=True)]


def transition_axes(i: int, members: Sequence[int], private: bool) -> Axes:
    """Lists what P_i(s_i' | .) is conditioned on: (s_{N_i}, a_i), or z_{N_i}; the last axis, s_i', is not among them."""
    return [*((STATE, j) for j in members), (ACTION, i)] if private else _all_axes(members)


def reward_axes(i: int, members: Sequence[int], private: bool) -> Axes:
    """Lists what r_i depends on: z_i, or z_{N_i}."""
    return [(STATE, i), (ACTION, i)] if private else _all_axes(members)


def shape_of(axes: Axes, sizes: Sizes) -> tuple[int, ...]:
    """Gives the sizes of the axes."""
    return tuple(int(sizes[kind][j]) for kind, j in axes)


def check_entries(sizes: Sizes, transitions: Iterable[Axes], rewards: Iterable[Axes]) -> None:
    """Counts entries. Errors: `ConfigError` if the padded tables, with that of legal actions, exceed `MAX_ENTRIES`."""
    states, actions = max(sizes[STATE]), max(sizes[ACTION])
    rows = sum(math.prod(shape_of(axes, sizes)) for axes in transitions)
    reward_rows = sum(math.prod(shape_of(axes, sizes)) for axes in rewards)
    entries = rows * states + reward_rows + len(sizes[STATE]) * states * actions
    if entries > MAX_ENTRIES:
        shown = f"{entries:.3g}" if entries < 1e300 else "over 1e300"
        raise ConfigError(
            f"the tables need {shown} entries, more than {MAX_ENTRIES}; "
            "use fewer states or actions, or a graph with smaller neighborhoods"
        )


def as_arrays(name: str, tables: Any, n: int) -> list[np.ndarray]:
    """Makes one float64 array per agent. Errors: `ConfigError` if there are not n, or one holds no numbers."""
    if isinstance(tables, (str, bytes, dict)) or not isinstance(tables, Iterable):
        raise ConfigError(f"{name} must be a list with one array per agent, got {type(tables).__name__}")
    listed = list(tables)
    if len(listed) != n:
        raise ConfigError(f"{name} needs {n} tables, one for each agent, got {len(listed)}")
    return [_as_array(f"{name}[{i}]", table) for i, table in enumerate(listed)]


def choose_forms(
    name: str, arrays: Sequence[np.ndarray], axes_of: AxesOf, members: Sequence[Sequence[int]], last: str
) -> tuple[list[Axes], list[bool]]:
    """Finds the axes of every agent's table, and whether it is in the private form, by the number of its axes.

    last: name of a last axis that is no condition, or "". Errors: `ConfigError` if a table fits neither form.
    """
    chosen, private = [], []
    for i, (array, near) in enumerate(zip(arrays, members, strict=True)):
        forms = [axes_of(i, near, private) for private in (True, False)]
        fits = [axes for axes in forms if array.ndim == len(axes) + bool(last)]
        if not fits:
            named = dict.fromkeys(f"{len(axes) + bool(last)} axes {_names(axes, last)}" for axes in forms)
            raise ConfigError(f"{name}[{i}] must have the {' or the '.join(named)}, got shape {array.shape}")
        if 0 in array.shape:
            raise ConfigError(f"{name}[{i}] has an empty axis: its shape is {array.shape}")
        chosen.append(fits[0])
        private.append(len(fits[0]) == len(forms[0]))
    return chosen, private


def sizes_of(transition: Sequence[np.ndarray], axes: Sequence[Axes]) -> Sizes:
    """Reads (num_states, num_actions) off every agent's own transition table: its last axis, and the one of its actions."""
    own = [seen.index((ACTION, i)) for i, seen in enumerate(axes)]
    return (
        [table.shape[-1] for table in transition],
        [table.shape[axis] for table, axis in zip(transition, own, strict=True)],
    )


def check_shapes(name: str, arrays: Sequence[np.ndarray], axes: Sequence[Axes], sizes: Sizes, last: str) -> None:
    """Checks lengths. Errors: `ConfigError` if an axis of agent j is not as long as agent j's transition table says."""
    for i, (array, seen) in enumerate(zip(arrays, axes, strict=True)):
        expected = shape_of([*seen, (STATE, i)] if last else seen, sizes)
        if array.shape != expected:
            raise ConfigError(
                f"{name}[{i}] must have shape {expected} = {_names(seen, last)}, got {array.shape}; "
                "transition[j] says how long these axes are: S_j is its last axis, A_j the axis of its own actions"
            )


def lay_out(tables: Sequence[np.ndarray], axes: Sequence[Axes], members: Sequence[Sequence[int]]) -> Rows:
    """Lays all tables out as rows of one tensor, padded with zeros on the right where a row is shorter than the longest."""
    stride = np.zeros((2, len(tables), max(map(len, members))), dtype=np.int64)
    count = np.zeros(len(tables), dtype=np.int64)
    for i, (table, seen) in enumerate(zip(tables, axes, strict=True)):
        position = {j: k for k, j in enumerate(members[i])}
        step = 1
        for (kind, j), size in zip(reversed(seen), reversed(table.shape[: len(seen)]), strict=True):
            stride[kind, i, position[j]] = step
            step *= size
        count[i] = step
    base = np.cumsum(count) - count
    tails = [table.shape[len(seen) :] for table, seen in zip(tables, axes, strict=True)]
    values = np.zeros((int(count.sum()), *np.max(tails, axis=0)))
    for i, (table, tail) in enumerate(zip(tables, tails, strict=True)):
        rows = table.reshape(-1, *tail)
        values[(slice(base[i], base[i] + count[i]), *map(slice, tail))] = rows
    return Rows(*map(torch.from_numpy, (values, base, stride[STATE], stride[ACTION])))


def check_finite(name: str, tables: Sequence[np.ndarray], low: float, what: str) -> None:
    """Checks entries. Errors: `ConfigError` that names the first entry that is NaN, infinite or below `low`."""
    for i, table in enumerate(tables):
        bad = ~np.isfinite(table) | (table < low)
        if bad.any():
            place = tuple(np.argwhere(bad)[0].tolist())
            raise ConfigError(f"{name}[{i}] has {table[place]:g} at {place}; {what}")


def normalized(tables: Sequence[np.ndarray]) -> list[np.ndarray]:
    """Makes rows sum to one up to rounding. Errors: `ConfigError` if a row is off by more than 1e-9.

    What a row lacks would fall to the last state when sampling, even where that has probability zero.
    """
    done = []
    for i, table in enumerate(tables):
        total = table.sum(axis=-1, keepdims=True)
        off = np.abs(total[..., 0] - 1.0)
        if (off > TOLERANCE).any():
            row = tuple(np.argwhere(off > TOLERANCE)[0].tolist())
            raise ConfigError(
                f"transition[{i}] row {row} sums to {total[row][0]:.12g}, off by {off[row]:.3g}; "
                f"every row must sum to one within {TOLERANCE:g}"
            )
        done.append(table / np.where(off[..., None] > _ROUNDING, total, 1.0))  # good rows keep every bit
    return done


def _all_axes(members: Sequence[int]) -> Axes:
    return [(kind, j) for j in members for kind in (STATE, ACTION)]


def _names(axes: Axes, last: str) -> str:
    names = [f"{'SA'[kind]}_{j}" for kind, j in axes]
    return f"[{', '.join([*names, last] if last else names)}]"


def _as_array(name: str, table: Any) -> np.ndarray:
    try:
        array = np.asarray(table)
    except (ValueError, TypeError, RuntimeError) as error:
        raise ConfigError(f"{name} is no array: {' '.join(str(error).split())}") from None
    if array.dtype.kind not in "fiub":
        raise ConfigError(f"{name} must hold real numbers, got dtype {array.dtype}")
    return array.astype(np.float64)
