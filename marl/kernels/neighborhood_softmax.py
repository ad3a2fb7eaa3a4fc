"""This is the policy form of a log-linear softmax over the neighbors' states.

zeta_i(a|s) is proportional to exp(sum_j theta_ij[s_i, s_j, a]), j over the agents that i sees.
"""

from typing import Any, NamedTuple

import numpy as np

from marl.kernels import forms
from marl.kernels.forms import implements
from marl.kernels.softmax_arithmetic import draw_from_logits


class LogLinear(NamedTuple):
    """This is what is drawn from. Shapes: near [n, m], size [n], legal [n, S, A], theta [B, n, m, S, S, A]."""

    near: np.ndarray
    size: np.ndarray
    legal: np.ndarray
    theta: np.ndarray


class LogLinearOne(NamedTuple):
    """This is `LogLinear` of one replica. Shapes: theta [n, m, S, S, A]; row [2 A], room for logits and probabilities."""

    near: np.ndarray
    size: np.ndarray
    legal: np.ndarray
    theta: np.ndarray
    row: np.ndarray


@implements(forms.of_replica, LogLinear)
def _of_replica(form: LogLinear, b: int) -> LogLinearOne:
    return LogLinearOne(form.near, form.size, form.legal, form.theta[b], np.empty(2 * form.legal.shape[2]))


@implements(forms.row_of, LogLinearOne)
def _row_of(policy: LogLinearOne, actions: Any, place: Any) -> Any:
    return np.uint64(0)


@implements(forms.draw_action, LogLinearOne)
def _draw_action(policy: LogLinearOne, actions: Any, s: np.ndarray, i: int, row: Any, last: int, u: float) -> int:
    room = policy.row
    for x in range(len(actions)):
        room[x] = -np.inf
        if policy.legal[i, s[i], x]:
            logit = 0.0
            for j in range(policy.size[i]):
                logit += policy.theta[i, j, s[i], s[policy.near[i, j]], x]
            room[x] = logit
    return draw_from_logits(actions, room, row, last, u)
