"""One setting on networks that it was not chosen on: shares of the way from uniform to the reference, and their profiles.

    python experiments/suite.py [--steps 100000] [--seeds 10] [--systems "epidemic ring:6,..."] [--methods recommended,...]
                                [--beside DIR] [--at-a-time 2] [--out outputs/suite]

Settings of `conf/method/recommended.yaml` were chosen on wireless draws 0 to 2, the epidemic on the karate club and load
balancing on a ring of 12, and nothing else; the networks here are others. Every run is `marl train method=METHOD ...
steps=STEPS replicas=SEEDS`, every reference `marl optimum ...`: the optimum where it is known, else the best rule.
The share of a run is (score - uniform) / (reference - uniform), the score being the evaluated policy at the end.
A performance profile says which part of all runs has at least a share; beside it the interquartile mean (IQM) of all runs,
with a 95 % bootstrap interval that draws seeds anew for every network (Agarwal et al. 2021).
--beside DIR: results of `examples/benchmarl_baselines.py` on some of the networks, DIR/NETWORK/*.json, are shown, too.
References take longer than learners, so those of the networks here are kept in experiments/references, as `marl optimum`
wrote them; they are found anew where one is missing or is of another environment.
Writes OUT/figure.png, OUT/table.md, OUT/results.json, OUT/NETWORK/optimum.json, OUT/NETWORK/METHOD (run directories; what
is finished is not run again).
"""

import concurrent.futures
import datetime
import json
import sys
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from jaxtyping import Float
from systems import asked, referred, trained

from marl import build
from marl.cli.train import compose
from marl.core.errors import MarlError
from marl.runs.directory import digest_of_environment
from marl.runs.references import References, read

METHODS = ("recommended", "tabular")
NETWORKS = {
    "load_balancing ring:6": ["env=load_balancing", "env.graph=ring:6", "env.buffer=2"],
    "load_balancing grid:5x5": ["env=load_balancing", "env.graph=grid:5x5"],
    "load_balancing germany50": ["env=load_balancing", "env.graph=germany50", "env.buffer=4"],
    "load_balancing ring:100": ["env=load_balancing", "env.graph=ring:100", "env.buffer=2"],
    "epidemic ring:6": ["env=epidemic", "env.graph=ring:6"],
    "epidemic ring:12": ["env=epidemic", "env.graph=ring:12", "env.infection=0.4", "env.recovery=0.2", "env.cost=0.1"],
    "epidemic grid:7x7": ["env=epidemic", "env.graph=grid:7x7"],
    "epidemic germany50": ["env=epidemic", "env.graph=germany50"],
    "epidemic geometric:200": ["env=epidemic", "env.graph=geometric:200:0.1"],
    "firefighters 6": ["env=firefighters", "env.agents=6"],
    "firefighters 20": ["env=firefighters", "env.agents=20"],
    "firefighters 4x4": ["env=firefighters", "env.rows=4", "env.cols=4"],
    "scheduling ring:6": ["env=scheduling", "env.graph=ring:6"],
    "scheduling grid:4x4": ["env=scheduling", "env.graph=grid:4x4", "env.arrival=0.15"],
    "scheduling case30": ["env=scheduling", "env.graph=case30", "env.arrival=0.1"],
    "sysadmin ring:6": ["env=sysadmin", "env.graph=ring:6"],
    "sysadmin grid:5x5": ["env=sysadmin", "env.graph=grid:5x5"],
    "sysadmin germany50": ["env=sysadmin", "env.graph=germany50"],
    "traffic 2x3": ["env=traffic", "env.rows=2", "env.cols=3"],
    "traffic 3x3": ["env=traffic"],
    "traffic 4x4": ["env=traffic", "env.rows=4", "env.cols=4", "env.arrival=0.15"],
    **{f"wireless draw {k}": ["env=wireless", f"env.instance_seed={k}"] for k in range(10, 15)},
    "wireless corners": ["env=wireless", "env.access_points=corners", "env.instance_seed=10"],
    "wireless 10x10": ["env=wireless", "env.rows=10", "env.cols=10", "env.instance_seed=10"],
}
REFERRED = "steps=30000"
"""Of simulated references: rules are not compiled."""
KEPT = Path(__file__).with_name("references")
"""What `marl optimum` found on these networks."""
RESAMPLED = 2000
"""Bootstrap samples."""

