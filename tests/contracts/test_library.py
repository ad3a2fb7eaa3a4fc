"""Every environment, critic, policy and scheduler of the library keeps its contract; none escapes."""

import importlib
import inspect
import pkgutil
from collections.abc import Callable, Iterable
from types import ModuleType
from typing import Any

import pytest
import torch

import marl
from marl import Critic, Environment, Network, Policy, Rule, Scheduler
from marl.critics import (
    AdditiveCritic,
    GraphCritic,
    GraphStateValue,
    NeuralCritic,
    NeuralStateValue,
    PairwiseCritic,
    RandomFeatures,
    SharedCritic,
    StateValue,
    TabularCritic,
)
from marl.envs import (
    Coloring,
    Epidemic,
    Firefighters,
    LoadBalancing,
    LocalMDP,
    Scheduling,
    SysAdmin,
    TrafficSignals,
    WirelessAccess,
    random_local_mdp,
)
from marl.envs.epidemic import AlwaysShield, NeverShield, ShieldByCentrality, ShieldByDegree, ShieldIfNeighborInfected
from marl.envs.firefighters import FightAlternately, FightHigher, FightLower
from marl.envs.load_balancing import JoinShortestQueue, Keep, OverflowOnly, TwoChoices
from marl.envs.scheduling import LocalLongestQueueFirst, LongestQueueFirst, MaxWeight, QueueBasedAccess, SlottedAloha
from marl.envs.sysadmin import RebootByTurns, RebootIfDead, RebootIfNotGood
from marl.envs.traffic import FixedTime, LongestQueue, MaxPressure
from marl.envs.wireless import Aloha, DedicatedMatching
from marl.exact import LocalTables
from marl.policies import (
    NeighborhoodNeural,
    NeighborhoodSoftmax,
    NeighborhoodTable,
    NeuralPolicy,
    RandomTable,
    SharedPolicy,
    StateIndependentSoftmax,
    TabularSoftmax,
    Uniform,
)
from marl.schedulers import Constant, Linear, PowerLaw, Restarting
from marl.testing import check_critic, check_environment, check_policy, check_scheduler
from marl.trainers.counted_model import LearnedMDP

USERS: dict[str, Any] = {"incidence": [[0], [0, 1], [1, 2], [2, 3], [3]], "deadline": [2, 1, 2, 1, 2]}
"""Five users on a line, of different numbers of states and actions."""
CROSSINGS: dict[str, Any] = {
    "rows": 2,
    "cols": 2,
    "capacity": 1,
    "arrival": [0.1 * k for k in range(8)],
    "left": [0.0, 0.2, 0.5, 1.0],
}
TABLES, REWARDS = random_local_mdp("line:3", [2, 3, 2], [2, 1, 3], private_actions=False, reward_low=-1.0).as_tables()
RATES: dict[str, Any] = {"p_fail": [0.4, 0.9, 0.0, 0.5, 1.0], "p_load": [0.6, 0.3, 1.0, 0.0, 0.5]}

