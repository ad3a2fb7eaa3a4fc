"""SysAdmin is a network of machines that fail, drag their neighbors along and are rebooted by crews that they share."""

from typing import Any

import numpy as np
import torch
from torch import Tensor

from marl.core.checks import size
from marl.core.environment import MAX_MASK, NetworkedMDP
from marl.core.errors import ConfigError
from marl.core.lookup import over_neighbors
from marl.core.network import Network
from marl.envs.graph import graph as named_graph
from marl.envs.incidence import sharing_edges
from marl.envs.pairs import in_pairs
from marl.envs.per_agent import probabilities
from marl.envs.sysadmin.crews import WORDS, reached_crews
from marl.kernels.arguments import FusedStep

GOOD, FAULTY, DEAD = range(3)
IDLE, LOADED, DONE = range(3)
KEPT = (IDLE, LOADED, IDLE, IDLE, LOADED, IDLE, IDLE, IDLE, IDLE)
"""Per state: the load that follows if no job comes and none is finished."""


class SysAdmin(NetworkedMDP):
    """Machines fail, the sooner the worse their neighbors are; jobs run on them, and crews reboot them on request.

    s_i = 3 status + load, status 0 good, 1 faulty, 2 dead, load 0 idle, 1 loaded, 2 done. Action 0 waits, action k requests
    a reboot from the k-th crew that the machine reaches (increasing). All of a step depends on z = (s, a) at its start:
    1. a finished job (done) leaves and pays r_i = 1, whatever the machine's status and its action;
    2. a crew with one request reboots that machine: its next state is (good, idle) and a job that runs on it is lost;
       a crew with several requests reboots nobody;
    3. any other machine gets worse by one status with probability p_fail_i + b_i if it is good and p_dead_i + b_i if it is
       faulty (1 where the sum is more), b_i = the mean over its neighbors in the graph of faulty_neighbor_i for a faulty
       and dead_neighbor_i for a dead one, 0 without neighbors; a dead one stays dead;
    4. and independently of 3, by its status at the start: an idle one that is not dead is loaded with probability
       p_load_i; a job is done with probability p_done_good_i on a good and p_done_faulty_i on a faulty machine, and lost on
       a dead one; a finished job has left.
    So a machine that dies loses its job one step later, unless the job was done in the very step in which it died.
    The network joins the ends of the graph's edges and machines that share a crew; faults go along the graph's edges only.

    graph: see `marl.envs.graph`. crews: "edges" (one at every edge of the graph, for its two ends), "own" (one per machine:
    the version of the source), a number c (one for each of c runs of machines), or the list of crews of every machine, or
    a JSON file of one (see `marl.envs.sysadmin.crews`). The other numbers are probabilities per step, one for all machines
    or a list. All machines start good and idle.

    Attributes: graph, crews (the lists), num_crews; target [n, A], the crew that an action calls, num_crews for none.
    Source: Guestrin, Koller, Parr 2001, with the numbers of the SysAdmin of JuliaPOMDP and AI-Toolbox. Uniforms per agent
    and step: status, load. Errors: `ConfigError`.
    """

    def __init__(
        self,
        graph: str | Network = "ring:6",
        crews: Any = "edges",
        p_fail: float | list[float] = 0.4,
        p_dead: float | list[float] = 0.1,
        faulty_neighbor: float | list[float] = 0.2,
        dead_neighbor: float | list[float] = 0.5,
        p_load: float | list[float] = 0.6,
        p_done_good: float | list[float] = 0.9,
        p_done_faulty: float | list[float] = 0.6,
    ):
        self.graph = named_graph(graph)
        n = self.graph.n
        self.crews = reached_crews(crews, self.graph)
        self.num_crews = 1 + max(max(reached) for reached in self.crews)
        load, good, faulty, fail, dead, by_faulty, by_dead = (
            probabilities(f"env.{name}", value, n, "machine")
            for name, value in (
                ("p_load", p_load),
                ("p_done_good", p_done_good),
                ("p_done_faulty", p_done_faulty),
                ("p_fail", p_fail),
                ("p_dead", p_dead),
                ("faulty_neighbor", faulty_neighbor),
                ("dead_neighbor", dead_neighbor),
            )
        )
        degree, never = np.maximum(1, self.graph.adjacency.degree), np.zeros(n)
        no_chance = np.full(n, -np.inf)
        self._influence = np.stack([by_faulty, by_dead], axis=1) / degree[:, None]
        self._chance = np.stack([load, good, faulty, fail, dead, no_chance], axis=1)
        self._worse = torch.from_numpy(np.stack([fail, dead, never], axis=1).ravel())
        self._on = torch.from_numpy(np.stack([load, good, never, load, faulty, *[never] * 4], axis=1).ravel())
        self._by_faulty, self._by_dead = torch.from_numpy(self._influence.T.copy())
        self._kept = torch.tensor(KEPT)
        self._ends = torch.from_numpy(self.graph.edges).T

        num_actions = 1 + np.array([len(reached) for reached in self.crews])
        if n * 9 * int(num_actions.max()) > MAX_MASK:
            raise ConfigError(
                f"env.crews lets a machine call {size(int(num_actions.max()) - 1)} crews, too many to list for {n} "
                "machines; choose env.crews=own, or lists that give every machine fewer"
            )
        self.target = _targets(self.crews, num_actions, self.num_crews)
        self._row, self._machine = torch.arange(n) * self.target.shape[1], torch.arange(n)
        shared = sharing_edges(self.crews, WORDS)
        super().__init__(
            Network(n, np.concatenate([self.graph.edges, shared])),
            num_states=torch.full((n,), 9),
            num_actions=torch.from_numpy(num_actions),
            action_mask=(self.target < self.num_crews)[:, None, :].repeat(1, 9, 1)
            | (torch.arange(self.target.shape[1]) == 0),
            num_uniforms=2,
            reward_range=(0.0, 1.0),
            private_actions=len(shared) == 0,
            private_rewards=True,
        )

    def state_name(self, i: int, s: int) -> str:
        status, load = divmod(s, 3)
        return f"{('good', 'faulty', 'dead')[status]}, {('idle', 'loaded', 'done')[load]}"

    def action_name(self, i: int, a: int) -> str:
        return "wait" if a == 0 else f"request crew {self.crews[i][a - 1]}"

    def reward_bound(self) -> float:
        """Bounds the average reward of every policy by `marl.envs.sysadmin.limits.machines_alone`."""
        from marl.envs.sysadmin.limits import machines_alone

        harm = self._influence.max(axis=1) * self.graph.adjacency.degree
        return machines_alone(self._chance[:, :5], harm, self.num_crews) / self.n

    def fused(self) -> FusedStep:
        """Gives the compiled step (see `marl.envs.sysadmin.kernel`) and its numbers."""
        from marl.envs.sysadmin import kernel  # numba takes its time: only where it is used

        called = np.arange(self.n + 1) * self.target.shape[1]
        width, targets, _ = in_pairs(called, self.target.numpy().ravel(), self.num_crews)
        rows, neighbors, _ = in_pairs(*self.graph.adjacency[:2], self.n)
        alike = bool((self._chance == self._chance[0]).all())  # one row for all: less to read
        floats = np.concatenate((self._influence.ravel(), (self._chance[:1] if alike else self._chance).ravel()))
        apart = 0 if alike else self._chance.shape[1]
        head = (self.num_crews, width[1], apart, *kernel.FACTS, *kernel.STATUS)
        ends = len(head) + len(targets) + self.n + rows[1:]
        ints = np.concatenate((head, targets, ends, neighbors))
        return FusedStep(kernel.step, ints, floats, work=self.num_crews // 2 + 2 + 2 * self.n)

    def _rebooted(self, a: Tensor) -> Tensor:
        """Tells which machines have a crew for themselves. Any leading axes."""
        crew = torch.take(self.target, self._row + a)
        requests = torch.zeros(*a.shape[:-1], self.num_crews + 1, dtype=torch.int64)
        requests.scatter_add_(-1, crew, torch.ones_like(crew))
        return (requests.gather(-1, crew) == 1) & (a > 0)

    def _chances(self, s: Tensor) -> tuple[Tensor, Tensor]:
        """Gives the probabilities that the status gets worse (1 where it is more) and that the load moves on."""
        status = torch.div(s, 3, rounding_mode="floor")
        faulty, dead = over_neighbors(self._ends, torch.stack([status == FAULTY, status == DEAD]).double())
        influence = faulty * self._by_faulty + dead * self._by_dead
        worse = (torch.take(self._worse, 3 * self._machine + status) + influence) * (status < DEAD)
        return worse.clamp(max=1.0), torch.take(self._on, 9 * self._machine + s)

    def _reset(self, u: Tensor) -> Tensor:
        return torch.zeros(u.shape[:-1], dtype=torch.int64)

    def _step(self, s: Tensor, a: Tensor, u: Tensor) -> tuple[Tensor, Tensor]:
        worse, on = self._chances(s)
        status = torch.div(s, 3, rounding_mode="floor") + (u[..., 0] < worse)
        load = self._kept[s] + (u[..., 1] < on)
        return (3 * status + load) * ~self._rebooted(a), self._reward(s, a)

    def _transition(self, s: Tensor, a: Tensor) -> Tensor:
        worse, on = self._chances(s)
        rebooted = self._rebooted(a).double()
        here, moves = 3 * torch.div(s, 3, rounding_mode="floor") + self._kept[s], 1.0 - rebooted
        law = torch.zeros(*s.shape, 9, dtype=torch.float64)
        law[..., 0] = rebooted
        for down, chance in (0, 1.0 - worse), (3, worse):
            for up, odds in (0, 1.0 - on), (1, on):
                law.scatter_add_(-1, (here + down + up).clamp(max=8).unsqueeze(-1), (moves * chance * odds).unsqueeze(-1))
        return law

    def _reward(self, s: Tensor, a: Tensor) -> Tensor:
        return (s % 3 == DONE).double()


def _targets(crews: list[list[int]], num_actions: np.ndarray, none: int) -> Tensor:
    """Gives the crew that every action of a machine calls, [n, A]; `none` for waiting and for padding."""
    target = np.full((len(crews), int(num_actions.max())), none, dtype=np.int64)
    action = np.arange(target.shape[1])
    target[(action > 0) & (action < num_actions[:, None])] = np.concatenate([np.array(reached) for reached in crews])
    return torch.from_numpy(target)
