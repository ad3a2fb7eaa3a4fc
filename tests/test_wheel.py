"""The wheel alone, away from the checkout, trains: the yaml files, the contract kits and the types are in it."""

import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[1]
BUILT_FROM = ("marl", "conf", "pyproject.toml", "setup.cfg", "README.md", "LICENSE")

PROGRAM = """
import sys
import marl.cli
import marl.cli.help
import marl.cli.help
code = marl.cli.main()
print("package", marl.__file__)
print("conf", marl.cli.help.conf_dir())
sys.exit(code)
"""


def run(*command: str, cwd: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        command, cwd=cwd, env={**os.environ, **environment}, capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy, so that no build folder is left in the checkout."""
    source = tmp_path_factory.mktemp("source") / "checkout"
    source.mkdir()
    for name in BUILT_FROM:
        path = REPOSITORY / name
        if path.is_dir():
            shutil.copytree(path, source / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(path, source / name)
    return source


@pytest.fixture(scope="module")
def wheel(source: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("wheel")
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check"]
    run(*pip, "wheel", ".", "--no-deps", "--quiet", "--wheel-dir", str(directory), cwd=source)
    (built,) = directory.glob("networked_marl-*.whl")
    return built


def test_every_module_stub_and_yaml_is_in_it(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    inside = {name for name in names if ".dist-info/" not in name}
    package, conf = REPOSITORY / "marl", REPOSITORY / "conf"
    others = [package / name for name in ("py.typed", "__init__.pyi", "watching/page.html", "watching/page.js")]
    files = [*package.rglob("*.py"), *others, *conf.rglob("*.yaml"), conf / "__init__.py"]
    relative = [str(path.relative_to(REPOSITORY)) for path in files]
    assert inside == {f"marl/{name}" if name.startswith("conf/") else name for name in relative}
    assert {"marl/py.typed", "marl/testing/__init__.py"} <= inside
    assert [name for name in names if name.endswith("LICENSE")]


@pytest.mark.parametrize("engine", ["autograd", pytest.param("fused", marks=pytest.mark.slow)])
def test_it_trains_from_anywhere(wheel: Path, tmp_path: Path, engine: str) -> None:
    """Compiled, too, for which nothing is on disk there."""
    site = tmp_path / "site"
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "install", "--quiet", "--no-deps"]
    run(*pip, "--target", str(site), str(wheel), cwd=tmp_path)
    overrides = ["env.rows=2", "env.cols=3", "steps=40", f"trainer.engine={engine}", f"hydra.run.dir={tmp_path}/run"]
    overrides += ["eval.steps=20" if engine == "fused" else "eval.steps=0"]
    program = [sys.executable, "-W", "error", "-c", PROGRAM, "train", *overrides]
    lines = run(*program, cwd=Path("/"), PYTHONPATH=str(site)).stdout.splitlines()
    assert lines[-2:] == [f"package {site}/marl/__init__.py", f"conf {site}/marl/conf"]
    assert (tmp_path / "run" / "summary.json").is_file()
    script = run(str(site / "bin" / "marl"), "--help", cwd=Path("/"), PYTHONPATH=str(site))
    assert script.stdout.startswith("usage: marl COMMAND")


def test_an_editable_install_is_found_beside_a_folder_of_the_same_name(source: Path, tmp_path: Path) -> None:
    """It is a line in a .pth file that names the checkout: what the finder of a package would do comes too late."""
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "install", "--quiet", "--no-deps"]
    run(*pip, "--target", str(tmp_path / "site"), "--editable", str(source), cwd=tmp_path)
    (paths,) = (tmp_path / "site").glob("*.pth")
    assert [Path(line).resolve() for line in paths.read_text(encoding="utf-8").splitlines()] == [source.resolve()]
