"""`marl decay` measures the left side of (4) under one policy exactly."""

import json
import math

import numpy as np

from marl.cli.certify import Columns, table
from marl.cli.exact_subject import exact_subject, picture, written
from marl.exact import Chain, LocalLaws, Measured, fit, measured

SHOWN = 6
"""Agents that have a column of their own."""


def main(arguments: list[str]) -> int:
    """Prints a table by kappa and the fitted rate, and writes both with a picture."""
    settings, env, policy, name = exact_subject("decay", arguments)
    accuracy, samples = settings["accuracy"], settings["samples"]
    laws = LocalLaws(env)
    agents = laws.checked(settings["agents"])
    chain = Chain(env, policy, laws=laws, memory=settings["memory"])
    found = measured(chain, agents, samples, settings["seed"])
    columns, band = _columns(found)
    fits = {i: fit(found.largest[:, c]) for c, i in enumerate(agents)}
    where = "all joint pairs" if found.samples == 0 else f"{samples} random (z, z') per agent"
    print(f"{type(env).__name__}, {env.n} agents; {type(policy).__name__} policy; {name}\n")
    print(f"left side of (4) at {where}, agents {agents}, {chain.num_states:,} joint states, {chain.method} solver\n")
    print(table(columns))
    for i, (rate, scale, points) in fits.items():
        law = f"largest left side about {scale:.3g} x {rate:.4g}^(kappa + 1), {points} points"
        print(f"agent {i}: {law if points >= 2 else 'too few radii with influence to fit a rate'}")
    print(f"kappa = {found.kappa_for(accuracy)} was enough for accuracy {accuracy:g} where it was measured")
    content = {
        "settings": settings,
        "agents": agents,
        "largest": found.largest.tolist(),
        "columns": {**columns, **band},
        "fits": {str(i): fitted._asdict() if math.isfinite(fitted.rate) else None for i, fitted in fits.items()},
    }
    files = {
        "decay.json": (json.dumps(content, indent=1) + "\n").encode(),
        "decay.png": picture(columns, band, accuracy),
    }
    print("written: " + "   ".join(written(settings["out"], files)))
    return 0


def _columns(found: Measured) -> tuple[Columns, Columns]:
    """Returns (what the table shows, the band of the picture: agents and samples pooled)."""
    if found.curves is None:
        shown = {f"agent {i}": found.largest[:, c].tolist() for c, i in enumerate(found.agents[:SHOWN])}
        if len(found.agents) > SHOWN:
            shown[f"all {len(found.agents)} agents"] = found.largest.amax(dim=1).tolist()
        return shown, {}
    low, median, high = np.percentile(found.curves.flatten(0, 1).numpy(), [10, 50, 90], axis=0).tolist()
    largest = found.largest.amax(dim=1).tolist()
    return {"median": median, "largest": largest}, {"10 %": low, "90 %": high}