Shares = dict[str, Float[np.ndarray, "seeds"]]


def beside(directory: Path | None, network: str) -> dict[str, list[float]]:
    """Reads what other programs scored on a network, by algorithm and seed."""
    scores: dict[str, list[float]] = {}
    for file in sorted((directory / folder(network)).glob("**/*.json")) if directory else []:
        result = json.loads(file.read_text(encoding="utf-8"))
        scores.setdefault(f"BenchMARL {result['algorithm']}", []).append(result["average_reward"])
    return scores


def kept(network: str) -> References | None:
    """What is kept of a network, if it is of the environment that its words make."""
    file = KEPT / f"{folder(network)}.json"
    found = read(file) if file.is_file() else None
    same = found and found.environment == digest_of_environment(build.environment(compose(NETWORKS[network])))
    return found if same else None


def folder(network: str) -> str:
    """The name of a network as that of a directory."""
    return network.replace(" ", "_").replace(":", "-")


def share(known: References, scores: list[float]) -> Float[np.ndarray, "seeds"]:
    """Shares of the way from uniform to the reference."""
    return np.array([known.normalized(score) for score in scores], dtype=float)


def interquartile_mean(shares: Float[np.ndarray, "*X runs"]) -> Float[np.ndarray, "*X"]:
    """The mean of the middle half of all runs."""
    ordered = np.sort(shares, axis=-1)
    cut = ordered.shape[-1] // 4
    return ordered[..., cut : ordered.shape[-1] - cut].mean(axis=-1)


def with_interval(shares: Shares) -> tuple[float, float, float]:
    """The IQM over all runs of a method, and the 95 % interval of it if seeds were drawn anew for every network."""
    draw = np.random.default_rng(0)
    drawn = [x[draw.integers(len(x), size=(RESAMPLED, len(x)))] for x in shares.values()]
    low, high = np.quantile(interquartile_mean(np.concatenate(drawn, axis=1)), (0.025, 0.975))
    return float(interquartile_mean(np.concatenate(list(shares.values())))), float(low), float(high)


def table(known: dict[str, References], results: dict[str, Shares], rewards: dict[str, Shares], rates: dict) -> str:
    """Networks by methods: mean shares and worst seeds, with average rewards; then the summary of every method."""
    methods = list(results)
    head = [f"| network | agents | uniform | best rule | 1 is | {' | '.join(f'`{m}`' for m in methods)} |"]
    lines = [*head, "| --- | ---: | ---: | ---: | --- |" + " --- |" * len(methods)]
    for network, references in known.items():
        name, value = references.reference
        cells = []
        for method in methods:
            x, r = results[method].get(network), rewards[method].get(network)
            cells.append("" if x is None else f"**{x.mean():.3f}** (worst {x.min():.3f}; {r.mean():.4f})")
        best = max(references.rules.values(), default=float("nan"))
        agents = build.environment(compose(NETWORKS[network])).n
        lines.append(
            f"| {network} | {agents} | {references.uniform:.4f} | {best:.4f} | {name} ({value:.4f}) | {' | '.join(cells)} |"
        )
    lines += ["", "| method | networks | mean of means | lowest mean | IQM of runs (95 % interval) | steps/s, median |"]
    lines += ["| --- | ---: | ---: | ---: | --- | ---: |"]
    for method in methods:
        means = [x.mean() for x in results[method].values()]
        middle, low, high = with_interval(results[method])
        rate = f"{np.median(list(rates[method].values())):,.0f}" if rates.get(method) else ""
        summary = f"{np.mean(means):.3f} | {min(means):.3f} | {middle:.3f} ({low:.3f} to {high:.3f})"
        lines.append(f"| `{method}` | {len(means)} | {summary} | {rate} |")
    return "\n".join(lines) + "\n"


