"""The compiled step of the epidemic gives the numbers of `Epidemic.step`, every probability to the last bit."""

import numpy as np

from marl.kernels.compiled import cached_njit
from marl.kernels.steps import STEP


@cached_njit(forceinline=True)
def _advance(
    ints: np.ndarray,
    floats: np.ndarray,
    work: np.ndarray,
    s: np.ndarray,
    a: np.ndarray,
    u: np.ndarray,
    next_s: np.ndarray,
    r: np.ndarray,
    even: bool,
) -> None:
    """Takes one step of all agents. even: b_i w_ij is the same for all j, which is known when this is compiled.

    ints: states S, mutual, then the compressed rows, start [n + 1] and node [2 E]. floats: per agent the probability to
    stay in every state (in 0: if no neighbor infects), cost and leak, [n, S + 2]; then b_i w_ij, [n] if even, else [2 E].

    work: what comes out of every agent, the bits of a float. No branch depends on the state: a number is loaded before it
    is known whether it is wanted, or choosing it would be one.
    """
    n, states, mutual = len(s), ints[0], ints[1]
    node, own, rates = 3 + n, states + 2, n * (states + 2)
    for i in range(n):
        leak = floats[np.uint64(i * own + states + 1)]
        source = np.float64(np.float64(s[i] == 1) * (leak if a[i] & mutual else 1.0))
        work[i] = source.view(np.int64)
    for i in range(n):
        at, state, escaped = i * own, s[i], 1.0
        leak, stays = floats[np.uint64(at + states + 1)], floats[np.uint64(at + state)]
        through = leak if a[i] else 1.0
        rate = floats[np.uint64(rates + i)] if even else 0.0
        for k in range(ints[np.uint64(2 + i)], ints[np.uint64(3 + i)]):
            source = np.int64(work[np.uint64(ints[np.uint64(node + k)])]).view(np.float64)
            escaped *= 1.0 - (rate if even else floats[np.uint64(rates + k)]) * through * source
        moved = state + np.int64(u[i, 0] >= stays * (1.0 if state else escaped))
        next_s[i] = moved * np.int64(moved < states)
        r[i] = -np.float64(state == 1) - floats[np.uint64(at + states)] * a[i]


@cached_njit(STEP)
def even_step(
    ints: np.ndarray,
    floats: np.ndarray,
    work: np.ndarray,
    s: np.ndarray,
    a: np.ndarray,
    u: np.ndarray,
    next_s: np.ndarray,
    r: np.ndarray,
) -> None:
    """Takes one step where all edges weigh the same, which is faster: there is less to read."""
    _advance(ints, floats, work, s, a, u, next_s, r, True)


@cached_njit(STEP)
def step(
    ints: np.ndarray,
    floats: np.ndarray,
    work: np.ndarray,
    s: np.ndarray,
    a: np.ndarray,
    u: np.ndarray,
    next_s: np.ndarray,
    r: np.ndarray,
) -> None:
    """Takes one step where edges have weights of their own."""
    _advance(ints, floats, work, s, a, u, next_s, r, False)
