"""Networks of one hidden layer, one per agent, on what an agent sees: their outputs, and the gradients of their parameters.

out_i = W_i tanh(sum_j E_ij[s_j]) + b_i, j over the agents that i sees; of a policy the logits, of a critic the value.
"""

from typing import Any, NamedTuple

import numpy as np

from marl.kernels.compiled import cached_njit
from marl.kernels.forms import FAST
from marl.kernels.softmax_arithmetic import exp


class HiddenLayer(NamedTuple):
    """These are the networks of all agents and replicas, and whom they see.

    Shapes: near [n, m], size [n], embedding E [B, n, m, S, h], weight W [B, n, h, O], bias b [B, n, O].
    """

    near: np.ndarray
    size: np.ndarray
    embedding: np.ndarray
    weight: np.ndarray
    bias: np.ndarray


class Weights(NamedTuple):
    """These are the parameters of one network, or as many numbers that belong to them.

    Shapes: embedding [m, S, h], weight [h, O], bias [O].
    """

    embedding: np.ndarray
    weight: np.ndarray
    bias: np.ndarray


@cached_njit(forceinline=True, error_model="numpy", fastmath=FAST)
def outputs(width: Any, network: Weights, seen: np.ndarray, hidden: np.ndarray, out: np.ndarray) -> None:
    """Fills hidden [h], the layer after tanh, and out, whose first O entries are the outputs of one network.

    width: anything whose length is h (a tuple, if the compiler is to know it). seen: the states of the agents that it sees,
    in the order of `near`.
    """
    for h in range(len(width)):
        hidden[h] = 0.0
    for j in range(len(seen)):
        embedded = network.embedding[j, seen[j]]
        for h in range(len(width)):
            hidden[h] += embedded[h]
    for h in range(len(width)):
        e = exp(-2.0 * abs(hidden[h]))
        hidden[h] = np.copysign((1.0 - e) / (1.0 + e), hidden[h])  # tanh
    for x in range(len(network.bias)):
        out[x] = network.bias[x]
    for h in range(len(width)):
        for x in range(len(network.bias)):
            out[x] += hidden[h] * network.weight[h, x]


@cached_njit(forceinline=True, error_model="numpy", fastmath=FAST)
def add_gradient(
    width: Any, gradient: Weights, network: Weights, seen: np.ndarray, hidden: np.ndarray, slope: np.ndarray
) -> None:
    """Adds slope[x] times the gradient of every output x of one network.

    width, seen: as for `outputs`; hidden: as that left it; it is used up.
    """
    for x in range(len(network.bias)):
        gradient.bias[x] += slope[x]
    for h in range(len(width)):
        back = 0.0
        for x in range(len(network.bias)):
            gradient.weight[h, x] += hidden[h] * slope[x]
            back += network.weight[h, x] * slope[x]
        hidden[h] = back * (1.0 - hidden[h] * hidden[h])
    for j in range(len(seen)):
        embedded = gradient.embedding[j, seen[j]]
        for h in range(len(width)):
            embedded[h] += hidden[h]
