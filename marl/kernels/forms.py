"""This is what the compiled loops ask of the forms of a policy, a critic, an objective and Gamma.

A form is a `NamedTuple` of arrays and numbers, not nested, one class for each kind of policy, critic and so on. The
functions below are empty: the file of a form fills them in with `@implements(function, Form)`, and numba picks the one for
the class of the form when it compiles a loop. So a new form is one new file, and no loop knows any of them.

Names in all of them: i an agent, s, a [n] states and actions, `row` and `slot` numbers (uint64) that say where the policy
and the value of an agent stand, `actions` anything whose length is A (a tuple, if the compiler is to know it).
"""

import functools
from collections.abc import Callable
from typing import Any

import numpy as np
from numba import jit, types
from numba.extending import overload

FAST = {"contract", "nsz"}
"""What the compiler may do to floating-point arithmetic: fuse a product and a sum, forget the sign of zero."""
_OPTIONS = {"error_model": "numpy", "fastmath": FAST}


def implements(function: Callable[..., Any], form: type, *, inline: bool = True) -> Callable[..., Any]:
    """Makes the decorated function be `function` wherever its first argument is of the class `form`."""
    options: Any = {**_OPTIONS, "forceinline": inline}

    def decorate(implementation: Callable[..., Any]) -> Callable[..., Any]:
        @overload(function, jit_options=options, strict=False)
        def choose(first: Any, *rest: Any) -> Callable[..., Any] | None:
            fits = isinstance(first, types.BaseNamedTuple) and getattr(first, "instance_class", None) is form
            return implementation if fits else None

        return implementation

    return decorate


def loop_for(loop: Any, *forms: Any) -> Any:
    """Returns the compiled loop for these forms: one that is kept on disk, or for forms of a user's own one that is not.

    What is kept names the classes of the forms, and other programs could not read it where they cannot import those.
    """
    ours = all(type(form).__module__.startswith("marl.") for form in forms)
    return loop if ours else _of_this_process(loop)


@functools.cache
def _of_this_process(loop: Any) -> Any:
    return jit(**loop.targetoptions)(loop.py_func)


# Every form.


def of_replica(form: Any, b: int) -> Any:
    """Returns the form of replica b alone: the argument `policy`, `critic`, `goal` or `scale` of the functions below."""


# Objectives.


def error_of(goal: Any, i: int, r: float, alpha: float, following: float, present: float) -> Any:
    """Returns delta_i of line 6 from r_i, Q_i(z(t+1)) and Q_i(z(t)), and takes the step of mu, line 5, after it."""


# Gamma.


def rescaled(scale: Any, ascent: float) -> Any:
    """Returns Gamma ascent, before line 6."""


def learned(scale: Any, critic: Any, slot: int, before: float) -> None:
    """Takes note of the value in slot of the critic, which was `before` until line 6."""


# Policy forms.


def begin(form: Any, actions: Any, laid_out: Any) -> None:
    """Lays the policies out in the arrays `laid_out`, itself a form: the one that the loops are called with."""


def finish(form: Any, laid_out: Any) -> None:
    """Takes back into the form what has been learned in `laid_out`."""


def row_of(policy: Any, actions: Any, place: Any) -> Any:
    """Returns where the policy of an agent in a state of its own begins; place: i S + s_i."""


def fetch_row(policy: Any, actions: Any, place: Any) -> None:
    """Asks for the cache lines from which an action of that agent will be drawn; place: as for `row_of`."""


def draw_action(policy: Any, actions: Any, s: np.ndarray, i: int, row: int, last: int, u: float) -> Any:
    """Draws the action of agent i by inverse CDF on u in [0, 1); see `Policy.sample`. last: the last legal action."""


def room_to_climb(policy: Any, actions: Any, agents: int) -> Any:
    """Makes the arrays that `climb` works in, for so many agents."""


