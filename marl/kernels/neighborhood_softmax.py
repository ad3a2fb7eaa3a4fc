"""This is the policy form of a log-linear softmax over the neighbors' states.

zeta_i(a|s) is proportional to exp(scale_i sum_j theta_ij[s_i, s_j, a]), j over the agents that i sees.
"""

from typing import Any, NamedTuple

import numpy as np

from marl.kernels import forms
from marl.kernels.forms import implements, logits_at
from marl.kernels.softmax_arithmetic import draw_from_logits


class LogLinear(NamedTuple):
    """These are the parameters, changed in place where they are learned.

    Shapes: weight, theta, [B, n, m, S, S, A]; near [n, m], size [n], scale [n], legal [n, S, A].
    """

    weight: np.ndarray
    near: np.ndarray
    size: np.ndarray
    scale: np.ndarray
    legal: np.ndarray


class LogLinearOne(NamedTuple):
    """This is `LogLinear` of one replica. Shapes: weight [n, m, S, S, A]; row [2 A], room for logits and probabilities."""

    weight: np.ndarray
    near: np.ndarray
    size: np.ndarray
    scale: np.ndarray
    legal: np.ndarray
    row: np.ndarray


@implements(forms.of_replica, LogLinear)
def _of_replica(form: LogLinear, b: int) -> LogLinearOne:
    room = np.empty(2 * form.legal.shape[2])
    return LogLinearOne(form.weight[b], form.near, form.size, form.scale, form.legal, room)


@implements(forms.row_of, LogLinearOne)
def _row_of(policy: LogLinearOne, actions: Any, place: Any) -> Any:
    return np.uint64(0)


@implements(forms.draw_action, LogLinearOne)
def _draw_action(policy: LogLinearOne, actions: Any, s: np.ndarray, i: int, row: Any, last: int, u: float) -> int:
    logits_at(policy, actions, s, i, policy.row, 0)
    return draw_from_logits(actions, policy.row, row, last, u)


@implements(forms.logits_at, LogLinearOne)
def _logits_at(policy: LogLinearOne, actions: Any, s: np.ndarray, i: int, out: np.ndarray, first: int) -> None:
    for x in range(len(actions)):
        out[first + x] = 0.0
    for j in range(policy.size[i]):
        for x in range(len(actions)):
            out[first + x] += policy.weight[i, j, s[i], s[policy.near[i, j]], x]
    for x in range(len(actions)):
        out[first + x] = out[first + x] * policy.scale[i] if policy.legal[i, s[i], x] else -np.inf


@implements(forms.add_logits, LogLinearOne)
def _add_logits(policy: LogLinearOne, actions: Any, s: np.ndarray, i: int, slope: np.ndarray, gradient: np.ndarray) -> None:
    for j in range(policy.size[i]):
        for x in range(len(actions)):
            gradient[i, j, s[i], s[policy.near[i, j]], x] += policy.scale[i] * slope[x]
