"""Do the tests notice? One operator, constant or condition of a module is changed at a time.

    python -m benchmarks.mutants artv_cli/plan.py tests/test_plan.py tests/test_keys.py
    python -m benchmarks.mutants --every 10 artv_cli/cache/store.py tests/test_cache.py

Each mutant is put into a copy of the tree and the named tests are run; a mutant that they let
pass is printed: either a test is missing, or the change changes nothing. Exit code 1 if one did.
"""

from __future__ import annotations

import argparse
import ast
import copy
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[1]
_COPIED = ("artv_cli", "benchmarks", "tests", "storyboards", "pyproject.toml", "README.md")
_PATIENCE = 300  # seconds for the tests of one mutant: one that hangs was noticed

_OTHER: dict[type[ast.AST], type[ast.AST]] = {
    ast.Eq: ast.NotEq, ast.NotEq: ast.Eq, ast.Lt: ast.LtE, ast.LtE: ast.Lt, ast.Gt: ast.GtE,
    ast.GtE: ast.Gt, ast.In: ast.NotIn, ast.NotIn: ast.In, ast.Is: ast.IsNot, ast.IsNot: ast.Is,
    ast.And: ast.Or, ast.Or: ast.And, ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.FloorDiv,
    ast.FloorDiv: ast.Mult, ast.Mod: ast.Mult, ast.BitAnd: ast.BitOr, ast.BitOr: ast.BitAnd,
}  # fmt: skip


_CHANGEABLE = (
    ast.BinOp, ast.BoolOp, ast.Compare, ast.Constant, ast.Continue, ast.If, ast.IfExp, ast.Return,
    ast.UnaryOp, ast.While,
)  # fmt: skip


def mutants(source: str) -> Iterator[tuple[int, str, str]]:
    """Yield each mutant as (line, what was changed, source)."""
    tree = ast.parse(source)
    for number, node in enumerate(ast.walk(tree)):
        for variant in range(2) if isinstance(node, _CHANGEABLE) else ():
            changed = copy.deepcopy(tree)
            twin = next(n for i, n in enumerate(ast.walk(changed)) if i == number)
            if what := _mutate(twin, variant):
                yield getattr(node, "lineno", 0), what, ast.unparse(changed)


def _mutate(node: ast.AST, variant: int) -> str:
    """Change a node in place and say what was done; empty where there is no such variant."""
    match node, variant:
        case ast.Compare(ops=[operator, *_]), 0 if type(operator) in _OTHER:
            node.ops[0] = _other(operator)
        case ast.BoolOp() | ast.BinOp(), 0 if type(node.op) in _OTHER:
            operator, node.op = node.op, _other(node.op)
        case ast.UnaryOp(op=ast.Not()), 0:
            node.op, operator = ast.UAdd(), node.op
            node.operand = ast.Call(ast.Name("bool", ast.Load()), [node.operand], [])
        case ast.Constant(value=bool(value)), 0:
            node.value = not value
            return f"{value} -> {node.value}"
        case ast.Constant(value=int(value)), _ if not isinstance(value, bool):
            node.value = value + (1, -1)[variant]
            return f"{value} -> {node.value}"
        case ((ast.If() | ast.IfExp() | ast.While()), _):
            node.test = ast.Constant(value=bool(variant and not isinstance(node, ast.While)))
            return f"condition -> {node.test.value}"
        case ast.Return(value=ast.expr()), 0:
            node.value = ast.Constant(value=None)
            return "return None"
        case ast.Continue(), 0:
            node.__class__ = ast.Break  # type: ignore[assignment]
            return "continue -> break"
        case _:
            return ""
    return f"{type(operator).__name__} -> {_name(node)}"


def _other(operator: ast.AST) -> ast.AST:
    return _OTHER[type(operator)]()


def _name(node: ast.AST) -> str:
    operator = node.ops[0] if isinstance(node, ast.Compare) else getattr(node, "op", node)
    return type(operator).__name__


def survives(source: str, module: Path, tests: list[str], tree: Path) -> bool:
    """Put a mutant into the copied tree and tell whether all tests pass."""
    (tree / module).write_text(source)
    command = [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", *tests]
    environment = os.environ | {"PYTHONPATH": str(tree), "PYTHONDONTWRITEBYTECODE": "1"}
    try:
        done = subprocess.run(
            command, cwd=tree, env=environment, capture_output=True, timeout=_PATIENCE
        )
    except subprocess.TimeoutExpired:
        return False
    return done.returncode == 0


def main() -> int:
    """Try every mutant of a module, and print those that the tests let pass."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("module", type=Path, help="the file to change, from the project's root")
    parser.add_argument("tests", nargs="+", help="the tests that should notice")
    parser.add_argument("--every", type=int, default=1, help="try only each so manieth mutant")
    parser.add_argument("--first", type=int, default=0, help="leave out the mutants before")
    options = parser.parse_args()
    source = (ROOT / options.module).read_text()
    chosen = list(mutants(source))[options.first :: options.every]
    alive = 0
    with tempfile.TemporaryDirectory() as folder:
        tree = Path(folder)
        for name in _COPIED:
            copied = shutil.copytree if (ROOT / name).is_dir() else shutil.copy
            copied(ROOT / name, tree / name)
        if not survives(source, options.module, options.tests, tree):
            print("the tests fail without any mutant", file=sys.stderr)
            return 2
        for line, what, mutant in chosen:
            if survives(mutant, options.module, options.tests, tree):
                alive += 1
                print(f"{options.module}:{line}: {what}", flush=True)
    print(f"{len(chosen) - alive} of {len(chosen)} mutants were noticed")
    return int(alive > 0)


if __name__ == "__main__":
    sys.exit(main())
