"""The rules of the house that no linter knows."""

import ast
from fnmatch import fnmatch
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "marl"
MODULES = sorted(PACKAGE.rglob("*.py"))
NAMES = [str(path.relative_to(PACKAGE)) for path in MODULES]

ONLY_IN = {  # third-party package -> where it may be imported, at any depth
    "hydra": ("cli/*",),
    "omegaconf": ("cli/*",),
    "tensorboard": ("loggers/tensorboard.py",),
    "torch.utils.tensorboard": ("loggers/tensorboard.py",),
    "matplotlib": ("plotting.py",),
    "bokeh": ("watching/figures.py", "watching/page.py"),
    "numba": ("kernels/*",),
    "scipy": ("exact/marginal_bound.py",),
}

STEP = {  # what runs once per environment step
    "trainers/scalable_actor_critic.py": ["ScalableActorCritic._step"],
    "trainers/discounted_actor_critic.py": ["DiscountedActorCritic._step", "DiscountedActorCritic._improve"],
    "trainers/episode.py": ["Episode.add"],
    "trainers/rollout_actor_critic.py": [
        f"RolloutActorCritic.{name}" for name in ("_update", "_critic_loss", "_objective")
    ],
    "trainers/actor_critic.py": ["ActorCritic._differentiate"],
    "trainers/optimizers.py": ["apply"],
    "trainers/counted_model.py": ["LearnedMDP._transition", "LearnedMDP._reward", "Counts.add", "_tally"],
    "trainers/local_rows.py": ["LocalRows.row"],
    "core/lookup.py": ["summed_rows", "over_neighbors"],
    "trainers/trainer.py": ["Interval.add", "Interval.learned"],
    "core/objective.py": ["Differential.centered", "Average.track", "AverageByErrors.follow"],
    "core/critic.py": [f"Critic.{name}" for name in ("q", "loss", "track_reward", "track", "advantage")],
    "core/policy.py": ["Policy.log_probs", "Policy.log_prob", "Policy.sample", "Policy.probs", "TabularPolicy._logits"],
    "core/environment.py": ["Environment.step", "NetworkedMDP._step"],
    "core/indexing.py": ["PairIndex.pairs", "NeighborhoodKeys.keys", "NeighborhoodKeys.of"],
    "critics/tabular.py": ["TabularCritic._q"],
    "critics/entries.py": ["Entries.q", "Entries.slots", "Entries.updated", "Entries.sup_norm"],
    "critics/neural.py": ["NeuralCritic._q"],
    "critics/state_value.py": ["NeuralStateValue._q"],
    "critics/additive.py": [
        f"{kind}Critic.{name}" for kind in ("Additive", "Pairwise") for name in ("_q", "_counterfactual")
    ],
    "critics/linear.py": ["LinearCritic._q", "RandomFeatures._features"],
    "critics/shared.py": ["SharedNetwork._q", "SharedNetwork._network"],
    "critics/storage.py": ["DenseStorage.find"],
    "critics/hash_storage.py": ["HashStorage.find", "HashStorage.insert"],
    "critics/sup_norm.py": ["BlockMaxima.update", "BlockMaxima.largest"],
    "envs/wireless/env.py": ["WirelessAccess._step", "WirelessAccess._attempt"],
    "envs/local_mdp/env.py": ["LocalMDP._transition", "LocalMDP._reward", "LocalMDP._rows"],
    "envs/epidemic/env.py": [f"Epidemic.{name}" for name in ("_step", "_stays", "_transition", "_reward")],
    "envs/coloring/env.py": ["Coloring._transition", "Coloring._reward", "Coloring._clash"],
    "envs/firefighters/env.py": [f"Firefighters.{name}" for name in ("_step", "_transition", "_reward", "_change")],
    "envs/scheduling/env.py": [f"Scheduling.{name}" for name in ("_step", "_reward", "_chance", "_paid")],
    "envs/sysadmin/env.py": [f"SysAdmin.{name}" for name in ("_step", "_reward", "_rebooted", "_chances")],
    "envs/traffic/env.py": [f"TrafficSignals.{name}" for name in ("_step", "_moves", "_signal", "_arriving", "_reward")],
    "policies/softmax.py": ["TabularSoftmax._logits"],
    "policies/state_independent.py": ["StateIndependentSoftmax._logits"],
    "policies/random_table.py": ["RandomTable._logits"],
    "policies/neural.py": ["NeuralPolicy._logits"],
    "policies/shared.py": ["SharedPolicy._logits", "SharedPolicy._network"],
    "policies/neighborhood.py": [
        "NeighborhoodSoftmax._logits",
        "NeighborhoodTable.rows",
        "NeighborhoodNeural._logits",
    ],
}


def imported(tree: ast.AST) -> set[str]:
    """Full names of all modules that are imported anywhere in a file."""
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def forbidden_in_a_step(function: ast.AST) -> list[str]:
    """Loops, and calls that take a number out of a tensor."""
    loops = (ast.For, ast.While, ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp)
    found = [f"loop in line {node.lineno}" for node in ast.walk(function) if isinstance(node, loops)]
    calls = [node.attr for node in ast.walk(function) if isinstance(node, ast.Attribute)]
    return found + [name for name in calls if name in ("item", "tolist", "cpu")]


