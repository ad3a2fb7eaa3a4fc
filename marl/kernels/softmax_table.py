"""This is the policy form of a tabular softmax over own states: zeta_i(a|s_i) proportional to exp(theta_i[s_i, a])."""

from typing import Any, NamedTuple

import numpy as np

from marl.kernels import forms
from marl.kernels.forms import implements
from marl.kernels.prefetch import prefetch
from marl.kernels.softmax_arithmetic import AHEAD, BLOCK, LANES, draw, normalize, read_back, refresh, workspace


class SoftmaxTable(NamedTuple):
    """These are the parameters, changed in place. Shapes: theta [B, n, S, A], legal [n, S, A]."""

    theta: np.ndarray
    legal: np.ndarray

    def laid_out(self) -> "SoftmaxRows":
        """Makes arrays for the rows of these policies, in which nothing is laid out yet."""
        replicas, agents, states, actions = self.theta.shape
        return SoftmaxRows(np.full((replicas, agents * states * 2 * actions), np.nan, self.theta.dtype))


class SoftmaxRows(NamedTuple):
    """These are the policies as loops read them: a row for every agent and state, see `marl.kernels.softmax_arithmetic`.

    Shapes: rows [B, n S 2 A].
    """

    rows: np.ndarray


class SoftmaxRow(NamedTuple):
    """This is `SoftmaxRows` of one replica. Shapes: rows [n S 2 A]."""

    rows: np.ndarray


@implements(forms.begin, SoftmaxTable, inline=False)
def _begin(form: SoftmaxTable, actions: Any, laid_out: SoftmaxRows) -> None:
    for b in range(len(form.theta)):
        refresh(actions, form.theta[b], form.legal, laid_out.rows[b])


@implements(forms.finish, SoftmaxTable, inline=False)
def _finish(form: SoftmaxTable, laid_out: SoftmaxRows) -> None:
    for b in range(len(form.theta)):
        read_back(laid_out.rows[b], form.legal, form.theta[b])


@implements(forms.of_replica, SoftmaxRows)
def _of_replica(form: SoftmaxRows, b: int) -> SoftmaxRow:
    return SoftmaxRow(form.rows[b])


@implements(forms.row_of, SoftmaxRow)
def _row_of(policy: SoftmaxRow, actions: Any, place: Any) -> Any:
    return place * np.uint64(2 * len(actions))


@implements(forms.fetch_row, SoftmaxRow)
def _fetch_row(policy: SoftmaxRow, actions: Any, place: Any) -> None:
    start = place * np.uint64(2 * len(actions)) + np.uint64(len(actions))
    prefetch(policy.rows, start)  # type: ignore[call-arg]
    prefetch(policy.rows, start + np.uint64(len(actions) - 1))


@implements(forms.draw_action, SoftmaxRow)
def _draw_action(policy: SoftmaxRow, actions: Any, s: np.ndarray, i: int, row: int, last: int, u: float) -> int:
    return draw(actions, policy.rows, row, last, u)


@implements(forms.room_to_climb, SoftmaxRow)
def _room_to_climb(policy: SoftmaxRow, actions: Any, agents: int) -> Any:
    return workspace(agents, len(actions), policy.rows.dtype)


@implements(forms.climb, SoftmaxRow)
def _climb(
    policy: SoftmaxRow,
    actions: Any,
    s: np.ndarray,
    a: np.ndarray,
    row: np.ndarray,
    chooser: np.ndarray,
    choosing: int,
    ascent: np.ndarray,
    work: Any,
) -> float:
    """Works in arrays that stay in the nearest cache."""
    count, check = len(actions), 0.0
    lanes = -(-choosing // LANES) * LANES
    for c in range(choosing):
        start, g = row[c], policy.rows.dtype.type(ascent[c])
        if len(a) > BLOCK:
            soon = row[min(c + AHEAD, choosing - 1)]
            prefetch(policy.rows, soon)  # type: ignore[call-arg]
            prefetch(policy.rows, soon + np.uint64(2 * count - 1))
        for x in range(len(actions)):
            at = start + np.uint64(x)
            work.logits[x * lanes + c] = policy.rows[at] - g * policy.rows[at + np.uint64(count)]
    for c in range(choosing):
        x, g = a[chooser[c]], policy.rows.dtype.type(ascent[c])
        check += g * policy.rows[row[c] + np.uint64(count + x)]
        work.logits[x * lanes + c] += g
    normalize(actions, lanes, work)
    for c in range(choosing):
        start, inverse = row[c], work.total[c]
        for x in range(len(actions)):
            at = start + np.uint64(x)
            policy.rows[at] = work.logits[x * lanes + c]
            policy.rows[at + np.uint64(count)] = work.p[x * lanes + c] * inverse
    return check


@implements(forms.add_score, SoftmaxRow)
def _add_score(policy: SoftmaxRow, actions: Any, s: np.ndarray, i: int, row: Any, a: int, ascent: float) -> float:
    rows, count = policy.rows, np.uint64(len(actions))
    for x in range(len(actions)):
        at = row + np.uint64(x)
        rows[at] -= ascent * rows[at + count]
    rows[row + np.uint64(a)] += ascent
    return rows[row + count + np.uint64(a)]


@implements(forms.renew, SoftmaxRow)
def _renew(policy: SoftmaxRow, actions: Any, s: np.ndarray, row: np.ndarray, work: Any) -> None:
    lanes = len(work.top)
    for i in range(len(row)):
        for x in range(len(actions)):
            work.logits[x * lanes + i] = policy.rows[row[i] + np.uint64(x)]
    normalize(actions, lanes, work)
    for i in range(len(row)):
        for x in range(len(actions)):
            policy.rows[row[i] + np.uint64(len(actions) + x)] = work.p[x * lanes + i] * work.total[i]
