"""Wrong requests about the systems, their rules, graphs and methods: one sentence each, exit code 2, nothing written.

Not those of `test_bad_input` and of the systems' own tests. Most go through `marl watch`, which composes the least.
"""

import shlex
from pathlib import Path

import pytest

from tests.cli.command import Marl, assert_refused, contents
from tests.graphs import stand_ins

FILES = {
    "bad.json": "{",
    "three.json": "[[0], [0], [1]]",
    "names.json": '[["ann"], ["bob"], ["ann"], [], [], []]',
    "binary.txt": "\x00\x01\x02",
    "one_way.gml": "graph [ directed 1 node [ id 0 ] node [ id 1 ] edge [ source 0 target 1 ] ]",
    "nan.json": '{"n": 2, "edges": [[0, NaN]]}',
    "half.json": '{"n": 2.5, "edges": [[0, 1]]}',
    "a_file": "in the way",
}

CHOICES = [  # (what is typed after marl, what the message must say)
    ("train env=load-balancing", ["'env/load-balancing' (did you mean load_balancing?)", "there are: coloring, epidemic"]),
    ("watch env=Traffic", ["'env/Traffic' (did you mean traffic?)"]),
    ("watch env=load_balancing policy=jsg", ["'policy/jsg' (did you mean jsq?)"]),
    ("train method=tabluar", ["'method/tabluar' (did you mean tabular?)", "ippo, ippo_neighbors"]),
    ("train method=sarsa", ["'method/sarsa'; there are: additive, discounted"]),
    ("train method=3", ["method=3 names no file: method is one name"]),
    ("train method=[tabular,neural]", ["method=[tabular,neural] names no file", "-m method=A,B"]),
    ("train method=neural experiment=pairwise", ["method=neural and experiment=pairwise exclude each other", "give one"]),
    ("train -m experiment=pairwise method=neural,ippo", ["method=neural,ippo and experiment=pairwise exclude each other"]),
    ("watch env=[epidemic,traffic]", ["env=[epidemic,traffic] names no file: env is one name"]),
    ("train env=sysadmin env.graph=ring:6,ring:7", ["env.graph takes one value, got ring:6,ring:7", "-m sweeps"]),
    ("train epidemic", ["cannot read 'epidemic': settings are written KEY=VALUE"]),
    ("train env=epidemic polcy=always_shield", ["no key 'polcy' to set (did you mean policy?)", "steps, replicas"]),
    (
        "watch env=load_balancing env.arival=0.5",
        ["'env.arival' to set (did you mean arrival?)", "buffer, arrival, service"],
    ),
    ("watch env=firefighters env.graph=ring:5", ["'env.graph' to set; there are: agents, rows, cols"]),
    ("watch env=firefighters policy=fight_alternately policy.ties=left", ["'policy.ties' to set; policy has none"]),
    ("watch env=load_balancing policy=keep +policy.ties=index", ["load_balancing.Keep", "'ties'"]),
    ("watch env=sysadmin ++env.rate=0.1", ["envs.SysAdmin", "'rate'"]),
    ("train env=sysadmin ~env.nope", ["no key 'env.nope' to remove"]),
    ("watch env=null env.rows=3", ["env=null names no file"]),
    ("watch env=local_mdp", ["env.path must be given"]),
    ("watch env=traffic policy=max_weight", ["MaxWeight is a rule for Scheduling", "TrafficSignals"]),
    ("watch env=scheduling policy=longest_queue", ["LongestQueue is a rule for TrafficSignals", "Scheduling"]),
    ("certify env=sysadmin policy=max_pressure", ["MaxPressure is a rule for TrafficSignals", "SysAdmin"]),
    ("decay env=epidemic policy=jsq", ["JoinShortestQueue is a rule for LoadBalancing", "Epidemic"]),
]
VALUES = [  # (added to marl watch, ...)
    ("env=load_balancing env.buffer=inf", ["env.buffer[0]", "whole number", "got inf"]),
    ("env=load_balancing env.buffer=[]", ["env.buffer needs 4 values", "got 0"]),
    ("env=load_balancing env.buffer=10**9", ["env.buffer[0]", "'10**9'"]),
    ("env=load_balancing env.arrival=[0.5,0.5,true,0.5]", ["env.arrival[2]", "[0, 1]", "got True"]),
    ("env=load_balancing env.service=[0.5,null,0.5,0.5]", ["env.service[1]", "got None"]),
    ("env=load_balancing env.holding=1e7", ["env.holding", "1e+06", "10000000.0"]),
    ("env=load_balancing policy=jsq policy.ties=[cyclic]", ["policy.ties", "cyclic, index", "['cyclic']"]),
    (
        "env=epidemic env.graph=grid:2x3 env.weights=[1,1,1,1,1,1]",
        ["env.weights needs 7 values, one for each edge", "got 6"],
    ),
    ("env=epidemic env.weights=nan", ["env.weights[0]", "got nan"]),
    ("env=epidemic env.waning=false", ["env.waning[0]", "got False"]),
    ("env=epidemic env.mutual=null", ["env.mutual must be true or false, got None"]),
    ("env=epidemic policy=shield_by_degree policy.threshold=[1,2]", ["policy.threshold", "[1, 2]"]),
    ("env=epidemic policy=shield_by_centrality policy.threshold=true", ["policy.threshold", "got True"]),
    ("env=firefighters env.rows=2 env.cols=2 env.levels=[1,1,1,1]", ["env.levels needs 9 values, one for each house"]),
    ("env=firefighters env.rows=-1 env.cols=3", ["env.rows", "at least 1, got -1"]),
    ("env=firefighters env.agents=[4]", ["env.agents", "got [4]"]),
    ("env=firefighters env.levels=1e400", ["env.levels[0]", "got inf"]),
    ("env=scheduling env.success=0.8.1", ["env.success[0]", "'0.8.1'"]),
    ("env=scheduling env.arrival={0:0.1}", ["env.arrival needs 6 values, one for each link, got 1"]),
    ("env=scheduling policy=slotted_aloha policy.send_probability=true", ["policy.send_probability[0]", "got True"]),
    ("env=scheduling policy=queue_based_access policy.weight=nan", ["policy.weight must be a finite number, got nan"]),
    ("env=sysadmin env.crews=[[0],[0],[0],[0],[0],[67108863]]", ["env.crews[5] names crew 67108863", "without gaps"]),
    ("env=sysadmin env.crews=three.json", ["env.crews needs 6 lists of crews, one for each machine, got 3"]),
    ("env=sysadmin env.crews=names.json", ["env.crews[0]", "whole number", "'ann'"]),
    ("env=sysadmin env.crews=bad.json", ["env.crews file 'bad.json' cannot be read as JSON"]),
    ("env=sysadmin env.crews=empty", ["env.crews file 'empty' cannot be read", "directory"]),
    ("env=sysadmin env.crews=2.5", ["env.crews must be a whole number", "got 2.5"]),
    ("env=traffic policy=fixed_time", ["policy.hold=4", "env.elapsed=1; choose env.elapsed=4"]),
    ("env=traffic env.capacity=[2,2]", ["env.capacity", "[2, 2]"]),
    ("env=traffic env.elapsed=1e300", ["env.elapsed", "got 1e+300"]),
    ("env=traffic env.rows=3x3", ["env.rows", "'3x3'"]),
    ("env=traffic env.left=[0.25,0.25]", ["env.left needs 9 values, one for each intersection, got 2"]),
]
GRAPHS = [  # (env.graph of marl watch env=scheduling, ...)
    ("ring", ["'ring' is no file (did you mean ring:N?)"]),
    ("rign:5", ["'rign:5' is no file (did you mean ring:N"]),
    ("gird:2x3", ["(did you mean grid:ROWSxCOLS?)"]),
    ("ring:1e3", ["'ring:1e3' cannot be read; write ring:N"]),
    ("grid:3*3", ["'grid:3*3' cannot be read; write grid:ROWSxCOLS"]),
    ("geometric:1000000:0.9", ["radius 0.9 joins about 5.0e+11 pairs of 1000000 nodes", "smaller radius"]),
    ("{_target_:marl.Network,n:3,edges:[[1,1]]}", ["env.graph: node 1 has an edge to itself"]),
    ("{_target_:marl.Network.ring,n:3}", ["env.graph._target_=marl.Network.ring cannot be found"]),
    ("polska", ["'polska' comes with the package topohub", "pip install"]),
    ("binary.txt", ["graph file binary.txt", "line 1"]),
    ("one_way.gml", ["graph file one_way.gml", "directed"]),
    ("nan.json", ["graph file nan.json", "pairs of node numbers"]),
    ("half.json", ["graph file half.json", "number of nodes", "got 2.5"]),
]
COMMANDS = [
    ("train env=scheduling policy=slotted_aloha policy.send_probability=[0.1,0.2] replicas=3", ["needs 3 values", "got 2"]),
    ("train env=epidemic method=pairwise critic.kappa=true", ["critic.kappa", "got True"]),
    ("train env=scheduling critic.kappa=nan", ["critic.kappa", "got nan"]),
    ("train env=scheduling policy=neighborhood_softmax policy.kappa=-1", ["policy.kappa", "at least 0, got -1"]),
    ("train env=load_balancing method=discounted trainer.discount=nan", ["trainer.discount must be a finite number, got"]),
    ("train env=scheduling seed=1.5", ["seed", "whole number", "got 1.5"]),
    ("watch env=traffic steps=nan", ["steps must be a whole number of at least 1, got nan"]),
    ("watch env=traffic out=.html", ["out must be a file that ends in .html or .gif, got '.html'"]),
    ("watch env=traffic out=/proc/nope/x.html", ["out=/proc/nope cannot be written to"]),
    ("watch empty env=traffic", ["no checkpoint at empty/checkpoint.pt"]),
    ("watch empty empty", ["cannot read 'empty': settings are written KEY=VALUE"]),
    (
        "watch env=load_balancing critic.kappa=1",
        ["'critic.kappa' to set; there are: env, policy, steps, seed, replica, out"],
    ),
    ("graphs env.graph=karate", ["'env.graph=karate' is no file"]),
    ("certify env=sysadmin agents=all", ["agents must be a list such as [0,3]", "'all'"]),
    ("decay env=traffic", ["agent 0 and its 2 neighbors", "entries", "fewer states"]),
    ("decay env=epidemic env.graph=line:60", ["1.15e+18 joint states", "4 GiB allowed"]),
    ("evaluate empty steps=40", ["marl evaluate takes RUN_DIR", "got 'empty', 'steps=40'"]),
]
REQUESTS = [
    *CHOICES,
    *[(f"watch {words}", said) for words, said in VALUES],
    *[(f"watch env=scheduling env.graph={graph}", said) for graph, said in GRAPHS],
    *COMMANDS,
]


@pytest.mark.parametrize(("request_text", "said"), REQUESTS, ids=[text for text, _ in REQUESTS])
def test_refused(marl: Marl, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request_text: str, said: list[str]) -> None:
    stand_ins.absent(monkeypatch)
    for name, text in FILES.items():
        (tmp_path / name).write_text(text)
    (tmp_path / "empty").mkdir()
    before = contents(tmp_path)
    outcome = marl(*shlex.split(request_text))
    assert_refused(outcome, *said)
    assert ". " not in outcome.err
    assert contents(tmp_path) == before


def test_what_is_nearly_wrong_is_not_refused(marl: Marl) -> None:
    """Crews that nobody calls, a weight that overflows, a rule beside an experiment."""
    watched = "watch", "steps=3", "env.graph=line:3"
    assert marl(*watched, "env=sysadmin", "env.crews=[[0],[0],[9]]").code == 0
    assert marl(*watched, "env=scheduling", "policy=queue_based_access", "policy.weight=1e308").code == 0
    assert marl("train", "experiment=pairwise", "policy=aloha", "--cfg", "job").code == 0
