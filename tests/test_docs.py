"""The README's reference: every command and option stands there, and every example is a command."""

from __future__ import annotations

import contextlib
import itertools
import re
import shlex
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer

from artv_cli.cli import app
from artv_cli.setting_sources import flag_settings
from artv_cli.storyboard import parse_storyboard
from artv_cli.train.training_recipe import TrainingRecipe, load_training_recipe

README = Path(__file__).parent.parent / "README.md"
TYPERS_OWN = {"--install-completion", "--show-completion", "--help"}


def commands(command: Any, name: str = "artv") -> Iterator[tuple[str, Any]]:
    """Yield every command that does something, with its full name."""
    for part, inner in getattr(command, "commands", {}).items():
        yield from commands(inner, f"{name} {part}")
    if not getattr(command, "commands", {}):
        yield name, command


COMMANDS = dict(commands(typer.main.get_command(app)))


def options(command: Any) -> set[str]:
    """Return the long names of a command's options."""
    names = {name for parameter in command.params for name in parameter.opts}
    return {name for name in names if name.startswith("--")} - TYPERS_OWN


def examples_in_help() -> list[str]:
    texts = [command.help for command in COMMANDS.values()] + [typer.main.get_command(app).help]
    lines = (line.strip() for text in texts for line in text.splitlines())
    return [re.split(r" {3,}", line)[0] for line in lines if line.startswith("artv ")]


def readme() -> str:
    return README.read_text()


def reference() -> str:
    """Return the README's section on commands."""
    match = re.search(r"^## Commands$(.*?)(?=^## |\Z)", readme(), re.MULTILINE | re.DOTALL)
    return match[1] if match else ""


def examples_in_readme() -> list[str]:
    blocks = re.findall(r"^ *```\w*\n(.*?)^ *```", readme(), re.MULTILINE | re.DOTALL)
    lines = (line.removeprefix("$ ").strip() for block in blocks for line in block.splitlines())
    # One block may install first: `pip install … && artv story …`
    parts = (part.strip().removeprefix(".venv/bin/") for line in lines for part in line.split("&&"))
    return [part for part in parts if part.startswith("artv ")]


def parse(example: str) -> None:
    """Parse a command line as artv would, without running it; fails as artv would."""
    name, *words = before_shell(example)
    command = typer.main.get_command(app)
    while inner := getattr(command, "commands", None):
        if words[0] in ("--help", "--version", "--install-completion"):
            return
        assert words[0] in inner, f"No such command: {example}"
        name, *words = words
        command = inner[name]
    with contextlib.suppress(typer.Exit), command.make_context(name, words):  # Exit is --help
        pass


def before_shell(example: str) -> list[str]:
    """Return the words of a command line up to a pipe, a redirection or a comment."""
    lexer = shlex.shlex(example, posix=True, punctuation_chars="|<>;&")
    lexer.whitespace_split = True
    return list(itertools.takewhile(lambda word: not set(word) <= set("|<>;&"), lexer))


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_and_option_has_help(name: str) -> None:
    command = COMMANDS[name]
    assert command.help
    assert f"\n{name}" in command.help, "an example comes first"
    silent = [parameter.name for parameter in command.params if not parameter.help]
    assert not silent


def test_precisions_are_told_by_every_name_that_they_may_be_called() -> None:
    told = [p.help for c in COMMANDS.values() for p in c.params if "--dtype" in p.opts]
    names = "fp32", "fp16", "bf16", "float32", "float16", "bfloat16"
    assert told and all(name in help for help in told for name in names)
    assert all(flag_settings(dtype=name).dtype in names[3:] for name in names)


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_stands_in_the_readme(name: str) -> None:
    assert f"`{name}" in reference()


def told_of(name: str) -> set[str]:
    """Return the options in the rows of the reference that are about a command, or about all."""
    rows = (line.strip("| ").split(" | ", 1) for line in reference().splitlines() if "|" in line)
    return {
        option
        for first, text in (row for row in rows if len(row) == 2)
        for option in re.findall(r"--[a-z][a-z0-9-]*", f"{first} {text}")
        if (whose := owners(first, text)) is None or any(f"{name} ".startswith(o) for o in whose)
    }


def owners(first: str, text: str) -> set[str] | None:
    """Return whose options a row tells, such as `artv story `; None where all may have them."""
    if "`artv " in first:
        named = first
    elif text.startswith("of `"):
        named = text.partition(":")[0]
    else:
        return None
    words = (word.removeprefix("artv ") for word in re.findall(r"`([a-z][a-z0-9 ]*)", named))
    return {f"artv {word.strip()} " for word in words}


