"""What agents lose that see kappa hops: localized policy iteration in exact form, beside the answers that are known.

    python experiments/local_policies.py [--improvement soft|kl] [--out outputs/local_policies]

Rings of six agents with two states: the epidemic of docs/systems/epidemic.md, and random tables that mix their neighbors
by e. `soft`: soft policy iteration, gamma = .9, uniform weights, undamped, until the objective moves by less than 1e-9; the
gap is that of its mean value over all joint states to the joint soft optimum V = (tau / n) log sum_a exp(n Q / tau). (With
weights by visits, agents of the epidemic that see themselves alone do not settle undamped.) `kl`: KL steps in turn, eta =
.5, average reward, 60 sweeps over the six agents; J before the last step, beside the optimum. Both if none is asked for.
Known answers: computed by independent loops over all joint states and actions, of the methods of Zhang, Qu, Xu, Lin, Chen,
Wierman 2022 (2211.17116) and of Chakraborty et al. 2026 (2602.16966). They stand in `SOFT` and `KL`, with their digits.

Writes OUT/table.md and OUT/results.json. Exit code 1, with a sentence for each, if a gap is off by more than 5 %, or half a
unit of the last known digit where that is more, or above its bound (<); if J is off by more than 1e-4, or ever fell.
"""

import argparse
import datetime
import json
import sys
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch

from marl import Epidemic, LocalMDP, Network
from marl.core.environment import NetworkedMDP
from marl.core.errors import MarlError
from marl.exact import localized_policy_iteration, optimum

SWEEPS = 60


def epidemic() -> Epidemic:
    """The system S2: infection .6, recovery .3, import .01, no leak, cost .2."""
    return Epidemic(Network.ring(6), infection=0.6, recovery=0.3, import_rate=0.01, leak=0.0, cost=0.2)


def mixed_tables(strength: float, seed: int, n: int = 6) -> LocalMDP:
    """P(s_i' = 1) = (1 - e) base[i, s, a] + e table[i, left, s, right, a] on a ring, everything uniform."""
    draw = np.random.default_rng(seed)
    table, base, reward = draw.random((n, 2, 2, 2, 2)), draw.random((n, 2, 2)), draw.random((n, 2, 2))
    laws = []
    for i in range(n):
        left, right = (i - 1) % n, (i + 1) % n
        order = np.argsort([left, i, right])  # axes of a law stand in the order of the agents' numbers
        up = (1.0 - strength) * base[i][None, :, None, :] + strength * table[i]
        up = up.transpose(*order, 3)
        laws.append(np.stack([1.0 - up, up], axis=-1))
    return LocalMDP(Network.ring(n), laws, list(reward))


class Soft(NamedTuple):
    """A model, and what is known of it: mean values, and gaps to the joint soft optimum by kappa, with iterations."""

    make: Callable[[], NetworkedMDP]
    temperature: float
    uniform: str
    best: str
    gaps: tuple[str, ...]
    iterations: tuple[int | None, ...] = (None,) * 4


class Kl(NamedTuple):
    """A model, and what is known of it: J after 60 sweeps by kappa, and the optimum."""

    make: Callable[[], NetworkedMDP]
    ends: tuple[str, ...]
    best: str


FULLY, PARTLY = "random tables, e = 1, seed 1", "random tables, e = .3, seed 0"
SOFT = {
    "epidemic, tau = .1": Soft(
        epidemic, 0.1, "-4.166", "-1.830", ("1.392", "< 5e-6", "< 5e-6", "< 5e-6"), (None, 2, None, None)
    ),
    "epidemic, tau = .5": Soft(epidemic, 0.5, "-1.393", ".178", ("1.355", "1.8e-3", "4e-5", "3e-5"), (31, 6, None, None)),
    FULLY: Soft(lambda: mixed_tables(1.0, 1), 0.1, "5.699", "6.294", (".0256", "1.3e-3", "5e-4", "3e-4"), (8, 9, 12, 14)),
    PARTLY: Soft(
        lambda: mixed_tables(0.3, 0), 0.1, "6.138", "7.530", ("3.6e-3", "2e-5", "1e-5", "1e-5"), (7, 6, None, None)
    ),
}
KL = {
    "epidemic": Kl(epidemic, ("-.1919", "-.0450"), "-.04454"),
    FULLY: Kl(lambda: mixed_tables(1.0, 1), (".6024", ".6077", ".6078"), ".6099"),
}


class Compared(NamedTuple):
    """A number beside what is known of it. fault: a sentence if they differ by more than is allowed, else ''."""

    model: str
    what: str
    found: float
    known: str
    iterations: int | None = None
    known_iterations: int | None = None
    fault: str = ""

    @property
    def deviation(self) -> str:
        """(found - known) / known, in percent."""
        return "" if self.known.startswith("<") else f"{100.0 * (self.found / float(self.known) - 1.0):+.2f} %"

    def row(self) -> str:
        counts = "" if self.iterations is None else str(self.iterations)
        known = "" if self.known_iterations is None else str(self.known_iterations)
        cells = self.model, self.what, f"{self.found:.4g}", self.known, self.deviation, counts, known
        return f"| {' | '.join(cells)} |"


