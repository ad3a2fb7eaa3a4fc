"""Networked multi-agent reinforcement learning. This file is the table of contents.

Names are imported on first use, so that `marl --help` need not wait for torch.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from marl.core.critic import Critic, Transition
    from marl.core.environment import Environment, FiniteEnvironment, NetworkedMDP
    from marl.core.errors import CheckpointError, ConfigError, ContractError, DivergedError, MarlError, NetworkError
    from marl.core.logger import Logger
    from marl.core.network import Network
    from marl.core.policy import Policy
    from marl.core.scheduler import Scheduler
    from marl.critics import (
        AdditiveCritic,
        GraphCritic,
        LinearCritic,
        NeuralCritic,
        PairwiseCritic,
        RandomFeatures,
        SharedCritic,
        StateValue,
        TabularCritic,
    )
    from marl.envs import Coloring, LocalMDP, WirelessAccess, random_local_mdp
    from marl.envs.parallel import ParallelEnvironment
    from marl.envs.wireless import Aloha, DedicatedMatching
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
    from marl.runs import export_policy, load_policy
    from marl.schedulers import Constant, Linear, PowerLaw, Restarting, TwoTimescale
    from marl.testing import check_fused_step
    from marl.trainers import DiscountedActorCritic, IndependentPPO, RolloutActorCritic, ScalableActorCritic
    from marl.trainers.evaluation import Evaluation, evaluate
    from marl.trainers.trainer import Trainer

_CONTENTS = {
    "marl.testing": ("check_fused_step",),
    "marl.core.critic": ("Critic", "Transition"),
    "marl.core.environment": ("Environment", "FiniteEnvironment", "NetworkedMDP"),
    "marl.core.errors": ("CheckpointError", "ConfigError", "ContractError", "DivergedError", "MarlError", "NetworkError"),
    "marl.trainers.evaluation": ("Evaluation", "evaluate"),
    "marl.core.logger": ("Logger",),
    "marl.core.network": ("Network",),
    "marl.core.policy": ("Policy",),
    "marl.core.scheduler": ("Scheduler",),
    "marl.trainers.trainer": ("Trainer",),
    "marl.critics": (
        "AdditiveCritic",
        "GraphCritic",
        "LinearCritic",
        "NeuralCritic",
        "PairwiseCritic",
        "RandomFeatures",
        "SharedCritic",
        "StateValue",
        "TabularCritic",
    ),
    "marl.envs.parallel": ("ParallelEnvironment",),
    "marl.envs": ("Coloring", "LocalMDP", "WirelessAccess", "random_local_mdp"),
    "marl.envs.wireless": ("Aloha", "DedicatedMatching"),
    "marl.policies": (
        "NeighborhoodNeural",
        "NeighborhoodSoftmax",
        "NeighborhoodTable",
        "NeuralPolicy",
        "RandomTable",
        "SharedPolicy",
        "StateIndependentSoftmax",
        "TabularSoftmax",
        "Uniform",
    ),
    "marl.runs": ("export_policy", "load_policy"),
    "marl.schedulers": ("Constant", "Linear", "PowerLaw", "Restarting", "TwoTimescale"),
    "marl.trainers": ("DiscountedActorCritic", "IndependentPPO", "RolloutActorCritic", "ScalableActorCritic"),
}

__all__ = [
    "AdditiveCritic",
    "Aloha",
    "CheckpointError",
    "Coloring",
    "ConfigError",
    "Constant",
    "ContractError",
    "Critic",
    "DiscountedActorCritic",
    "DedicatedMatching",
    "DivergedError",
    "Environment",
    "Evaluation",
    "FiniteEnvironment",
    "GraphCritic",
    "IndependentPPO",
    "Linear",
    "LinearCritic",
    "LocalMDP",
    "Logger",
    "MarlError",
    "NeighborhoodNeural",
    "NeighborhoodSoftmax",
    "NeighborhoodTable",
    "Network",
    "NetworkError",
    "NetworkedMDP",
    "NeuralCritic",
    "NeuralPolicy",
    "PairwiseCritic",
    "ParallelEnvironment",
    "Policy",
    "PowerLaw",
    "RandomFeatures",
    "RandomTable",
    "Restarting",
    "RolloutActorCritic",
    "ScalableActorCritic",
    "Scheduler",
    "SharedCritic",
    "SharedPolicy",
    "StateIndependentSoftmax",
    "StateValue",
    "TabularCritic",
    "TabularSoftmax",
    "Trainer",
    "Transition",
    "TwoTimescale",
    "Uniform",
    "WirelessAccess",
    "check_fused_step",
    "evaluate",
    "export_policy",
    "load_policy",
    "random_local_mdp",
]


def __getattr__(name: str) -> Any:
    for module, names in _CONTENTS.items():
        if name in names:
            return getattr(importlib.import_module(module), name)
    raise AttributeError(f"module 'marl' has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__
