"""These are the critic forms that sum weights over the members of a neighborhood, one by one or in pairs with the agent.

Q_i = scale_i sum_j w_ij[z_j], or scale_i sum_j w_ij[z_i, z_j], j over N_i^kappa; see `marl.critics.MemberSum`.
"""

from typing import Any, NamedTuple

import numpy as np

from marl.kernels import forms
from marl.kernels.forms import implements


class Additive(NamedTuple):
    """These are the weights, changed in place.

    Shapes: weight [B, n, m, Z], near [n, m], size [n], scale [n]; back [n, m], the place of i in the neighborhood of near.
    """

    weight: np.ndarray
    near: np.ndarray
    size: np.ndarray
    scale: np.ndarray
    back: np.ndarray


class AdditiveOne(NamedTuple):
    """This is `Additive` of one replica. Shapes: weight [n, m, Z]."""

    weight: np.ndarray
    near: np.ndarray
    size: np.ndarray
    scale: np.ndarray
    back: np.ndarray


class Pairwise(NamedTuple):
    """These are the weights, changed in place. Shapes: weight [B, n, m, Z, Z]; the others as in `Additive`."""

    weight: np.ndarray
    near: np.ndarray
    size: np.ndarray
    scale: np.ndarray
    back: np.ndarray


class PairwiseOne(NamedTuple):
    """This is `Pairwise` of one replica. Shapes: weight [n, m, Z, Z]."""

    weight: np.ndarray
    near: np.ndarray
    size: np.ndarray
    scale: np.ndarray
    back: np.ndarray


@implements(forms.of_replica, Additive)
def _additive_of_replica(form: Additive, b: int) -> AdditiveOne:
    return AdditiveOne(form.weight[b], form.near, form.size, form.scale, form.back)


@implements(forms.of_replica, Pairwise)
def _pairwise_of_replica(form: Pairwise, b: int) -> PairwiseOne:
    return PairwiseOne(form.weight[b], form.near, form.size, form.scale, form.back)


@implements(forms.value_at, AdditiveOne)
def _additive_value(critic: AdditiveOne, z: np.ndarray, i: int) -> float:
    total = 0.0
    for j in range(critic.size[i]):
        total += critic.weight[i, j, z[critic.near[i, j]]]
    return critic.scale[i] * total


@implements(forms.value_at, PairwiseOne)
def _pairwise_value(critic: PairwiseOne, z: np.ndarray, i: int) -> float:
    total = 0.0
    for j in range(critic.size[i]):
        total += critic.weight[i, j, z[i], z[critic.near[i, j]]]
    return critic.scale[i] * total


@implements(forms.add_value, AdditiveOne)
def _add_additive(critic: AdditiveOne, z: np.ndarray, i: int, slope: float, gradient: np.ndarray) -> None:
    for j in range(critic.size[i]):
        gradient[i, j, z[critic.near[i, j]]] += critic.scale[i] * slope


@implements(forms.add_value, PairwiseOne)
def _add_pairwise(critic: PairwiseOne, z: np.ndarray, i: int, slope: float, gradient: np.ndarray) -> None:
    for j in range(critic.size[i]):
        gradient[i, j, z[i], z[critic.near[i, j]]] += critic.scale[i] * slope


@implements(forms.worths_at, AdditiveOne)
def _additive_worths(critic: AdditiveOne, actions: Any, z: np.ndarray, i: int, choice: np.ndarray, out: np.ndarray) -> None:
    for x in range(len(actions)):
        out[x] = 0.0
    for k in range(critic.size[i]):
        j, back = critic.near[i, k], critic.back[i, k]
        for x in range(len(actions)):
            out[x] += critic.scale[j] * critic.weight[j, back, max(choice[x], 0)]


@implements(forms.worths_at, PairwiseOne)
def _pairwise_worths(critic: PairwiseOne, actions: Any, z: np.ndarray, i: int, choice: np.ndarray, out: np.ndarray) -> None:
    for x in range(len(actions)):
        out[x] = 0.0
    for k in range(critic.size[i]):
        j, back = critic.near[i, k], critic.back[i, k]
        if j == i:
            for x in range(len(actions)):
                own = max(choice[x], 0)
                out[x] += critic.scale[i] * critic.weight[i, k, own, own]
        else:
            for x in range(len(actions)):
                own = max(choice[x], 0)
                shown, felt = critic.weight[j, back, z[j], own], critic.weight[i, k, own, z[j]]
                out[x] += critic.scale[j] * shown + critic.scale[i] * felt
