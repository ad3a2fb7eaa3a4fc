"""A policy form and a critic form that the library does not have, as a user would write them: nothing else knows them."""

from typing import Any, NamedTuple

import numpy as np

from marl.critics import AdditiveCritic
from marl.kernels import forms
from marl.kernels.forms import implements
from marl.policies import StateIndependentSoftmax


class Blind(NamedTuple):
    """zeta_i(a) is proportional to exp(theta_i[a]). Shapes: theta [B, n, A]."""

    theta: np.ndarray

    def laid_out(self) -> "BlindRows":
        return BlindRows(np.empty_like(self.theta))


class BlindRows(NamedTuple):
    """Shapes: theta [B, n, A]."""

    theta: np.ndarray


class BlindRow(NamedTuple):
    """`BlindRows` of one replica. Shapes: theta [n, A]."""

    theta: np.ndarray


class BlindSoftmax(StateIndependentSoftmax):
    def fused(self) -> Blind:
        return Blind(self.theta.detach().numpy())


@implements(forms.begin, Blind)
def _begin(form: Any, actions: Any, laid_out: Any) -> None:
    for k in range(form.theta.size):
        laid_out.theta.flat[k] = form.theta.flat[k]


@implements(forms.finish, Blind)
def _finish(form: Any, laid_out: Any) -> None:
    for k in range(form.theta.size):
        form.theta.flat[k] = laid_out.theta.flat[k]


@implements(forms.of_replica, BlindRows)
def _blind_of_replica(form: Any, b: int) -> BlindRow:
    return BlindRow(form.theta[b])


@implements(forms.row_of, BlindRow)
def _row_of(policy: Any, actions: Any, place: Any) -> Any:
    return place


@implements(forms.draw_action, BlindRow)
def _draw_action(policy: Any, actions: Any, s: np.ndarray, i: int, row: Any, last: int, u: float) -> int:
    p = np.exp(policy.theta[i])
    return min(np.searchsorted(np.cumsum(p / p.sum()), u, side="right"), last)


@implements(forms.fetch_row, BlindRow)
def _fetch_row(policy: Any, actions: Any, place: Any) -> None:
    pass


@implements(forms.room_to_climb, BlindRow)
def _room_to_climb(policy: Any, actions: Any, agents: int) -> None:
    pass


@implements(forms.climb, BlindRow)
def _climb(
    policy: Any, actions: Any, s: Any, a: Any, row: Any, chooser: Any, choosing: int, ascent: Any, room: Any
) -> float:
    check = 0.0
    for c in range(choosing):
        theta = policy.theta[chooser[c]]
        p = np.exp(theta)
        p /= p.sum()
        theta -= ascent[c] * p
        theta[a[chooser[c]]] += ascent[c]
        check += theta.sum()
    return check


class Additive(NamedTuple):
    """Q_i = sum_j scale_ij w_ij[z_j]. Shapes: weight [B, n, m, Z], scale, near [n, m], size [n].

    A slot is the pairs of a neighborhood, z_j the digit number j in base Z.
    """

    weight: np.ndarray
    scale: np.ndarray
    near: np.ndarray
    size: np.ndarray


class AdditiveOne(NamedTuple):
    """`Additive` of one replica. Shapes: weight [n, m, Z]."""

    weight: np.ndarray
    scale: np.ndarray
    near: np.ndarray
    size: np.ndarray


class CompiledAdditive(AdditiveCritic):
    def fused(self) -> Additive:
        index, _, size = self.neighborhood
        return Additive(self.weight.detach().numpy(), self._scale.numpy(), index.numpy(), size.numpy())


@implements(forms.of_replica, Additive)
def _additive_of_replica(form: Any, b: int) -> AdditiveOne:
    return AdditiveOne(form.weight[b], form.scale, form.near, form.size)


@implements(forms.mark, AdditiveOne)
def _mark(critic: Any, near: Any, size: Any, z: np.ndarray, first: int, agents: int, key: np.ndarray) -> None:
    base = critic.weight.shape[2]
    for c in range(agents):
        key[c] = 0
        for j in range(size[first + c]):
            key[c] += z[near[first + c, j]] * base**j


@implements(forms.fetch, AdditiveOne)
def _fetch(critic: Any, agents: int, key: np.ndarray, slot: np.ndarray) -> None:
    for c in range(agents):
        slot[c] = key[c]


@implements(forms.settle, AdditiveOne)
def _settle(critic: Any, agents: int, key: np.ndarray, slot: np.ndarray) -> int:
    return 0


@implements(forms.fetch_value, AdditiveOne)
def _fetch_value(critic: Any, slot: int) -> None:
    pass


@implements(forms.is_learned, AdditiveOne)
def _is_learned(critic: Any, i: int, key: int) -> bool:
    return True


@implements(forms.value, AdditiveOne)
def _value(critic: Any, i: int, slot: int) -> float:
    total, rest, base = 0.0, np.int64(slot), critic.weight.shape[2]
    for j in range(critic.size[i]):
        total += critic.scale[i, j] * critic.weight[i, j, rest % base]
        rest //= base
    return total


@implements(forms.learn, AdditiveOne)
def _learn(critic: Any, i: int, slot: int, before: float, change: float) -> None:
    rest, base = np.int64(slot), critic.weight.shape[2]
    for j in range(critic.size[i]):
        critic.weight[i, j, rest % base] += change * critic.scale[i, j]
        rest //= base


@implements(forms.count_entries, Additive)
def _count_entries(form: Any, b: int, made: int) -> bool:
    return True
