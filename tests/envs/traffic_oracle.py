"""Traffic signals in plain loops, written from the model's text, and the exact values of one street of two intersections.

`python -m tests.envs.traffic_oracle` prints the table of docs/systems/traffic.md.
"""

import itertools
from collections.abc import Callable, Sequence

import numpy as np

SIDES = [(-1, 0), (0, 1), (1, 0), (0, -1)]  # north, east, south, west as (down, right)


class Grid:
    """arrival: one probability for each cell at the side, by intersections; left: one per intersection."""

    def __init__(
        self, rows: int, cols: int, capacity: int, arrival: Sequence[float], left: Sequence[float], elapsed: int = 1
    ):
        self.places = list(itertools.product(range(rows), range(cols)))
        self.capacity, self.left, self.elapsed = capacity, left, elapsed
        self.states = 4 * elapsed * (capacity + 1) ** 4
        given = iter(arrival)
        self.arrival = {
            (i, d): next(given) for i in range(len(self.places)) for d in range(4) if self.beside(i, SIDES[d]) is None
        }

    def beside(self, i: int, heading: tuple[int, int]) -> int | None:
        place = (self.places[i][0] + heading[0], self.places[i][1] + heading[1])
        return self.places.index(place) if place in self.places else None

    def unpack(self, s: int) -> tuple[list[int], int, int, int]:
        """Vehicles per cell, axis, left, elapsed."""
        cells = []
        for _ in range(4):
            s, k = divmod(s, self.capacity + 1)
            cells.append(k)
        return cells, s // 2 % 2, s % 2, s // 4

    def pack(self, cells: Sequence[int], axis: int, left: int, elapsed: int = 0) -> int:
        return sum(k * (self.capacity + 1) ** d for d, k in enumerate([*cells, 2 * axis + left + 4 * elapsed]))

    def goes_to(self, i: int, d: int, left: int) -> tuple[int, int] | None:
        """The cell that a vehicle of cell d of i enters, None outside: it heads away from its side, or left of that."""
        down, right = -SIDES[d][0], -SIDES[d][1]
        heading = (-right, down) if left else (down, right)
        j = self.beside(i, heading)
        return None if j is None else (j, SIDES.index((-heading[0], -heading[1])))

    def moves(self, s: Sequence[int], a: Sequence[int]) -> dict[tuple[int, int], tuple[int, int] | None]:
        """(intersection, cell) that sends a vehicle -> the cell that takes it in."""
        found = {}
        for i in range(len(s)):
            cells, axis, left, _ = self.unpack(s[i])
            served = [] if a[i] == 1 else [(0, 2), (1, 3)][axis]
            for d in served:
                target = self.goes_to(i, d, left)
                if cells[d] > 0 and (target is None or self.unpack(s[target[0]])[0][target[1]] < self.capacity):
                    found[i, d] = target
        return found

    def sure(self, s: Sequence[int], a: Sequence[int]) -> tuple[list[tuple], list[float]]:
        """Per intersection: all that its next state is drawn from (i, cells, open cells, axis, elapsed); and rewards."""
        moves = self.moves(s, a)
        taken = [target for target in moves.values() if target is not None]
        assert len(set(taken)) == len(taken)
        drawn_from, rewards = [], []
        for i in range(len(s)):
            cells, axis, _, elapsed = self.unpack(s[i])
            after, waits = [], 0.0
            for d, k in enumerate(cells):
                after.append(k - ((i, d) in moves) + ((i, d) in taken))
                waits += k - ((i, d) in moves) + (self.arrival.get((i, d), 0.0) if k == self.capacity else 0.0)
            may_enter = tuple(d for d in range(4) if (i, d) in self.arrival and cells[d] < self.capacity)
            elapsed = 0 if a[i] else min(elapsed + 1, self.elapsed - 1)
            drawn_from.append((i, tuple(after), may_enter, (axis + a[i]) % 2, elapsed))
            rewards.append(-waits / 4)
        return drawn_from, rewards

    def law(self, i: int, after: tuple, may_enter: tuple, axis: int, elapsed: int) -> list[float]:
        """Probabilities of the next states."""
        law = [0.0] * self.states
        for arrived in itertools.product((0, 1), repeat=len(may_enter)):
            for left in (0, 1):
                cells, p = list(after), self.left[i] if left else 1 - self.left[i]
                for d, one in zip(may_enter, arrived, strict=True):
                    cells[d] += one
                    p *= self.arrival[i, d] if one else 1 - self.arrival[i, d]
                if p > 0.0:
                    law[self.pack(cells, axis, left, elapsed)] += p
        return law


