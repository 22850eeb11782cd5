"""Do the tests notice? One operator, condition, statement or argument is changed at a time.

    python -m benchmarks.mutants                          # all modules, from where it stopped
    python -m benchmarks.mutants --only artv_cli/plan.py --most 50

Each mutant is put into a copy of the tree and the module's tests are run; one that they let pass
survives: either a test is missing, or the change changes nothing. What became of each is kept in
`mutants.json`, where a survivor's explanation is written by hand and stays, and told in
`mutants.md`. One without an explanation is tried again, and a module that was changed meanwhile
anew, but not one whose tests were: what they once noticed counts. Exit code 1 if a survivor of the
modules tried is not explained.
"""

from __future__ import annotations

import argparse
import ast
import copy
import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from artv_cli.files.durable import commit

ROOT = Path(__file__).parents[1]
TESTED: Mapping[str, Sequence[str]] = {
    "artv_cli/cache/entry.py": ["tests/test_entry.py", "tests/test_cache.py"],
    "artv_cli/cache/store.py": [
        "tests/test_cache.py", "tests/test_cache_lock.py", "tests/test_cli_cache.py",
    ],
    "artv_cli/cache/cache_lock.py": ["tests/test_cache_lock.py"],
    "artv_cli/cache/failure.py": ["tests/test_cache.py", "tests/test_cli_cache.py"],
    "artv_cli/files/durable.py": [
        "tests/test_durable.py", "tests/test_cache.py", "tests/test_cache_lock.py",
    ],
    "artv_cli/files/lock.py": ["tests/test_cache_lock.py"],
    "artv_cli/keys.py": ["tests/test_keys.py", "tests/test_plan.py"],
    "artv_cli/plan.py": ["tests/test_plan.py", "tests/test_keys.py", "tests/test_key_frames.py"],
}  # fmt: skip
"""The modules that must not be wrong, each with the tests that should notice."""

_COPIED = ("artv_cli", "benchmarks", "tests", "storyboards", "pyproject.toml", "README.md")
_PATIENCE = 300  # seconds for the tests of one mutant: one that hangs was noticed
_NOTICED, _SURVIVED, _UNTRIED = "n", "s", "-"

_OTHER: dict[type[ast.AST], type[ast.AST]] = {
    ast.Eq: ast.NotEq, ast.NotEq: ast.Eq, ast.Lt: ast.LtE, ast.LtE: ast.Lt, ast.Gt: ast.GtE,
    ast.GtE: ast.Gt, ast.In: ast.NotIn, ast.NotIn: ast.In, ast.Is: ast.IsNot, ast.IsNot: ast.Is,
    ast.And: ast.Or, ast.Or: ast.And, ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.FloorDiv,
    ast.FloorDiv: ast.Mult, ast.Mod: ast.Mult, ast.BitAnd: ast.BitOr, ast.BitOr: ast.BitAnd,
}  # fmt: skip


_CHANGEABLE = (
    ast.BinOp, ast.BoolOp, ast.Call, ast.Compare, ast.Constant, ast.Continue, ast.ExceptHandler,
    ast.Expr, ast.If, ast.IfExp, ast.Raise, ast.Return, ast.UnaryOp, ast.While,
)  # fmt: skip


@dataclass(frozen=True)
class Mutant:
    """A changed module; its `name` says where and what, and outlives changes elsewhere in it."""

    name: str
    source: str


@dataclass
class Trial:
    """What became of a module's mutants: one letter for each, and why the survivors survive."""

    source: str
    fates: str
    survivors: dict[str, str] = field(default_factory=dict)

    @property
    def unexplained(self) -> list[str]:
        """The survivors that nobody has explained."""
        return [name for name, why in self.survivors.items() if not why]


def mutants(source: str) -> list[Mutant]:
    """Return every mutant of a module, in an order of its own."""
    tree = ast.parse(source)
    where = dict(_places(tree, "", ""))
    counts: Counter[str] = Counter()
    found = []
    for number, node in enumerate(ast.walk(tree)):
        for variant in range(2) if isinstance(node, _CHANGEABLE) and node in where else ():
            changed = copy.deepcopy(tree)
            twin = next(n for i, n in enumerate(ast.walk(changed)) if i == number)
            if what := _mutate(twin, variant):
                name = f"{where[node]}: {what}"
                counts[name] += 1
                nth = f" ({counts[name]})" if counts[name] > 1 else ""
                found.append(Mutant(name + nth, ast.unparse(changed)))
    return found


