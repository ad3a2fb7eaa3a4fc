"""`marl optimum` says what can be earned on a network: by chance, by rules, by what agents see, and at most."""

import datetime
from typing import Any

import torch

from marl import build
from marl.cli.exact_subject import written
from marl.cli.findings import Finding, Findings
from marl.cli.search import own_directories, own_first
from marl.cli.subject import check_writable, subject
from marl.core.checks import integer, number
from marl.core.environment import finite_environment
from marl.core.errors import ConfigError
from marl.runs.directory import digest_of_environment
from marl.runs.references import FILE, References
from marl.runs.settings import threads_put_back, use_threads
from marl.trainers.evaluation import BATCHES

WIDTH = 34
"""Of the column of names."""


@threads_put_back()
def main(arguments: list[str]) -> int:
    """Prints every value when it is known, and writes all of them."""
    if named := [word for word in arguments if word.lstrip("+~").startswith(("policy=", "policy."))]:
        raise ConfigError(f"marl optimum tries all rules itself; marl evaluate env=... {named[0]} measures one policy")
    settings, env, uniform, name, run = subject("optimum", arguments, _checked)
    env = finite_environment(env, "marl optimum")
    if run is not None:  # whose policy is a learned one
        name = f"the environment of {run}"
        uniform = build.policy(settings, env, build.Replicas(1, settings["seed"], torch.float64))
    check_writable(settings["out"])
    digest = digest_of_environment(env)
    use_threads(None)
    print(f"{type(env).__name__}, {env.n} agents; {name}; average reward per agent and step\n", flush=True)
    keys = ("starts", "steps", "seed", "memory")
    found = []
    with own_first(own_directories(arguments)[0]):
        for finding in Findings(env, uniform, settings["best_local"], **{key: settings[key] for key in keys}):
            print(_line(finding), flush=True)
            found.append(finding)
    references = _references(digest, found)
    reference, value = references.reference
    print(f"\n{'reference: ' + reference:{WIDTH}} {value:10.6f}   a score is shown as its share of the way from uniform")
    more = {"date": datetime.date.today().isoformat(), "command": " ".join(["marl", "optimum", *arguments])}
    print("written: " + "   ".join(written(settings["out"], {FILE: references.as_json(**more)})))
    return 0


def _line(finding: Finding) -> str:
    hops = {"0": "own state", "1": "1 hop"}.get(finding.name, f"{finding.name} hops")
    label = {"best_local": f"best rule of {hops}", "ascent": f"best policy of {hops}", "rules": finding.name}
    name = label.get(finding.kind, finding.kind)
    if finding.value is None:
        return f"{name:{WIDTH}} left out: {finding.how}"
    return f"{name:{WIDTH}} {finding.value:10.6f}   {finding.how}"


def _references(digest: str, found: list[Finding]) -> References:
    known = [finding for finding in found if finding.value is not None]

    def named(kind: str) -> dict[str, Any]:
        return {finding.name: finding.value for finding in known if finding.kind == kind}

    def only(kind: str) -> Any:
        return next(iter(named(kind).values()), None)

    keys = {finding: f"{finding.kind}.{finding.name}".rstrip(".") for finding in known}
    return References(
        environment=digest,
        uniform=only("uniform"),
        rules=named("rules"),
        best_local={int(hops): value for hops, value in named("best_local").items()},
        ascent={int(hops): value for hops, value in named("ascent").items()},
        optimum=next((finding.bracket for finding in known if finding.kind == "optimum"), None),
        bound=only("bound"),
        intervals={key: finding.interval for finding, key in keys.items() if finding.interval is not None},
        how={key: finding.how for finding, key in keys.items()},
    )


def _checked(settings: dict[str, Any]) -> dict[str, Any]:
    hops = settings["best_local"]
    if not isinstance(hops, list) or not all(type(k) is int and k >= 0 for k in hops):
        raise ConfigError(f"best_local must be a list of hops such as [0,1], or [] for none, got {hops!r}")
    return {
        **settings,
        "starts": integer("starts", settings["starts"], 1),
        "steps": integer("steps", settings["steps"], BATCHES),
        "seed": integer("seed", settings["seed"], 0),
        "memory": number("memory", settings["memory"], 0.001),
    }