HEAD = "| model | | found | known | deviation | iterations | known |\n| --- | --- | ---: | ---: | ---: | ---: | ---: |"


def compared(model: str, what: str, found: float, known: str, room: float, iterations: tuple[int | None, ...]) -> Compared:
    """Holds a number against the known one. room: how far it may be from that."""
    fault = ""
    if known.startswith("<"):
        if not -1e-8 <= found <= float(known[1:]):
            fault = f"{model}, {what}: {found:.4g} is not below {known[1:].strip()}"
    elif not abs(found - float(known)) <= room:
        fault = f"{model}, {what}: {found:.6g} is {found - float(known):+.2g} from the known {known}, more than {room:.2g}"
    return Compared(model, what, found, known, *iterations, fault)


def digit(known: str) -> float:
    """Half a unit of the last digit that is known."""
    return 0.5 * 10.0 ** int(Decimal(known).as_tuple().exponent)


def soft(name: str) -> list[Compared]:
    """A model's mean values, and its gaps for kappa = 0 .. 3."""
    model = SOFT[name]
    env = model.make()
    best = optimum(env, gamma=0.9, temperature=model.temperature).high
    rows = [compared(name, "soft optimum", best, model.best, 2.0 * digit(model.best), (None, None))]
    given = {"improvement": "soft", "gamma": 0.9, "temperature": model.temperature, "weights": "uniform"}
    for kappa, known in enumerate(model.gaps):
        found = localized_policy_iteration(env, kappa, **given)
        if kappa == 0:
            rows.append(compared(name, "uniform", found.values[0], model.uniform, digit(model.uniform), (None, None)))
        room = 0.0 if known.startswith("<") else max(0.05 * float(known), digit(known))
        count = len(found.values) - 1, model.iterations[kappa]
        row = compared(name, f"gap, kappa = {kappa}", best - found.values[-1], known, room, count)
        if not found.settled:
            row = row._replace(fault=f"{name}, kappa = {kappa}: not settled after {count[0]} iterations")
        rows.append(row)
    return rows


def kl(name: str) -> list[Compared]:
    """A model's average reward after the KL steps, and the optimum."""
    model = KL[name]
    env = model.make()
    rows = [compared(name, "optimum", optimum(env).high, model.best, 1e-4, (None, None))]
    steps = SWEEPS * env.n
    for kappa, known in enumerate(model.ends):
        values = localized_policy_iteration(
            env, kappa, schedule="in_turn", eta=0.5, improvements=steps, tolerance=0.0
        ).values
        row = compared(name, f"J, kappa = {kappa}", values[-2], known, 1e-4, (len(values) - 1, steps))
        if len(values) <= steps or fallen(values):
            row = row._replace(
                fault=f"{name}, kappa = {kappa}: J fell in {fallen(values)} of {len(values) - 1} block steps"
            )
        rows.append(row)
    return rows


def fallen(values: list[float]) -> int:
    """Counts the steps in which J fell, by more than rounding."""
    return int((np.diff(values) < -1e-12).sum())


def main(command: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--improvement", choices=("soft", "kl"), help="only these steps")
    parser.add_argument("--out", type=Path, default=Path("outputs/local_policies"))
    arguments = parser.parse_args(command)
    torch.set_num_threads(1)
    arguments.out.mkdir(parents=True, exist_ok=True)
    studied: list[Compared] = []
    text = HEAD
    print(HEAD)
    for kind, models, study in (("soft", SOFT, soft), ("kl", KL, kl)):
        for name in models if arguments.improvement in (None, kind) else ():
            rows = study(name)
            lines = "\n".join(row.row() for row in rows)
            print(lines, flush=True)
            text += f"\n{lines}"
            studied += rows
    faults = [row.fault for row in studied if row.fault]
    never = [row for row in studied if row.what.startswith("J,")]
    if never and not any("J fell" in fault for fault in faults):
        print(text_of_steps := f"\nJ never fell in {sum(row.iterations or 0 for row in never)} block steps.")
        text += f"\n{text_of_steps}"
    (arguments.out / "table.md").write_text(text + "\n", encoding="utf-8")
    rows_of: list[dict[str, Any]] = [row._asdict() for row in studied]
    results = {"date": datetime.date.today().isoformat(), "command": " ".join(sys.argv), "rows": rows_of}
    (arguments.out / "results.json").write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
    print(f"{len(faults)} of {len(studied)} numbers differ from what is known; numbers: {arguments.out}/results.json")
    for fault in faults:
        print(f"local_policies: {fault}", file=sys.stderr)
    return 1 if faults else 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except MarlError as error:
        sys.exit(f"local_policies: {error}")
