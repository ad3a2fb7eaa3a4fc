"""Does influence decay in the wireless network? What the certificates say, under light and heavy traffic.

    python experiments/coupling_wireless.py            small networks of the paper's model, three policies each
    python experiments/coupling_wireless.py --quick    without the slowest network

Theorem 1 cannot certify any of them: an agent that stays silent keeps a fresh packet, so its next state tells its last
(C_ii = 1), whatever the others do. The coupling certificate (docs/coupling.md) looks at two steps under one policy.
Networks: `point` is the interior 2x2 grid, 4 users at one point; `chain N` are N users in a row, neighbors sharing one
point. Policies: ALOHA (send probability 0.5), uniform, and one learned by Algorithm 1 (kappa = 1, alpha = 0.1, eta = 3,
seed 0). Deadline 2; success probabilities drawn with instance seed 0.

Writes OUT/results.json. The measured column is the supremum of (4) over all joint pairs, where they are few enough, else
its largest value over 200 random ones. Exit code 1 if a measured value exceeds a bound.
"""

import argparse
import datetime
import json
import sys
import time
from pathlib import Path
from typing import Any

import torch

from marl import Aloha, Constant, Policy, ScalableActorCritic, TabularCritic, TabularSoftmax, Uniform, WirelessAccess
from marl.core.errors import MarlError
from marl.exact import Certificate, Measured, survey

NETWORKS: dict[str, dict[str, Any]] = {
    "chain 3": {"incidence": [[0], [0, 1], [1]]},
    "chain 4": {"incidence": [[0], [0, 1], [1, 2], [2]]},
    "chain 6": {"incidence": [[0], [0, 1], [1, 2], [2, 3], [3, 4], [4]]},
    "point": {"rows": 2, "cols": 2},
}
ARRIVALS = (0.1, 0.5, 0.9)


def policies(env: WirelessAccess, steps: int) -> dict[str, Policy]:
    """ALOHA, uniform, and a softmax table after `steps` of Algorithm 1."""
    learned = TabularSoftmax(env)
    critic = TabularCritic(env, kappa=1)
    ScalableActorCritic(env, learned, critic, critic_scheduler=Constant(0.1), actor_scheduler=Constant(3.0)).run(steps)
    return {"ALOHA": Aloha(env, send_probability=0.5), "uniform": Uniform(env), "learned": learned}


def examine(name: str, arrival: float, steps: int) -> list[dict[str, Any]]:
    """One row per policy."""
    env = WirelessAccess(arrival=arrival, **NETWORKS[name])
    rows = []
    for title, policy in policies(env, steps).items():
        clock = time.perf_counter()
        found = survey(env, policy, horizon=2)
        assert isinstance(found.one_step, Certificate)
        row = {"network": name, "arrival": arrival, "policy": title, "one_step": found.one_step.certified}
        row["said"] = found.coupling.reason if isinstance(found.coupling, Certificate) else found.coupling
        if isinstance(found.coupling, Certificate):
            row["radius"] = found.coupling.radius
            if found.coupling.bounds is not None:
                row["bounds"] = found.coupling.bounds.amax(dim=1).tolist()
        if isinstance(found.measured, Measured):
            row["measured"] = found.measured.largest.amax(dim=1).tolist()
            row["samples"] = found.measured.samples
        row["seconds"] = time.perf_counter() - clock
        rows.append(row)
        print(line(row), flush=True)
    return rows


def line(row: dict[str, Any]) -> str:
    """One row of the table."""
    verdict = "certified" if "bounds" in row else "not certified"
    numbers = " ".join(f"{b:.3g}/{m:.2g}" for b, m in zip(row.get("bounds", []), row.get("measured", []), strict=False))
    radius = f"{row['radius']:.3f}" if "radius" in row else "-"
    return f"{row['network']:9}{row['arrival']:5.1f}  {row['policy']:9}{verdict:15}{radius:>7}   {numbers}"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="without the 2x2 grid, which takes minutes")
    parser.add_argument("--steps", type=int, default=5_000, help="of training of the learned policy")
    parser.add_argument("--out", type=Path, default=Path("outputs/coupling_wireless"))
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    arguments.out.mkdir(parents=True, exist_ok=True)
    print(f"{'network':9}{'p':>5}  {'policy':9}{'two steps':15}{'radius':>7}   bound/measured for kappa = 0, 1, ...")
    rows = [
        row
        for name in NETWORKS
        if not (arguments.quick and name == "point")
        for arrival in ARRIVALS
        for row in examine(name, arrival, arguments.steps)
    ]
    results = {"date": datetime.date.today().isoformat(), "command": " ".join(sys.argv), "rows": rows}
    (arguments.out / "results.json").write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
    broken = [
        row
        for row in rows
        for bound, measured in zip(row.get("bounds", []), row.get("measured", []), strict=False)
        if measured > bound + 1e-12
    ]
    print(f"\n{sum('bounds' in row for row in rows)} of {len(rows)} certified by two steps, ", end="")
    print(f"{sum(row['one_step'] for row in rows)} by one; {len(broken)} bounds exceeded")
    print(f"numbers: {arguments.out}/results.json")
    return 1 if broken else 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except MarlError as error:
        sys.exit(f"coupling_wireless: {error}")
