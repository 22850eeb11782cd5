"""The rooms of the house: imports point downward, and torch stays out of the hall."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from collections.abc import Iterator
from graphlib import TopologicalSorter
from pathlib import Path

import pytest
from conftest import STORY

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "artv_cli"
HEAVY = {
    "torch", "diffusers", "transformers", "accelerate", "huggingface_hub", "scenedetect", "cv2",
}  # fmt: skip

# From the roof to the cellar; a name stands for a module, or for a package with all in it.
FLOORS: tuple[set[str], ...] = (
    {"__main__"},
    {"console_script"},
    {"cli"},
    {"commands"},
    {"events", "starter", "talk"},
    {"forecast", "preview", "redraw"},
    {"story"},
    {"loading"},
    {"chronicler", "inventory", "observer"},
    # fmt: off
    {
        "artv_engine",
        "evaluate",
        "export",
        "history",
        "pipeline_engine",
        "prepare",
        "timings",
        "train",
    },
    # fmt: on
    {"machine", "masks", "recipe", "render", "model", "storybook"},
    {"media"},
    {"cache"},
    {"key_frames", "keys", "plan"},
    {"diffusion", "image_paths", "images", "storyboard", "storyboard_form", "yaml_source"},
    {"model.folder", "model.text_to_image"},
    {"model.header", "model.repository"},
    {
        "engine",
        "messages",
        "quantities",
        "scalars",
        "setting_sources",
        "setting_tables",
        "settings",
        "wording",
    },
    {"files"},
    {"console", "launcher", "pace"},
    {"", "errors", "latents", "shard_format", "tiles"},
)
MAY_IMPORT_TORCH = {
    "artv_engine", "diffusion", "evaluate", "machine", "model", "pipeline_engine",
    "prepare.captions", "prepare.latents", "storybook.camera", "storybook.canvas",
    "storybook.puppets", "storybook.scenery", "storybook.tokenizer", "storybook.weather",
    "storybook.world", "train",
}  # fmt: skip
TORCH_FREE_MODELS = {
    "model.folder", "model.header", "model.memory", "model.repository", "model.text_to_image",
}  # fmt: skip


def module_name(path: Path) -> str:
    parts = path.relative_to(PACKAGE).with_suffix("").parts
    return ".".join(part for part in parts if part != "__init__")


MODULES = {module_name(path): ast.parse(path.read_text()) for path in PACKAGE.rglob("*.py")}


def floor(module: str) -> int:
    """Return the floor of the most exact entry that a module belongs to."""
    parts = module.split(".")
    for end in range(len(parts), 0, -1):
        for number, names in enumerate(FLOORS):
            if ".".join(parts[:end]) in names:
                return number
    raise AssertionError(f"{module} has no floor: give it one in FLOORS")


def imported(node: ast.AST) -> Iterator[str]:
    """Yield the full names of the modules that an import statement imports."""
    if isinstance(node, ast.Import):
        yield from (alias.name for alias in node.names)
    elif isinstance(node, ast.ImportFrom):
        assert node.level == 0, "imports are absolute here"
        for alias in node.names:
            inner = f"{node.module}.{alias.name}"
            is_module = inner.removeprefix("artv_cli.") in MODULES
            yield inner if is_module else str(node.module)


def own_imports(module: str) -> set[str]:
    names = (name for node in ast.walk(MODULES[module]) for name in imported(node))
    own = (name for name in names if name.split(".")[0] == "artv_cli")
    return {name.removeprefix("artv_cli").removeprefix(".") for name in own}


@pytest.mark.parametrize("module", sorted(MODULES))
def test_imports_point_downward(module: str) -> None:
    upward = {name for name in own_imports(module) if floor(name) < floor(module)}
    assert not upward


def test_no_imports_go_in_circles() -> None:
    graph = {module: own_imports(module) - {module, ""} for module in MODULES}
    TopologicalSorter(graph).prepare()


@pytest.mark.parametrize("module", sorted(MODULES))
def test_heavy_libraries_are_imported_by_their_rooms_alone(module: str) -> None:
    rooms = {module, module.partition(".")[0]}
    if rooms & MAY_IMPORT_TORCH and module not in TORCH_FREE_MODELS:
        return
    at_import = {name.split(".")[0] for node in MODULES[module].body for name in imported(node)}
    assert not at_import & HEAVY


COMMANDS = """
import json, os, sys, types
sys.path[:0] = {paths!r}
os.chdir({folder!r})
import artv_cli.story, artv_cli.commands.models
from conftest import stand_in_model
from standin import StandInEngine
from typer.testing import CliRunner
from artv_cli.cli import app

for module in (artv_cli.story, artv_cli.commands.models):
    module.find_model = stand_in_model
artv_cli.commands.models.embedded_models = lambda: ["storybook"]
engine = types.SimpleNamespace(load_engine=lambda *model, **how: StandInEngine())
sys.modules["artv_cli.artv_engine"] = engine
loaded = {{}}
for arguments in (
    ["--help"], ["story", "--help"], ["schema"], ["init"], ["check", "story.yaml"],
    ["plan", "story.yaml"], ["story", "story.yaml"], ["plan", "story.yaml", "--explain", "1"],
    ["export", "story.yaml", "-o", "film.gif"], ["cache", "ls"], ["cache", "verify"],
    ["cache", "prune", "--max-size", "0"], ["models", "ls"], ["models", "show", "storybook"],
    ["prepare", "--help"],
):
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 0, (arguments, result.output)
    loaded[" ".join(arguments)] = sorted({heavy!r} & set(sys.modules))
print(json.dumps(loaded))
"""


def test_everything_but_drawing_runs_without_torch(tmp_path: Path) -> None:
    (tmp_path / "cut.yaml").write_text(STORY)
    program = COMMANDS.format(
        paths=[str(ROOT / "tests"), str(ROOT)], folder=str(tmp_path), heavy=HEAVY
    )
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    loaded = json.loads(run.stdout)
    assert {command: names for command, names in loaded.items() if names} == {}


def test_every_module_says_what_it_is() -> None:
    silent = {name for name, tree in MODULES.items() if tree.body and not ast.get_docstring(tree)}
    assert not silent