def draw_figure(results: dict[str, Shares], path: Path) -> None:
    """On the left every run's share, network by network; on the right performance profiles."""
    networks = list(dict.fromkeys(network for shares in results.values() for network in shares))
    figure, (left, right) = plt.subplots(
        1, 2, figsize=(12, 1.5 + 0.24 * len(networks)), layout="constrained", width_ratios=(3, 2)
    )
    grid = np.linspace(-0.2, 1.5, 341)
    for k, (method, shares) in enumerate(results.items()):
        color, offset = f"C{k}", 0.25 * (k / max(1, len(results) - 1) - 0.5)
        for network, x in shares.items():
            row = len(networks) - networks.index(network) - offset
            left.plot(np.clip(x, -0.2, 1.5), [row] * len(x), "o", color=color, markersize=3, alpha=0.6)
        runs = np.concatenate(list(shares.values()))
        middle, low, high = with_interval(shares)
        label = f"{method}, {len(shares)} networks: IQM {middle:.2f} ({low:.2f} to {high:.2f})"
        right.plot(grid, (runs[:, None] >= grid).mean(axis=0), color=color, label=label)
    left.set(yticks=range(1, len(networks) + 1), yticklabels=networks[::-1], xlim=(-0.22, 1.52))
    left.set_xlabel("share: 0 = uniform, 1 = optimum or best rule")
    left.tick_params(labelsize=7)
    right.set(xlabel="share", ylabel="part of all runs with at least this share", xlim=(-0.2, 1.5), ylim=(0, 1.02))
    figure.legend(fontsize=8, loc="outside upper center", ncols=2, frameon=False)
    for axes in (left, right):
        axes.axvline(1.0, color="0.5", linestyle="--", linewidth=0.8)
        axes.grid(axis="x", alpha=0.3)
    figure.savefig(path, dpi=120)
    plt.close(figure)


def main() -> int:
    arguments = asked(__doc__, NETWORKS, METHODS, "outputs/suite", "--beside")
    known = {network: kept(network) for network in arguments.systems}
    with concurrent.futures.ThreadPoolExecutor(arguments.at_a_time) as pool:
        asked_for = {
            network: pool.submit(referred, [*NETWORKS[network], REFERRED], (), arguments.out / folder(network))
            for network, found in known.items()
            if found is None
        }
        runs = {
            (method, network): pool.submit(
                trained, NETWORKS[network], method, arguments.out / folder(network) / method, arguments
            )
            for method in arguments.methods
            for network in arguments.systems
        }
        known |= {network: found.result() for network, found in asked_for.items()}
        summaries = {key: run.result() for key, run in runs.items()}
    rewards: dict[str, dict] = {}
    rates: dict[str, dict] = {}
    for (method, network), summary in summaries.items():
        rewards.setdefault(method, {})[network] = np.array(summary["eval_average_reward"])
        rates.setdefault(method, {})[network] = summary["env_steps_per_second"]
    for network in arguments.systems:
        for method, scores in beside(arguments.beside, network).items():
            rewards.setdefault(method, {})[network] = np.array(scores)
    results = {m: {network: share(known[network], x) for network, x in found.items()} for m, found in rewards.items()}
    draw_figure(results, arguments.out / "figure.png")
    text = table(known, results, rewards, rates)
    head = {"date": datetime.date.today().isoformat(), "command": " ".join(["python", *sys.argv])}
    head |= {"steps": arguments.steps, "seeds": arguments.seeds}
    body = {
        network: {
            "references": vars(known[network]),
            "reference": known[network].reference,
            "scores": {m: found[network].tolist() for m, found in rewards.items() if network in found},
            "shares": {m: found[network].tolist() for m, found in results.items() if network in found},
            "env_steps_per_second": {m: found[network] for m, found in rates.items() if network in found},
        }
        for network in arguments.systems
    }
    (arguments.out / "results.json").write_text(json.dumps({**head, "networks": body}, indent=1) + "\n", encoding="utf-8")
    (arguments.out / "table.md").write_text(text, encoding="utf-8")
    print(f"{text}\npicture: {arguments.out}/figure.png   numbers: {arguments.out}/results.json")
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except MarlError as error:
        sys.exit(f"suite: {error}")
