"""This is the policy form of a network with one hidden layer per agent, on the neighbors' states.

zeta_i(a|s) is proportional to exp(W_i tanh(sum_j E_ij[s_j]) + b_i)[a], j over the agents that i sees.
"""

from typing import Any, NamedTuple

import numpy as np

from marl.kernels import forms
from marl.kernels.forms import implements
from marl.kernels.hidden_layer import Weights, outputs
from marl.kernels.softmax_arithmetic import draw_from_logits


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

    Shapes: as there, without B; seen [m] and hidden [h], room for what a network sees and makes of it; row [2 A], for
    logits and probabilities.
    """

    near: np.ndarray
    size: np.ndarray
    legal: np.ndarray
    embedding: np.ndarray
    weight: np.ndarray
    bias: np.ndarray
    seen: np.ndarray
    hidden: np.ndarray
    row: np.ndarray


@implements(forms.of_replica, Networks)
def _of_replica(form: Networks, b: int) -> NetworksOne:
    room = np.empty(form.near.shape[1], np.int64), np.empty(form.weight.shape[2]), np.empty(2 * form.legal.shape[2])
    return NetworksOne(form.near, form.size, form.legal, form.embedding[b], form.weight[b], form.bias[b], *room)


@implements(forms.row_of, NetworksOne)
def _row_of(policy: NetworksOne, actions: Any, place: Any) -> Any:
    return np.uint64(0)


@implements(forms.draw_action, NetworksOne)
def _draw_action(policy: NetworksOne, actions: Any, s: np.ndarray, i: int, row: Any, last: int, u: float) -> int:
    seen = policy.seen[: policy.size[i]]
    for j in range(len(seen)):
        seen[j] = s[policy.near[i, j]]
    network = Weights(policy.embedding[i], policy.weight[i], policy.bias[i])
    outputs(policy.hidden, network, seen, policy.hidden, policy.row)
    for x in range(len(actions)):
        if not policy.legal[i, s[i], x]:
            policy.row[x] = -np.inf
    return draw_from_logits(actions, policy.row, row, last, u)