@pytest.mark.parametrize("name", COMMANDS)
def test_every_option_stands_in_the_readme_where_its_command_is_told(name: str) -> None:
    assert options(COMMANDS[name]) - told_of(name) == set()


def test_a_flag_that_is_told_of_another_command_is_missed() -> None:
    assert "--save-masks" in told_of("artv t2v") and "--save-masks" not in told_of("artv export")
    assert "--judge" in told_of("artv evaluate storybook") and "--judge" not in told_of("artv plan")
    assert "--json" in told_of("artv plan")


def test_the_readme_names_no_command_or_option_that_is_not_there() -> None:
    told = set(re.findall(r"--[a-z][a-z0-9-]*", reference()))
    known = set().union(*(options(command) for command in COMMANDS.values()))
    assert told <= known | TYPERS_OWN | {"--version"}
    named = set(re.findall(r"`(artv [a-z0-9]+(?: [a-z]+)?)", reference()))
    groups = {name.rpartition(" ")[0] for name in COMMANDS}
    assert all(name in COMMANDS or name in groups for name in named if name != "artv")


def test_the_readme_has_examples() -> None:
    assert examples_in_readme()


@pytest.mark.parametrize("example", [*examples_in_help(), *examples_in_readme()])
def test_every_example_parses(example: str) -> None:
    parse(example)


@pytest.mark.parametrize("example", ["artv stroy x.yaml", "artv story", "artv story x --stops 3"])
def test_a_wrong_example_would_be_found(example: str) -> None:
    with pytest.raises(Exception, match="No such|Missing"):
        parse(example)


def section(title: str) -> str:
    """Return one of the README's sections of the third level."""
    return re.split(r"^##", readme().partition(f"### {title}\n")[2], maxsplit=1, flags=re.M)[0]


def documents(text: str) -> list[str]:
    """Return the YAML that is printed in a text."""
    blocks = re.findall(r"^( *)```yaml\n(.*?)^\1```", text, re.MULTILINE | re.DOTALL)
    return [textwrap.dedent(block) for _, block in blocks]


def recipe_of(text: str, folder: Path) -> TrainingRecipe:
    (folder / "recipe.yaml").write_text(text)
    return load_training_recipe(folder / "recipe.yaml")


@pytest.mark.parametrize("text", documents(readme()))
def test_every_document_printed_in_the_readme_loads(text: str, tmp_path: Path) -> None:
    if re.search("^data:", text, re.MULTILINE):
        assert recipe_of(text, tmp_path).model == "my-model"
        return
    whole = "" if "segments:" in text else "segments: [{prompt: a cat, frames: 2}]\n"
    assert parse_storyboard(whole + text, name="README.md", folder=tmp_path).segments


def test_the_steps_with_one_gpu_lead_into_each_other(tmp_path: Path) -> None:
    road = section("With one GPU, from nothing to your own model")
    said = {
        words[0]: words[1:] for words in map(shlex.split, re.findall(r"^ *artv (.*)", road, re.M))
    }
    assert list(said) == ["models", "prepare", "train", "init", "story"]
    out = {
        name: words[words.index("--out") + 1] for name, words in said.items() if "--out" in words
    }
    (recipe,) = (recipe_of(text, tmp_path) for text in documents(road))
    assert (recipe.model, recipe.data) == (out["models"], (out["prepare"],))
    assert said["prepare"][-2:] == ["--latents", recipe.model] and recipe.size is None
    assert said["train"][0] == "recipe.yaml" and said["init"] == said["story"][:1]
    assert said["story"][-2:] == ["--model", f"{out['train']}/model"]


def test_ci_runs_the_very_command_that_the_readme_gives_for_the_tests() -> None:
    command = next(line for line in readme().splitlines() if "-m pytest" in line)
    assert command in (README.parent / ".ci" / "run").read_text().splitlines()


# ---------------------------------------------------------------- the changelog


def fixed() -> list[str]:
    """Return the changelog's entries on bugs."""
    text = (README.parent / "CHANGELOG.md").read_text()
    sections = re.findall(r"^### Fixed\n(.*?)(?=^#|\Z)", text, re.MULTILINE | re.DOTALL)
    return [entry for section in sections for entry in re.split(r"^- ", section, flags=re.M)[1:]]


@pytest.mark.parametrize("entry", fixed(), ids=lambda entry: entry[:40])
def test_every_bug_that_was_fixed_names_a_test_that_is_there(entry: str) -> None:
    named = re.findall(r"`(tests/\w+\.py)::(\w+)`", entry)
    assert named, "which test would notice if it came back?"
    for file, test in named:
        assert f"def {test}(" in (README.parent / file).read_text(), test
