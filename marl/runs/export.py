"""Policies are exported as plain files that other programs can read."""

import io
import json
from pathlib import Path

import numpy as np

from marl.core.errors import ConfigError
from marl.core.files import write_atomically
from marl.core.policy import Policy


def export_policy(policy: Policy, path: str | Path) -> None:
    """Writes zeta_i(a|s) to a .json or .npz file.

    json: {"format": "marl policy 1", "policy": [replica][agent][state][action]}, every agent with its own numbers of states
    and actions. npz: probabilities [B, n, S, A], 0 where an action is illegal or missing, num_states, num_actions [n].

    Errors: `ConfigError` for another ending; OSError if the file cannot be written.
    """
    path = Path(path)
    table, env = policy.probability_table().numpy(), policy.env
    sizes = env.num_states.tolist(), env.num_actions.tolist()
    content = io.BytesIO()
    if path.suffix == ".npz":
        np.savez(content, probabilities=table, num_states=np.array(sizes[0]), num_actions=np.array(sizes[1]))
    elif path.suffix == ".json":
        agents = list(enumerate(zip(*sizes, strict=True)))
        rows = [[replica[i, :states, :actions].tolist() for i, (states, actions) in agents] for replica in table]
        content.write(json.dumps({"format": "marl policy 1", "policy": rows}).encode())
    else:
        raise ConfigError(f"a policy is exported to a .json or .npz file, got {path}")
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, lambda file: file.write(content.getvalue()))
