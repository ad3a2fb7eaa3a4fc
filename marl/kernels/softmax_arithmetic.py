"""Rows of many agents' tabular softmax policies are taken at once, action by action: compiled loops are vectors of agents.

A policy is one flat array of rows, one row for every agent and state: A logits (-inf where the action is illegal), then
their A probabilities. `rows` says where the rows of the agents start. `actions` is anything whose length is A; if it is a
tuple, A is known to the compiler.
"""

from typing import Any, NamedTuple

import numpy as np

from marl.kernels.compiled import cached_njit
from marl.kernels.forms import FAST
from marl.kernels.noise import ALMOST_ONE

LANES = 8
"""Work arrays are as long as the next multiple of this, so that vectors are full."""
BLOCK = 256
"""And at most so long in large networks, so that they stay in the nearest cache."""
AHEAD = 16
"""Agents by which a row is asked for before it is read, in large networks."""

_SHIFT = 1.5 * 2.0**52
"""Adding it to |x| < 2^51 leaves round(x) in the last bits."""

_COEFFICIENTS = (
    2.764019739169484e-06,
    2.480150431378554e-05,
    0.00019841170230570286,
    0.001388888893251478,
    0.008333333385699212,
    0.041666666666573066,
    0.16666666666554314,
    0.5000000000000006,
    1.0000000000000067,
    1.0,
)


class Work(NamedTuple):
    """These are the arrays that `normalize` works in. Shapes: logits, p [A lanes or more], action by action, top, total
    [lanes or more].

    They are read as `work.p[at]`, here and wherever a form is: an array that gets a name of its own in a loop is counted
    as being in use at every step, which takes longer than a row.
    """

    logits: np.ndarray
    p: np.ndarray
    top: np.ndarray
    total: np.ndarray


@cached_njit(forceinline=True, error_model="numpy", fastmath=FAST)
def exp(x: float) -> float:
    """Returns e^x for x <= 0, relative error below 5e-16, 0 below -708 (e^x < 4e-308), NaN for NaN; no branch, no call.

    x = k log 2 + f with |f| <= log(2) / 2; e^f by its Chebyshev interpolant of degree 10 (error 2.2e-16).
    """
    tiny = x < -708.0
    x = -708.0 if tiny else x
    shifted = x * 1.4426950408889634 + _SHIFT
    k = shifted - _SHIFT
    f = (x - k * 0.6931471803691238) - k * 1.9082149292705877e-10
    y = 2.7626371065696354e-07
    for c in _COEFFICIENTS:
        y = y * f + c
    power = (np.float64(shifted).view(np.int64) + np.int64(1023)) << np.int64(52)
    return 0.0 if tiny else y * np.int64(power).view(np.float64)


@cached_njit(forceinline=True, error_model="numpy", fastmath=FAST)
def normalize(actions: Any, lanes: int, work: Work) -> None:
    """p <- exp(logits - max), total <- 1 / sum over actions, for as many agents as `lanes`, a multiple of LANES."""
    for i in range(lanes):
        work.top[i] = work.logits[i]
    for x in range(1, len(actions)):
        for i in range(lanes):
            logit = work.logits[x * lanes + i]
            work.top[i] = logit if logit > work.top[i] else work.top[i]
    for i in range(lanes):
        work.total[i] = 0.0
    for x in range(len(actions)):
        for i in range(lanes):
            at = x * lanes + i
            work.p[at] = exp(work.logits[at] - work.top[i])
            work.total[i] += work.p[at]
    for i in range(lanes):
        work.total[i] = 1.0 / work.total[i]