def _places(node: ast.AST, scope: str, statement: str) -> Iterator[tuple[ast.AST, str]]:
    """Yield every node but annotations with the function and the statement that it stands in."""
    if isinstance(node, ast.stmt | ast.ExceptHandler):
        statement = ast.unparse(node).strip().partition("\n")[0][:80]
    yield node, f"{scope or 'module'}: {statement}"
    if isinstance(node, ast.FunctionDef | ast.ClassDef):
        scope = f"{scope}.{node.name}".lstrip(".")
    types = getattr(node, "annotation", None), getattr(node, "returns", None)
    for child in ast.iter_child_nodes(node):
        if child not in types:
            yield from _places(child, scope, statement)


def _mutate(node: ast.AST, variant: int) -> str:
    """Change a node in place and say what was done; empty where there is no such variant."""
    match node, variant:
        case (ast.Expr(value=ast.Call()) | ast.Raise(), 0):
            node.__class__ = ast.Pass  # type: ignore[assignment]
            return "pass"
        case ast.ExceptHandler(body=body), 0 if ast.unparse(body[0]) != "raise":
            node.body = [ast.Raise()]
            return "raise"
        case ast.Call(keywords=keywords), _ if variant < len(keywords):
            return f"without {keywords.pop(variant).arg or '**'}="
        case ast.Constant(value=bool(value)), 0:
            node.value = not value
            return f"{value} -> {node.value}"
        case ast.Constant(value=int(value)), _ if not isinstance(value, bool):
            node.value = value + (1, -1)[variant]
            return f"{value} -> {node.value}"
        case ((ast.If() | ast.IfExp() | ast.While()), _):
            node.test = ast.Constant(value=bool(variant and not isinstance(node, ast.While)))
            return f"condition -> {node.test.value}"
        case ast.Return(value=ast.expr()), 0 if ast.unparse(node.value) != "None":
            node.value = ast.Constant(value=None)
            return "return None"
        case ast.Continue(), 0:
            node.__class__ = ast.Break  # type: ignore[assignment]
            return "continue -> break"
    return _mutate_operator(node) if variant == 0 else ""


def _mutate_operator(node: ast.AST) -> str:
    match node:
        case ast.Compare(ops=[operator, *_]) if type(operator) in _OTHER:
            other = node.ops[0] = _OTHER[type(operator)]()  # type: ignore[call-overload]
        case ast.BoolOp(op=operator) | ast.BinOp(op=operator) if type(operator) in _OTHER:
            other = node.op = _OTHER[type(operator)]()
        case ast.UnaryOp(op=ast.Not() as operator):
            other = node.op = ast.UAdd()
            node.operand = ast.Call(ast.Name("bool", ast.Load()), [node.operand], [])
        case _:
            return ""
    return f"{type(operator).__name__} -> {type(other).__name__}"


def try_mutants(
    module: str, tests: Sequence[str], before: Trial | None, root: Path, most: int | None = None
) -> Iterator[Trial]:
    """Try up to `most` mutants that were not tried yet, or survived without an explanation.

    Yields what is known after each.

    Raises RuntimeError if the tests fail without any mutant.
    """
    source = (root / module).read_text()
    every = mutants(source)
    trial = _begun(hashlib.sha256(source.encode()).hexdigest(), len(every), before)
    waiting = [
        index
        for index, (mutant, fate) in enumerate(zip(every, trial.fates, strict=True))
        if fate == _UNTRIED or (fate == _SURVIVED and not trial.survivors.get(mutant.name))
    ][:most]
    with tempfile.TemporaryDirectory() as folder:
        tree = _copy(root, Path(folder))
        if waiting and not _passes(source, module, tests, tree):
            raise RuntimeError(f"{module}: its tests fail without any mutant")
        for index in waiting:
            is_alive = _passes(every[index].source, module, tests, tree)
            fate = _SURVIVED if is_alive else _NOTICED
            trial.fates = trial.fates[:index] + fate + trial.fates[index + 1 :]
            if is_alive:
                trial.survivors.setdefault(every[index].name, "")
            yield trial
    alive = {m.name for m, fate in zip(every, trial.fates, strict=True) if fate != _NOTICED}
    trial.survivors = {name: why for name, why in trial.survivors.items() if name in alive}
    yield trial