def climb(
    policy: Any,
    actions: Any,
    s: np.ndarray,
    a: np.ndarray,
    row: np.ndarray,
    chooser: np.ndarray,
    choosing: int,
    ascent: np.ndarray,
    room: Any,
) -> Any:
    """Line 8: theta_i += ascent[c] grad log zeta_i(a_i | s), i = chooser[c], for the c < choosing agents with a choice.

    row[c]: that of agent i; at most `BLOCK` of `marl.kernels.softmax_arithmetic` agents come at a time.
    Returns a number that is finite iff all of it is.
    """


def add_score(policy: Any, actions: Any, s: np.ndarray, i: int, row: int, a: int, ascent: float) -> Any:
    """theta_i += ascent grad log zeta_i(a | s), while probabilities stay as they are until `renew`. Returns it."""


def renew(policy: Any, actions: Any, s: np.ndarray, row: np.ndarray, room: Any) -> None:
    """Makes the probabilities of all agents in s those of theta."""


# Critic forms. Agents are asked for by the block, first .. first + agents - 1, and `key` and `slot` are those of the block.


def mark(critic: Any, near: np.ndarray, size: np.ndarray, z: np.ndarray, first: int, agents: int, key: np.ndarray) -> None:
    """key[c] <- a number for the joint pair z that the neighborhood of agent first + c sees; near, size: N_i^kappa."""


def fetch(critic: Any, agents: int, key: np.ndarray, slot: np.ndarray) -> None:
    """slot[c] <- where the search for key[c] starts; all cache lines are asked for, to be there when `settle` comes."""


def settle(critic: Any, agents: int, key: np.ndarray, slot: np.ndarray) -> Any:
    """slot[c] <- where Q_i of key[c] stands, from where `fetch` said; makes entries, and returns how many."""


def fetch_value(critic: Any, slot: int) -> None:
    """Asks for the cache line of a value."""


def is_learned(critic: Any, i: int, key: int) -> Any:
    """Says whether line 6 changes Q_i there."""


def value(critic: Any, i: int, slot: int) -> Any:
    """Returns Q_i from where it stands."""


def learn(critic: Any, i: int, slot: int, before: float, change: float) -> None:
    """Line 6: the parameters of Q_i, which is `before`, move by `change` times their gradient."""


def count_entries(form: Any, b: int, made: int) -> Any:
    """Counts entries made for replica b; False if there was no room for them."""


# Optimizers.


def descend(optimizer: Any, x: np.ndarray, gradient: np.ndarray, step_size: float, taken: int) -> None:
    """Takes a step on the parameters x along minus `gradient`, which is set to zero. Shapes: x, gradient [any].

    taken: how many steps were taken since the form was made.
    """


# Linear forms: logits or values that are linear in one array of parameters, learned in batches. In a form of one replica it
# is `form.weight`, and a `gradient` has its shape.


def logits_at(policy: Any, actions: Any, s: np.ndarray, i: int, out: np.ndarray, first: int) -> None:
    """out[first + x] <- the logit of action x of agent i, -inf if it is illegal."""


def add_logits(policy: Any, actions: Any, s: np.ndarray, i: int, slope: np.ndarray, gradient: np.ndarray) -> None:
    """gradient += sum_x slope[x] times the gradient of the logit of action x of agent i. slope: 0 where illegal."""


def value_at(critic: Any, z: np.ndarray, i: int) -> Any:
    """Returns Q_i at the pairs z [n] of all agents."""


def add_value(critic: Any, z: np.ndarray, i: int, slope: float, gradient: np.ndarray) -> None:
    """gradient += slope times the gradient of Q_i at the pairs z."""


def worths_at(critic: Any, actions: Any, z: np.ndarray, i: int, choice: np.ndarray, out: np.ndarray) -> None:
    """out[x] <- sum_j Q_j over the j in N_i^kappa with choice[x] in place of z[i], up to what no choice changes.

    choice [A]: the pairs of agent i with each of its actions in its state, below 0 where that is illegal (any value).
    """