CASES: dict[type, list[dict[str, Any]]] = {  # a class -> what its instances are made with
    WirelessAccess: [
        USERS,
        {"rows": 2, "cols": 3, "deadline": [1, 2, 3, 1, 2, 3]},
        {"rows": 2, "cols": 2, "access_points": "corners", "users_per_cell": 2},
        {"incidence": [[0], [0, 1], [1], [1, 2]], "deadline": [1, 2, 2, 1], "action_set": "any_slot"},
        {"incidence": [[0, 1], [2]], "deadline": 2, "arrival": [0.0, 1.0], "success": 1.0},
    ],
    Coloring: [{"graph": "grid:2x3", "colors": 2}, {"graph": "line:1"}],
    Firefighters: [
        {"agents": 3, "levels": [1, 2, 3, 2], "spontaneous": [0.0, 0.1, 0.2, 1.0], "dousing_beside": [0.6, 0.0, 1.0, 0.3]},
        {"rows": 1, "cols": 1},
        {"agents": 4},
    ],
    Epidemic: [
        {
            "graph": Network.from_edges(5, [(0, 1), (1, 2), (1, 3)]),
            "leak": [0.2, 0.0, 1.0, 0.5, 0.3],
            "weights": [1.0, 0.5, 0.0],
        },
        {"graph": "line:4", "leak": 0.3, "cost": [0.0, 0.1, 0.2, 0.3], "mutual": True, "waning": [0.1, 0.2, 0.9, 0.0]},
        {"graph": "line:1", "waning": 0.5},
        {"graph": "ring:4", "infection": 1.0, "leak": 1.0, "import_rate": 0.0, "recovery": [0.0, 1.0, 0.5, 0.5]},
    ],
    LoadBalancing: [
        {"buffer": [1, 2, 3, 2], "arrival": [0.3, 0.9, 0.0, 1.0], "service": [0.5, 1.0, 0.2, 0.7], "holding": 0.1},
        {"graph": Network.from_edges(5, [(0, 1), (0, 3), (0, 4)]), "buffer": 2},
        {"graph": "line:1", "arrival": 0.9},
    ],
    Scheduling: [
        {
            "graph": "line:5",
            "buffer": [2, 1, 3, 1, 2],
            "arrival": [0.1, 0.5, 0.2, 0.0, 1.0],
            "success": [0.8, 1.0, 0.5, 0.7, 0.9],
        },
        {"graph": "ring:4", "buffer": 2},
        {"graph": "line:1", "arrival": 1.0},
    ],
    SysAdmin: [
        {"graph": Network.from_edges(5, [(0, 1), (1, 2), (2, 3)]), "crews": [[0], [0, 1], [1, 2], [0], [2]], **RATES},
        {"graph": "ring:4", "p_fail": [0.1, 0.2, 0.6, 0.4]},
        {"graph": "line:4", "crews": "own"},
    ],
    TrafficSignals: [
        {**CROSSINGS, "elapsed": 2},
        {"rows": 1, "cols": 4, "capacity": 1, "elapsed": 3, "left": [0.0, 0.2, 0.5, 1.0]},
        {"rows": 1, "cols": 1, "arrival": [0.0, 0.3, 0.6, 1.0]},
    ],
    LocalMDP: [{"network": Network.line(3), "transition": TABLES, "reward": REWARDS}],
    TabularCritic: [
        {"kappa": 0},
        {"kappa": 1},
        {"kappa": 1, "storage": "hash", "dummy": 0},
        {"kappa": 1, "dtype": torch.float32},
    ],
    AdditiveCritic: [{"kappa": 0}, {"kappa": 1}, {"kappa": 2}],
    PairwiseCritic: [{"kappa": 0}, {"kappa": 1}, {"kappa": 2}],
    NeuralCritic: [{"kappa": kappa, "hidden": 3} for kappa in (0, 1, 2)],
    RandomFeatures: [{"kappa": 1, "features": 8}],
    SharedCritic: [{"kappa": kappa, "hidden": 3} for kappa in (0, 1, 2)],
    GraphCritic: [{"kappa": kappa, "hidden": 3} for kappa in (0, 1, 2)],
    **{kind: [{"kappa": k, "hidden": 3} for k in (0, 1, 2)] for kind in (StateValue, NeuralStateValue, GraphStateValue)},
    Aloha: [{"send_probability": 0.3}],
    DedicatedMatching: [{}],
    FightAlternately: [{}],
    FightHigher: [{}, {"ties": "right"}],
    FightLower: [{"ties": "parity"}],
    NeverShield: [{}],
    AlwaysShield: [{}],
    ShieldIfNeighborInfected: [{}],
    ShieldByDegree: [{}, {"threshold": 1.0}],
    ShieldByCentrality: [{}, {"threshold": 0.8}],
    Keep: [{}],
    JoinShortestQueue: [{}, {"ties": "index"}],
    OverflowOnly: [{}, {"ties": "index"}],
    TwoChoices: [{}, {"ties": "index"}],
    SlottedAloha: [{"send_probability": 0.3}],
    QueueBasedAccess: [{}, {"weight": 1.0, "offset": 40.0}],
    LocalLongestQueueFirst: [{}],
    LongestQueueFirst: [{}],
    MaxWeight: [{}],
    RebootIfDead: [{}],
    RebootIfNotGood: [{}, {"spare_jobs": True}],
    RebootByTurns: [{}, {"need": "not_good", "spare_jobs": True}],
    FixedTime: [{"hold": 2}],
    LongestQueue: [{}],
    MaxPressure: [{}],
    NeighborhoodNeural: [{"kappa": 1, "hidden": 3}],
    NeighborhoodSoftmax: [{"kappa": 0}, {"kappa": 1}],
    NeighborhoodTable: [{"kappa": 1}],
    NeuralPolicy: [{"hidden": 3}],
    RandomTable: [{}, {"distribution": "dirichlet"}],
    SharedPolicy: [{"hidden": 3}],
    LearnedMDP: [],  # it fits what was counted: tests/trainers/test_certainty_equivalence.py runs the kit
    LocalTables: [],  # tables fit one environment: tests/exact/test_best_local.py runs the kit
    StateIndependentSoftmax: [{}],
    TabularSoftmax: [{}, {"dtype": torch.float32}],
    Uniform: [{}],
    Constant: [{"value": 0.25}, {"value": 0.0}],
    PowerLaw: [{"scale": 6.0, "exponent": 0.7, "offset": 3.0}, {"scale": 1.0, "exponent": 0.0}],
    Restarting: [{"scale": 2.0, "period": 4}, {"scale": 3.0, "period": 1000, "power": 0.75, "offset": 2.0}],
    Linear: [
        {"start": 2.0, "end": 0.5, "steps": 7},
        {"start": 1.0, "end": 0.0, "steps": 10**6},
        {"start": 1.0, "end": 2.0, "steps": 9},
    ],
}
KITS: dict[type, Callable[..., None]] = {
    Environment: lambda kind, **given: check_environment(kind(**given), draws=5_000),
    Critic: lambda kind, **given: on_both(check_critic, kind, given),
    Policy: lambda kind, **given: on_both(check_policy, kind, given),
    Scheduler: lambda kind, **given: check_scheduler(kind(**given)),
}