@cached_njit(forceinline=True, error_model="numpy", fastmath=FAST)
def draw(actions: Any, policy: np.ndarray, row: int, last: int, u: float) -> int:
    """Returns the first action whose cumulative probability exceeds u; see `Policy.sample`.

    row: where the row begins in policy; last: its last legal action, which is drawn if a probability is not a number.
    """
    first = row + np.uint64(len(actions))
    cdf, passed = 0.0, 0
    for x in range(len(actions)):
        cdf += policy[first + np.uint64(x)]
        passed += not u < policy.dtype.type(cdf)  # each is rounded, as in torch
    if passed == len(actions):
        return _draw_last(actions, policy, first, last, policy.dtype.type(cdf))
    return passed


@cached_njit(forceinline=True, error_model="numpy", fastmath=FAST)
def draw_from_logits(actions: Any, policy: np.ndarray, row: int, last: int, u: float) -> int:
    """Writes the probabilities of a row whose logits are there, and draws as `draw` does."""
    write_probabilities(actions, policy, row)
    return draw(actions, policy, row, last, u)


@cached_njit(forceinline=True, error_model="numpy", fastmath=FAST)
def write_probabilities(actions: Any, policy: np.ndarray, row: int) -> None:
    """Writes the probabilities of a row whose logits are there."""
    count = len(actions)
    top, total, first = -np.inf, 0.0, row + np.uint64(count)
    for x in range(count):
        top = max(top, policy[row + np.uint64(x)])
    for x in range(count):
        p = exp(policy[row + np.uint64(x)] - top)
        policy[first + np.uint64(x)] = p
        total += p
    for x in range(count):
        policy[first + np.uint64(x)] /= total


@cached_njit(error_model="numpy", fastmath=FAST)
def _draw_last(actions: Any, policy: np.ndarray, first: int, last: int, total: float) -> int:
    """Returns the last action of positive probability, where rounding left the whole sum at or below u."""
    below = np.float64(total) * ALMOST_ONE
    cdf, passed = 0.0, 0
    for x in range(len(actions)):
        cdf += policy[first + np.uint64(x)]
        passed += not below < policy.dtype.type(cdf)
    return min(passed, last)


@cached_njit()
def workspace(agents: int, count: int, dtype: Any) -> Work:
    """Makes room for `normalize` to work in, for so many agents and actions."""
    lanes = -(-agents // LANES) * LANES
    return Work(
        np.zeros(count * lanes, dtype), np.zeros(count * lanes, dtype), np.zeros(lanes, dtype), np.zeros(lanes, dtype)
    )


@cached_njit(error_model="numpy", fastmath=FAST)
def refresh(actions: Any, theta: np.ndarray, legal: np.ndarray, policy: np.ndarray) -> None:
    """Lays out policy from theta, but for rows whose logits are those of theta: what is beside them was made from them.

    Shapes: theta [n, S, A], legal [n, S, A], policy [n S 2 A], NaN where nothing was laid out before.
    """
    agents, states, count = theta.shape
    work = workspace(min(agents, BLOCK), count, theta.dtype)
    for first in range(0, agents, BLOCK):
        block = min(agents - first, BLOCK)
        lanes = -(-block // LANES) * LANES
        for s in range(states):
            new = 0
            for c in range(block):
                row = ((first + c) * states + s) * 2 * count
                for x in range(count):
                    logit = theta[first + c, s, x] if legal[first + c, s, x] else -np.inf
                    new += policy[row + x] != logit
                    work.logits[x * lanes + c] = logit
            if new:
                normalize(actions, lanes, work)
                for c in range(block):
                    row = ((first + c) * states + s) * 2 * count
                    for x in range(count):
                        policy[row + x] = work.logits[x * lanes + c]
                        policy[row + count + x] = work.p[x * lanes + c] * work.total[c]


@cached_njit()
def read_back(policy: np.ndarray, legal: np.ndarray, theta: np.ndarray) -> None:
    """theta <- the logits of policy where legal; shapes as in `refresh`."""
    agents, states, count = theta.shape
    for i in range(agents):
        for s in range(states):
            for x in range(count):
                if legal[i, s, x]:
                    theta[i, s, x] = policy[(i * states + s) * 2 * count + x]
