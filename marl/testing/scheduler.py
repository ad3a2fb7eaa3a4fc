"""A scheduler must be a pure function of time that keeps what it declares."""

import itertools
import math
import random

import numpy as np

from marl.core.scheduler import Scheduler
from marl.testing.demands import demand

FALL = 0.05
"""How far the exponent that is seen may be from the declared one."""
SMALLEST = 25
"""Above this exponent a step size at t = 2^40 may be 0 to the precision of a float."""


def check_scheduler(scheduler: Scheduler) -> None:
    """Holds a scheduler against what it owes: finite step sizes of at least 0, that asking does not change.

    `values` must give the step sizes one by one; a declared `non_increasing` and `exponent` must be true of sampled times.
    Errors: `ContractError` that says what differs and when.
    """
    draw = random.Random(0)
    early = [*range(50), *(draw.randrange(2**k, 2 ** (k + 1)) for k in range(6, 31))]
    first = {t: scheduler(t) for t in early}
    name = type(scheduler).__name__
    for t, size in first.items():
        demand(math.isfinite(size) and size >= 0.0, f"{name} gives the step size {size} at t = {t}; it must be at least 0")
    _check_values(scheduler, name)
    for t in draw.sample(early, len(early)):
        demand(scheduler(t) == first[t], f"{name} gave {first[t]} at t = {t}, and gives {scheduler(t)} when asked again")
    if scheduler.non_increasing:
        for before, after in itertools.pairwise(early):
            rises = first[after] > first[before]
            demand(not rises, f"{name} rises between t = {before} and t = {after}, but it says non_increasing")
    if scheduler.exponent is not None:
        _check_exponent(scheduler, name, scheduler.exponent)


def _check_values(scheduler: Scheduler, name: str) -> None:
    for start, steps in (0, 40), (7, 1), (4096, 40), (10**6, 3), (5, 0):
        found = scheduler.values(start, steps)
        fits = isinstance(found, np.ndarray) and found.dtype == np.float64 and found.shape == (steps,)
        demand(fits, f"values({start}, {steps}) of {name} must be an array of {steps} float64 numbers")
        for k in range(steps):
            wanted = scheduler(start + k)
            same = math.isclose(found[k], wanted, rel_tol=1e-12, abs_tol=1e-300)
            demand(same, f"values({start}, {steps}) of {name} gives {found[k]} for t = {start + k}, not {wanted}")


def _check_exponent(scheduler: Scheduler, name: str, exponent: float) -> None:
    """Looks at 20 doublings of time; takes means of logarithms over random times, as a scheduler may start again."""
    draw, doublings = random.Random(1), 20
    sizes = [[scheduler(draw.randrange(2**k, 2 ** (k + 1))) for _ in range(200)] for k in (40, 40 + doublings)]
    if not any(sizes[0]) and (exponent > SMALLEST or not scheduler(0)):
        return
    if not all(sizes[0]) or not all(sizes[1]):
        fall = math.inf
    else:
        early, late = (sum(math.log2(size) for size in window) / len(window) for window in sizes)
        fall = (early - late) / doublings
    broken = f"{name} falls like t^-{fall:.3g} between t = 2^40 and t = 2^60, but its exponent is {exponent}"
    demand(fall == exponent or abs(fall - exponent) <= FALL, broken)