class TwoIntersections:
    """All joint states and actions of a grid of two, to solve for long-run rewards per intersection and step."""

    def __init__(self, grid: Grid):
        self.grid, count = grid, grid.states
        keys: list[dict[tuple, int]] = [{}, {}]
        shape = (4, count, count)
        self.after, self.reward = np.zeros((2, *shape), dtype=np.int64), np.zeros(shape)
        for k, s, t in np.ndindex(shape):
            drawn_from, rewards = grid.sure((s, t), divmod(k, 2))
            for i in (0, 1):
                self.after[i, k, s, t] = keys[i].setdefault(drawn_from[i], len(keys[i]))
            self.reward[k, s, t] = sum(rewards) / 2
        self.laws = [np.array([grid.law(*key) for key in keys[i]]) for i in (0, 1)]

    def ahead(self, values: np.ndarray) -> np.ndarray:
        """Reward plus expected value of the next state, per joint action and state."""
        return self.reward + (self.laws[0] @ values @ self.laws[1].T)[self.after[0], self.after[1]]

    def solve(self, choose: Callable[[np.ndarray], np.ndarray]) -> float:
        """choose: values per joint action -> of what is done; steps until all states gain the same, to 1e-8."""
        values = np.zeros(self.reward.shape[1:])
        for _ in range(20_000):
            following = choose(self.ahead(values))
            gain = following - values
            if np.ptp(gain) < 1e-8:
                return float((gain.max() + gain.min()) / 2)
            values = following - following[0, 0]
        raise AssertionError("no convergence")

    def optimum(self) -> float:
        return self.solve(lambda q: q.max(axis=0))

    def of(self, rule: Callable[[int, int, int], float]) -> float:
        """rule: (i, own state, other's state) -> probability to advance."""
        states = range(self.grid.states)
        advance = [np.array([[rule(i, (s, t)[i], (t, s)[i]) for t in states] for s in states]) for i in (0, 1)]
        one, two = ([1 - x, x] for x in advance)
        weight = np.array([one[a] * two[b] for a in (0, 1) for b in (0, 1)])
        return self.solve(lambda q: (weight * q).sum(axis=0))

    def fixed_time(self, hold: int) -> float:
        """Both advance together every `hold` steps, from empty streets and axis 0."""
        values, before = np.zeros(self.reward.shape[1:]), -np.inf
        for _ in range(5_000):
            last = values[0, 0]
            for step in range(2 * hold):  # backwards: the last step of a cycle first
                values = self.ahead(values)[3 if step % hold == 0 else 0]
            gain = (values[0, 0] - last) / (2 * hold)
            if abs(gain - before) < 1e-9:
                return float(gain)
            before = gain
        raise AssertionError("no convergence")

    def longest_queue(self, i: int, own: int, other: int) -> float:
        cells, axis, _, _ = self.grid.unpack(own)
        queues = cells[0] + cells[2], cells[1] + cells[3]
        return float(queues[1 - axis] > queues[axis])

    def max_pressure(self, i: int, own: int, other: int) -> float:
        cells, axis, _, _ = self.grid.unpack(own)
        far, pressure = self.grid.unpack(other)[0], [0.0, 0.0]
        for d in range(4):
            ahead = [self.grid.goes_to(i, d, left) for left in (0, 1)]
            full = [0 if target is None else far[target[1]] for target in ahead]
            pressure[d % 2] += cells[d] - (1 - self.grid.left[i]) * full[0] - self.grid.left[i] * full[1]
        return float(pressure[1 - axis] > pressure[axis] + 1e-9)


def table(capacity: int, arrival: float, left: float) -> dict[str, float]:
    """Values of two intersections in a row."""
    two = TwoIntersections(Grid(1, 2, capacity, [arrival] * 6, [left] * 2))
    found = {
        "uniform": two.of(lambda i, own, other: 0.5),
        "longest queue": two.of(two.longest_queue),
        "max pressure": two.of(two.max_pressure),
        "optimum": two.optimum(),
    }
    return {**found, **{f"fixed time {hold}": two.fixed_time(hold) for hold in range(2, 11)}}


if __name__ == "__main__":
    for capacity, arrival in itertools.product((1, 2), (0.1, 0.2, 0.3)):
        print(
            capacity, arrival, {name: round(value, 4) for name, value in table(capacity, arrival, 0.25).items()}, flush=True
        )