def _begun(source: str, count: int, before: Trial | None) -> Trial:
    """Return the trial to go on with: a module that changed keeps its explanations alone."""
    if before is not None and before.source == source and len(before.fates) == count:
        return before
    kept = {name: why for name, why in before.survivors.items() if why} if before else {}
    return Trial(source, _UNTRIED * count, kept)


def _copy(root: Path, tree: Path) -> Path:
    for name in _COPIED:
        if (root / name).is_dir():
            shutil.copytree(root / name, tree / name)
        elif (root / name).exists():
            shutil.copy(root / name, tree / name)
    return tree


def _passes(source: str, module: str, tests: Sequence[str], tree: Path) -> bool:
    """Put a source into the copied tree and tell whether all tests pass."""
    (tree / module).write_text(source)
    command = [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", *tests]
    environment = os.environ | {"PYTHONPATH": str(tree), "PYTHONDONTWRITEBYTECODE": "1"}
    environment |= {"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1", "PYTEST_ADDOPTS": "-p xdist.plugin"}
    try:
        done = subprocess.run(
            command, cwd=tree, env=environment, capture_output=True, timeout=_PATIENCE
        )
    except subprocess.TimeoutExpired:
        return False
    if done.returncode < 0:  # as where memory ran out: that says nothing about the tests
        raise RuntimeError(f"{module}: its tests were killed by signal {-done.returncode}")
    return done.returncode == 0


def report(trials: Mapping[str, Trial]) -> str:
    """Return the table of all trials, and every survivor with its explanation."""
    lines = [
        "# Mutants: do the tests notice?",
        "",
        "Written by `python -m benchmarks.mutants` from `mutants.json`, where explanations are",
        "written by hand. Those of a module that changed stay until its mutants are tried again.",
        "",
        "| module | mutants | tried | noticed | survived | explained |",
        "| --- | ---: | ---: | ---: | ---: | ---: |",
    ]
    for module, trial in trials.items():
        fates = Counter(trial.fates)
        tried = len(trial.fates) - fates[_UNTRIED]
        explained = len(trial.survivors) - len(trial.unexplained)
        counts = (len(trial.fates), tried, fates[_NOTICED], fates[_SURVIVED], explained)
        lines.append(f"| {module} | {' | '.join(map(str, counts))} |")
    for module, trial in trials.items():
        if trial.survivors:
            lines += ["", f"## {module}", ""]
        lines += [f"- `{name}`: {why or '**why?**'}" for name, why in trial.survivors.items()]
    return "\n".join(lines) + "\n"


def read(path: Path) -> dict[str, Trial]:
    """Return what earlier runs found; nothing where there were none."""
    if not path.exists():
        return {}
    return {module: Trial(**told) for module, told in json.loads(path.read_text()).items()}


def write(path: Path, trials: Mapping[str, Trial]) -> None:
    """Keep what was found, for programs and for people."""
    told = {module: vars(trial) for module, trial in trials.items()}
    commit(path, (json.dumps(told, indent=1, ensure_ascii=False) + "\n").encode())
    path.with_suffix(".md").write_text(report(trials))


def main() -> int:
    """Try mutants, keep what became of them after each, and tell whether all is explained."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--only", action="append", choices=TESTED, help="a module to try")
    parser.add_argument("--most", type=int, help="mutants to try of each module at most")
    options = parser.parse_args()
    path = Path(__file__).with_suffix(".json")
    chosen = options.only or list(TESTED)
    for module in chosen:
        before = read(path).get(module)
        for trial in try_mutants(module, TESTED[module], before, ROOT, options.most):
            known = read(path) | {module: trial}  # another process may try another module meanwhile
            write(path, {name: known[name] for name in TESTED if name in known})
    trials = read(path)
    survivors = [f"{module}: {name}" for module in chosen for name in trials[module].unexplained]
    print("\n".join(survivors) if survivors else f"no survivor without a reason; see {path.name}")
    return int(bool(survivors))


if __name__ == "__main__":
    sys.exit(main())
