"""A share of infected agents that no way to shield gets below is computed here."""

import numpy as np


def imported_cases(import_rate: np.ndarray, recovery: np.ndarray, waning: np.ndarray | None) -> np.ndarray:
    """Bounds the long-run share of time that every agent is infected, under every policy, from below. Shapes: [n].

    It is that of an agent that neighbors never infect: with m, c and v the probabilities to be infected from outside, to
    recover and to lose immunity, m / (m + c), and m v / (m v + c v + c m) with three states; 0 where that is 0 / 0.
    Being infected more often does not help: docs/systems/epidemic.md proves it.
    """
    m, c = import_rate, recovery
    least, cycle = (m, m + c) if waning is None else (m * waning, m * waning + c * waning + c * m)
    return np.divide(least, cycle, out=np.zeros(len(m)), where=cycle > 0.0)
