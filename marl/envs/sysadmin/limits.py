"""A number of finished jobs that no way to send the crews passes is computed here."""

import numpy as np

from marl.envs.alone import Alone, relaxed

GOOD, FAULTY, DEAD = range(3)
IDLE, LOADED, DONE = range(3)


def machines_alone(chance: np.ndarray, harm: np.ndarray, crews: int) -> float:
    """Bounds the sum of all machines' average rewards under every policy from above.

    Every machine is rebooted when it likes and chooses how its neighbors are; but all together have no more reboots than
    there are crews, on average. docs/systems/sysadmin.md proves it.

    chance [n, 5]: p_load, p_done_good, p_done_faulty, p_fail, p_dead. harm [n]: what neighbors add to the last two at most.
    """
    return relaxed((_machine(*row) for row in np.column_stack([chance, harm]).tolist()), float(crews))


def _machine(load: float, done_good: float, done_faulty: float, fail: float, dead: float, harm: float) -> Alone:
    """Makes a machine whose moves are: wait beside good neighbors, wait beside the worst ones, be rebooted."""
    law, reward = np.zeros((3, 9, 9)), np.zeros((3, 9))
    reward[:, DONE::3] = 1.0
    law[2, :, 3 * GOOD + IDLE] = 1.0
    on = {(GOOD, IDLE): load, (FAULTY, IDLE): load, (GOOD, LOADED): done_good, (FAULTY, LOADED): done_faulty}
    for status, job in np.ndindex(3, 3):
        further = on.get((status, job), 0.0)
        kept = LOADED if job == LOADED and status < DEAD else IDLE
        for move, added in enumerate((0.0, harm)):
            worse = 0.0 if status == DEAD else min(1.0, (fail, dead)[status] + added)
            for down, p in (0, 1.0 - worse), (1, worse):
                for up, x in (0, 1.0 - further), (1, further):
                    if p * x > 0.0:
                        law[move, 3 * status + job, 3 * (status + down) + kept + up] += p * x
    return Alone(law, reward, np.array([0.0, 0.0, 1.0]))