@pytest.mark.parametrize("path", MODULES, ids=NAMES)
def test_modules_are_short(path: Path) -> None:
    assert len(path.read_text().splitlines()) <= 300


@pytest.mark.parametrize("path", MODULES, ids=NAMES)
def test_modules_have_a_docstring_and_a_name_of_their_own(path: Path) -> None:
    assert ast.get_docstring(ast.parse(path.read_text()))
    assert not {"utils", "util", "common", "helpers", "misc"} & {*path.relative_to(PACKAGE).parts, path.stem}


@pytest.mark.parametrize("path", MODULES, ids=NAMES)
def test_third_party_imports_are_where_they_belong(path: Path) -> None:
    here = str(path.relative_to(PACKAGE))
    for name in imported(ast.parse(path.read_text())):
        for package, places in ONLY_IN.items():
            if f"{name}.".startswith(f"{package}."):
                assert any(fnmatch(here, place) for place in places), f"{here} imports {name}"


def test_the_places_exist() -> None:
    """... or the rule above says nothing."""
    for package, places in ONLY_IN.items():
        for place in places:
            files = [path for path, name in zip(MODULES, NAMES, strict=True) if fnmatch(name, place)]
            assert any(package in name for path in files for name in imported(ast.parse(path.read_text())))


def imports_within(modules: dict[str, ast.AST]) -> dict[str, set[str]]:
    """name of a module -> those of `modules` that it imports, at the top, inside a function or for types alone.

    A name that a package hands on counts as the package.
    """
    return {
        here: {name if name in modules else name.rpartition(".")[0] for name in imported(tree)} & modules.keys()
        for here, tree in modules.items()
    }


def circle(graph: dict[str, set[str]]) -> list[str]:
    """Modules that import one another in turn, the first one named again at the end; none if there is no circle."""
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        return list(error.args[1])
    return []


def test_no_module_imports_itself_in_a_circle() -> None:
    """Also not inside a folder, nor inside a function: what two modules need of one another is a third one."""
    names = [
        ".".join(["marl", *path.relative_to(PACKAGE).with_suffix("").parts]).removesuffix(".__init__") for path in MODULES
    ]
    graph = imports_within(dict(zip(names, (ast.parse(path.read_text()) for path in MODULES), strict=True)))
    assert circle(graph) == []


@pytest.mark.parametrize(("file", "function"), [(file, name) for file in STEP for name in STEP[file]])
def test_no_number_leaves_a_tensor_and_nothing_loops_inside_a_step(file: str, function: str) -> None:
    node: ast.AST = ast.parse((PACKAGE / file).read_text())
    for name in function.split("."):
        (node,) = [child for child in ast.iter_child_nodes(node) if getattr(child, "name", None) == name]
    found = forbidden_in_a_step(node)
    if function == "apply":  # over the parameter groups of an optimizer
        found = [fault for fault in found if not fault.startswith("loop")]
    assert found == []


def test_the_checks_see_what_they_look_for() -> None:
    sources = {"a": "from b import c", "b": "", "b.c": "def f():\n    from a import x", "d": "import a"}
    graph = imports_within({name: ast.parse(source) for name, source in sources.items()})
    assert graph == {"a": {"b.c"}, "b": set(), "b.c": {"a"}, "d": {"a"}}
    assert set(circle(graph)) == {"a", "b.c"}
    assert "torch.utils.tensorboard" in imported(ast.parse("def f():\n    from torch.utils import tensorboard"))
    assert forbidden_in_a_step(ast.parse("x.sum().item()")) == ["item"]
    assert forbidden_in_a_step(ast.parse("for i in range(n): pass")) == ["loop in line 1"]
    assert forbidden_in_a_step(ast.parse("torch.stack([f(i) for i in x])")) == ["loop in line 1"]


def opens_text(call: ast.Call) -> bool:
    """Whether it reads or writes text: path.read_text(), open(path), path.open("a"); not open(path, "rb")."""
    mode = [x.value for x in call.args if isinstance(x, ast.Constant) and str(x.value)[:1] in tuple("rwax")]
    if isinstance(call.func, ast.Attribute):
        return call.func.attr in ("read_text", "write_text") or (call.func.attr == "open" and "b" not in str(mode or "b"))
    return isinstance(call.func, ast.Name) and call.func.id == "open" and "b" not in str(mode)


@pytest.mark.parametrize("folder", ["marl", "experiments", "benchmarks", "examples"])
def test_text_has_an_encoding(folder: str) -> None:
    """UTF-8, said wherever a file is opened: else it is the locale's."""
    for path in (PACKAGE.parent / folder).rglob("*.py"):
        calls = [node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Call) and opens_text(node)]
        assert [call.lineno for call in calls if "encoding" not in (word.arg for word in call.keywords)] == [], path
