"""`marl certify` says whether influence decays, how fast, and which kappa is enough."""

import json
from typing import Any

from marl.cli.exact_subject import exact_subject, picture, written
from marl.exact import Certificate, Ergodicity, Measured, Survey, survey

Columns = dict[str, list[float]]
"""Heading -> one number for every kappa."""


def main(arguments: list[str]) -> int:
    """Prints what is promised and what was measured, kappa by kappa, and writes it with a picture."""
    settings, env, policy, name = exact_subject("certify", arguments)
    accuracy = settings["accuracy"]
    keys = ("gamma", "agents", "horizon", "samples", "seed", "memory")
    found = survey(env, policy, **{key: settings[key] for key in keys})
    whom = "every policy" if policy.localized else "this policy"
    columns = _columns(found, whom)
    print(f"{type(env).__name__}, {env.n} agents; {type(policy).__name__} policy; {name}\n")
    for subject_, sentence in _sentences(found, whom).items():
        print(f"{subject_ + ':':28}{sentence}")
    if columns:
        print(f"\n{table(columns)}\n")
    for line in _recommended(found, whom, accuracy):
        print(line)
    files = {
        "certificate.json": _json({"settings": settings, "accuracy": accuracy, **_numbers(found, whom, columns)}),
        "certificate.png": picture(columns, {}, accuracy) if columns else None,
    }
    print("written: " + "   ".join(written(settings["out"], files)))
    return 0


def table(columns: Columns) -> str:
    """Lays out one line per kappa."""
    width = max(14, *(len(heading) + 2 for heading in columns))
    rows = range(max(len(column) for column in columns.values()))
    lines = ["kappa" + "".join(f"{heading:>{width}}" for heading in columns)]
    for kappa in rows:
        cells = [f"{column[kappa]:.4g}" if kappa < len(column) else "0" for column in columns.values()]
        lines.append(f"{kappa:5}" + "".join(f"{cell:>{width}}" for cell in cells))
    return "\n".join(lines)


def _columns(found: Survey, whom: str) -> Columns:
    """Lays out what is promised and measured. whom: for which policies the first promise is."""
    columns: Columns = {}
    one, several = found.one_step, found.coupling
    if isinstance(one, Certificate) and one.bounds is not None:
        columns[whom] = one.bounds.amax(dim=1).tolist()
        if one.rate is not None and one.constant is not None:
            columns["Theorem 1"] = [one.constant * one.rate ** (kappa + 1) for kappa in range(len(one.bounds))]
    if isinstance(several, Certificate) and several.bounds is not None:
        columns["this policy"] = several.bounds.amax(dim=1).tolist()
    if isinstance(found.measured, Measured):
        columns["measured"] = found.measured.largest.amax(dim=1).tolist()
    return columns


def _sentences(found: Survey, whom: str) -> dict[str, str]:
    return {
        f"one step, {whom}": _certified(found.one_step),
        "several steps, this policy": _certified(found.coupling),
        "left side of (4)": _how(found.measured),
        "mixing": _mixing(found.mixing),
    }


def _certified(promise: Certificate | str) -> str:
    if isinstance(promise, Certificate) and promise.certified:
        return f"certified: {promise.reason}"
    return f"not certified, because {promise.reason if isinstance(promise, Certificate) else promise}"


def _how(found: Measured | str) -> str:
    if isinstance(found, str):
        return f"not measured, because {found}"
    whom = f"agents {found.agents}" if len(found.agents) <= 12 else f"{len(found.agents)} agents"
    if found.samples == 0:
        return f"largest over all joint pairs, {whom}"
    return f"largest over {found.samples} random (z, z') each, {whom}: the supremum may be larger"


def _mixing(found: Ergodicity | str) -> str:
    if isinstance(found, str):
        return f"not computed, because {found}"
    numbers = f"sigma = {found.sigma:.3g}, mu_D = {found.mu_D:.4g}, |lambda_2| = {found.lambda_2:.4g}"
    return f"{numbers}; {found.vacuous}" if found.vacuous else numbers


def _recommended(found: Survey, whom: str, accuracy: float) -> list[str]:
    lines = []
    for promise, under in ((found.one_step, whom.replace("every", "any")), (found.coupling, "this policy")):
        if isinstance(promise, Certificate) and (kappa := promise.kappa_for(accuracy)) is not None:
            lines.append(f"kappa = {kappa} is enough for accuracy {accuracy:g} under {under} (certified)")
    if isinstance(found.measured, Measured):
        kappa = found.measured.kappa_for(accuracy)
        lines.append(f"kappa = {kappa} was enough for accuracy {accuracy:g} where it was measured")
    return lines or [f"no kappa can be recommended for accuracy {accuracy:g}: nothing is certified or measured"]


def _numbers(found: Survey, whom: str, columns: Columns) -> dict[str, Any]:
    promises = ((whom.replace(" ", "_"), found.one_step), ("this_policy", found.coupling))
    by_agent = {
        name: {"agents": promise.agents, "bounds": promise.bounds.tolist()}
        for name, promise in promises
        if isinstance(promise, Certificate) and promise.bounds is not None
    }
    if isinstance(found.measured, Measured):
        by_agent["measured"] = {"agents": found.measured.agents, "largest": found.measured.largest.tolist()}
    mixing = found.mixing._asdict() if isinstance(found.mixing, Ergodicity) else None
    return {"said": _sentences(found, whom), "columns": columns, "by_agent": by_agent, "mixing": mixing}


def _json(content: dict[str, Any]) -> bytes:
    return (json.dumps(content, indent=1) + "\n").encode()
