"""This is the form of a tabular softmax over own states as it is learned in batches: logits theta_i[s_i, a].

Loops that learn at every step know it as `marl.kernels.softmax_table`, which keeps the probabilities, too.
"""

from typing import Any, NamedTuple

import numpy as np

from marl.kernels import forms
from marl.kernels.forms import implements


class OwnLogits(NamedTuple):
    """These are the parameters, changed in place. Shapes: weight, theta, [B, n, S, A]; legal [n, S, A]."""

    weight: np.ndarray
    legal: np.ndarray


class OwnLogitsOne(NamedTuple):
    """This is `OwnLogits` of one replica. Shapes: weight [n, S, A], legal [n, S, A]."""

    weight: np.ndarray
    legal: np.ndarray


@implements(forms.of_replica, OwnLogits)
def _of_replica(form: OwnLogits, b: int) -> OwnLogitsOne:
    return OwnLogitsOne(form.weight[b], form.legal)


@implements(forms.logits_at, OwnLogitsOne)
def _logits_at(policy: OwnLogitsOne, actions: Any, s: np.ndarray, i: int, out: np.ndarray, first: int) -> None:
    for x in range(len(actions)):
        out[first + x] = policy.weight[i, s[i], x] if policy.legal[i, s[i], x] else -np.inf


@implements(forms.add_logits, OwnLogitsOne)
def _add_logits(policy: OwnLogitsOne, actions: Any, s: np.ndarray, i: int, slope: np.ndarray, gradient: np.ndarray) -> None:
    for x in range(len(actions)):
        gradient[i, s[i], x] += slope[x]