def on_both(kit: Callable[..., None], kind: type, given: dict[str, Any]) -> None:
    """A rule on the first cases of its system, others on the wireless network and on tables."""
    if issubclass(kind, Rule):
        for case in CASES[kind.system][:2]:
            kit(kind, kind.system(**case), **given)
    else:
        kit(kind, WirelessAccess(**USERS), **given)
        kit(kind, random_local_mdp("line:4", [2, 3, 2, 4], [3, 1, 2, 3], private_actions=False, reward_low=-1.0), **given)


def modules(package: ModuleType) -> list[ModuleType]:
    """All modules of a package, at any depth, but the one that runs it."""
    found = pkgutil.walk_packages(package.__path__, f"{package.__name__}.")
    return [importlib.import_module(module.name) for module in found if not module.name.endswith("__main__")]


def parts(classes: Iterable[type]) -> set[type]:
    """Those that have a contract, and are no bases: what can be made, and does not hide."""
    kinds = tuple(KITS)
    return {x for x in classes if issubclass(x, kinds) and not inspect.isabstract(x) and not x.__name__.startswith("_")}


def escaped(found: set[type]) -> list[str]:
    """One sentence for every class that no kit is run on, or that is no more."""
    missing = [
        f"{x.__module__}.{x.__name__} escapes its contract kit: give it an entry in CASES" for x in found - set(CASES)
    ]
    gone = [f"{x.__module__}.{x.__name__} has an entry in CASES, but is no part of the library" for x in set(CASES) - found]
    return sorted(missing + gone)


def test_no_class_of_the_library_escapes() -> None:
    classes = {value for module in modules(marl) for value in vars(module).values() if isinstance(value, type)}
    assert escaped(parts(x for x in classes if x.__module__.startswith("marl."))) == []


def test_one_that_escapes_is_named() -> None:
    class Novel(Uniform):
        """A class that nobody listed."""

    class Base(Policy):
        """An abstract one."""

    assert escaped(parts({*CASES, Novel, Base, dict}) - {Aloha}) == [
        "marl.envs.wireless.rules.Aloha has an entry in CASES, but is no part of the library",
        f"{__name__}.Novel escapes its contract kit: give it an entry in CASES",
    ]


@pytest.mark.parametrize(
    ("kind", "given"),
    [pytest.param(kind, given, id=f"{kind.__name__}-{k}") for kind in CASES for k, given in enumerate(CASES[kind])],
)
def test_it_keeps_its_contract(kind: type, given: dict[str, Any]) -> None:
    (kit,) = [kit for base, kit in KITS.items() if issubclass(kind, base)]
    kit(kind, **given)
