"""A compiled step owes the numbers of the environment's own `step`."""

import numpy as np

from marl.core.checks import integer
from marl.core.environment import Environment, finite_environment
from marl.core.errors import ContractError
from marl.testing.inputs import random_inputs
from marl.trainers.fusible import form_of, not_declared


def check_fused_step(env: Environment, *, samples: int = 1000, seed: int = 0) -> None:
    """Holds `env.fused()` against `env.step` on random states, legal actions and uniforms.

    Next states must be equal and rewards too, up to 1e-12; the step must write to nothing but work, next_s and r, and
    must not depend on what work, next_s and r held before.

    Errors: `ContractError` that says what differs and where, or that there is nothing to check.
    """
    samples = integer("samples", samples, 1)
    env = finite_environment(env, "check_fused_step")
    if reason := not_declared(env):
        raise ContractError(f"there is no compiled step to check: {reason}")
    form = form_of(env)
    if form is None:
        raise ContractError(f"there is no compiled step to check: {type(env).__name__} has no compiled form")
    s, a, u = random_inputs(env, samples, seed)
    wanted_s, wanted_r = (part.numpy() for part in env.step(s, a, u))
    for k in range(samples):
        read = [form.ints, form.floats, s[k].numpy(), a[k].numpy(), u[k].numpy()]
        before = [part.copy() for part in read]
        for rubbish in (-1, 1):
            work = np.full(form.work, rubbish * 2**40)
            next_s, r = np.full(env.n, rubbish * 2**40), np.full(env.n, np.nan)
            form.step(read[0], read[1], work, *read[2:], next_s, r)
            where = f"{type(env).__name__}, sample {k}: s = {before[2].tolist()}, a = {before[3].tolist()}"
            if not all(map(np.array_equal, read, before)):
                raise ContractError(f"{where}: the compiled step changed what it may only read")
            if not np.array_equal(next_s, wanted_s[k]):
                raise ContractError(f"{where}: next states {next_s.tolist()}, but `step` gives {wanted_s[k].tolist()}")
            if not np.allclose(r, wanted_r[k], rtol=0.0, atol=1e-12):
                raise ContractError(f"{where}: rewards {r.tolist()}, but `step` gives {wanted_r[k].tolist()}")
