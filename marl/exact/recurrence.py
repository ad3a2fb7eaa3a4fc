"""Whether a chain has one recurrent class, so that its stationary law and V are unique."""

from collections.abc import Callable

import numpy as np

from marl.core.errors import ConfigError
from marl.exact.chain import Chain

_Step = Callable[[np.ndarray], np.ndarray]


def check_unichain(chain: Chain) -> None:
    """Transient states and periods are fine. Errors: `ConfigError` naming two states of different recurrent classes."""
    if chain.positive:
        return
    forward, backward = _steps(chain)

    def closure(start: int, step: _Step) -> np.ndarray:
        """Joint states that `start` reaches, or that reach it, itself included."""
        reached = np.zeros((chain.num_states, 1), dtype=bool)
        reached[start] = True
        while True:
            grown = reached | (step(reached.astype(float)) > 0)
            if np.array_equal(grown, reached):
                return reached[:, 0]
            reached = grown

    state = 0
    while True:  # walk to a state that everything reachable from it can return to
        after, before = closure(state, forward), closure(state, backward)
        gone = np.flatnonzero(after & ~before)
        if gone.size == 0:
            break
        state = int(gone[0])
    elsewhere = np.flatnonzero(~before)
    if elsewhere.size:
        one, other = (tuple(chain.states(np.array(x)).tolist()) for x in (state, elsewhere[0]))
        raise ConfigError(
            f"the chain has more than one recurrent class: from joint state {other} it never reaches {one}, so long-run "
            "averages depend on the start; use a policy that tries every action, or laws without absorbing states"
        )


def _steps(chain: Chain) -> tuple[_Step, _Step]:
    """One step forward and one back, on sets of joint states."""
    if chain.method == "dense":
        possible = (chain.matrix > 0).double().numpy()
        return (lambda now: possible.T @ now), (lambda now: possible @ now)
    factors, weights = chain.supported()
    steps = chain.elimination
    return (lambda now: steps.push(factors, weights, now)), (lambda now: steps.expect(factors, weights, now))
