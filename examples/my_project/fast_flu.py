"""The flu with a compiled step: `trainer.engine=auto` now compiles the whole run."""

import numpy as np
from flu import Flu

from marl import FusedStep
from marl.kernels.compiled import cached_njit
from marl.kernels.steps import STEP


@cached_njit(STEP)
def flu_step(ints, floats, work, s, a, u, next_s, r):
    """ints: m, then m neighbors per agent, -1 for none. floats: spontaneous, recovery, cost, then infection per agent."""
    spontaneous, recovery, cost = floats[0], floats[1], floats[2]
    m = ints[0]
    for i in range(len(s)):
        infected = 0
        for k in range(1 + i * m, 1 + (i + 1) * m):
            if ints[k] >= 0:
                infected += s[ints[k]]
        escaped = (1.0 - spontaneous) * (1.0 - floats[3 + i] * (1.0 - 0.8 * a[i])) ** infected
        sick = 1.0 - recovery if s[i] == 1 else 1.0 - escaped
        next_s[i] = u[i, 0] >= 1.0 - sick
        r[i] = (1.0 - s[i]) - cost * a[i]


class FastFlu(Flu):
    """`Flu`, number for number; hold it against itself with `marl.check_fused_step(FastFlu())`."""

    def fused(self) -> FusedStep:
        neighbors = self._neighbors.masked_fill(~self._counts, -1)
        ints = np.concatenate([[neighbors.shape[1]], neighbors.flatten().numpy()])
        floats = np.concatenate([[self.spontaneous, self.recovery, self.cost], self.infection.numpy()])
        return FusedStep(flu_step, ints, floats)
