"""This is the policy form of a network with one hidden layer per agent, on the neighbors' states.

zeta_i(a|s) is proportional to exp(W_i tanh(sum_j E_ij[s_j]) + b_i)[a], j over the agents that i sees.
"""

from typing import Any, NamedTuple

import numpy as np

from marl.kernels import forms
from marl.kernels.forms import implements
from marl.kernels.softmax_arithmetic import draw_from_logits, exp


class Networks(NamedTuple):
    """This is what is drawn from.

    Shapes: near [n, m], size [n], legal [n, S, A], embedding [B, n, m, S, h], weight [B, n, h, A], bias [B, n, A].
    """

    near: np.ndarray
    size: np.ndarray
    legal: np.ndarray
    embedding: np.ndarray
    weight: np.ndarray
    bias: np.ndarray


class NetworksOne(NamedTuple):
    """This is `Networks` of one replica.

    Shapes: as there, without B; hidden [h], room for what the hidden units see; row [2 A], for logits and probabilities.
    """

    near: np.ndarray
    size: np.ndarray
    legal: np.ndarray
    embedding: np.ndarray
    weight: np.ndarray
    bias: np.ndarray
    hidden: np.ndarray
    row: np.ndarray


@implements(forms.of_replica, Networks)
def _of_replica(form: Networks, b: int) -> NetworksOne:
    weight, hidden, row = form.weight[b], np.empty(form.weight.shape[2]), np.empty(2 * form.legal.shape[2])
    return NetworksOne(form.near, form.size, form.legal, form.embedding[b], weight, form.bias[b], hidden, row)


@implements(forms.row_of, NetworksOne)
def _row_of(policy: NetworksOne, actions: Any, place: Any) -> Any:
    return np.uint64(0)


@implements(forms.draw_action, NetworksOne)
def _draw_action(policy: NetworksOne, actions: Any, s: np.ndarray, i: int, row: Any, last: int, u: float) -> int:
    hidden, room = policy.hidden, policy.row
    for h in range(len(hidden)):
        hidden[h] = 0.0
    for j in range(policy.size[i]):
        seen = s[policy.near[i, j]]
        for h in range(len(hidden)):
            hidden[h] += policy.embedding[i, j, seen, h]
    for x in range(len(actions)):
        room[x] = policy.bias[i, x] if policy.legal[i, s[i], x] else -np.inf
    for h in range(len(hidden)):
        e = exp(-2.0 * abs(hidden[h]))
        active = np.copysign((1.0 - e) / (1.0 + e), hidden[h])  # tanh
        for x in range(len(actions)):
            room[x] += active * policy.weight[i, h, x]
    return draw_from_logits(actions, room, row, last, u)
