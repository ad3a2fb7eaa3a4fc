"""The protocol of compiled steps says what a function of an environment must do so that a run can be compiled with it.

A step has the signature STEP and moves ONE replica: it reads s, a [n] and the uniforms u [n, U], and fills next_s and r
[n]. `ints` and `floats` are the environment's own numbers, laid out as it likes and only read; `work` is room for as many
integers as it asked for, with anything in them. It must give what the environment's `step` gives for the same inputs.
Decorate it with @cached_njit(STEP) of `marl.kernels.compiled`, or with numba's own @njit(STEP, cache=True), which raises
where nothing can be kept. It runs beside other replicas: it may write to work, next_s and r alone, and must not raise. The
environments of the library have theirs beside them, in the modules `kernel` of `marl.envs`.
What such a step calls is its own file's or constant: numba compiles it anew when its own file has changed.
"""

from typing import Any, NamedTuple

import numpy as np
from numba import types
from numba.extending import typeof_impl

INTS, FLOATS = types.int64[::1], types.float64[::1]
STEP = types.void(INTS, FLOATS, INTS, INTS, INTS, types.float64[:, :], INTS, FLOATS)
"""(ints, floats, work, s, a, u, next_s, r) -> nothing."""

PLAIN = {"_nrt": False}
"""Options of `cached_njit` for a step that makes no arrays but views: numba counts no references to them.

Where it does, which hangs on details of the code, that takes 65 ns a step, a third of a step of 25 agents."""


class Numbers(NamedTuple):
    """Says what a step reads, and what is drawn and kept ready for it: U uniforms per agent, room for `work` integers."""

    ints: np.ndarray
    floats: np.ndarray
    work: int
    uniforms: int


class StepArgument(types.WrapperAddressProtocol):
    """This is a compiled step as an argument of a kernel, known to it by its signature alone.

    So that one kernel serves every environment and is kept on disk; a step handed over as it is would be compiled in.
    """

    def __init__(self, step: Any):
        self._compiled = step.get_compile_result(STEP)  # kept alive, or the address would be that of nothing
        self._address = self._compiled.library.get_pointer_to_function(self._compiled.fndesc.llvm_cfunc_wrapper_name)

    def __wrapper_address__(self) -> int:
        return self._address

    def signature(self) -> Any:
        return STEP


_KIND = types.FunctionType(STEP)


@typeof_impl.register(StepArgument)
def _kind_of(value: StepArgument, context: Any) -> Any:
    """Says it at once: to work it out at every call takes longer than a call."""
    return _KIND
