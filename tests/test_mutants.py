"""The mutants of `benchmarks/mutants`: what is changed, what is kept, what is told."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.mutants import ROOT, TESTED, Trial, mutants, read, report, try_mutants, write

TOY = '''
def save(number: int | str, log) -> int | None:
    """Doubles."""
    log(number, sep="")
    if number < 0:
        raise ValueError("below zero")
    try:
        return number * 2
    except TypeError:
        return 0
'''


def test_statements_raises_handlers_and_arguments_are_changed_too() -> None:
    names = [mutant.name for mutant in mutants(TOY)]
    assert len(names) == len(set(names))
    assert {
        "save: log(number, sep=''): pass",
        "save: log(number, sep=''): without sep=",
        "save: raise ValueError('below zero'): pass",
        "save: if number < 0:: condition -> False",
        "save: if number < 0:: Lt -> LtE",
        "save: except TypeError:: raise",
        "save: return number * 2: Mult -> FloorDiv",
        "save: return 0: return None",
    } <= set(names)
    assert not any("BitOr" in name for name in names), "annotations do nothing"
    assert all(mutant.source != TOY for mutant in mutants(TOY))


def test_every_module_and_test_of_the_list_is_there() -> None:
    named = [*TESTED, *(test for tests in TESTED.values() for test in tests)]
    assert [name for name in named if not (ROOT / name).exists()] == []
    cache = {str(path.relative_to(ROOT)) for path in (ROOT / "artv_cli/cache").glob("[!_]*.py")}
    assert cache <= set(TESTED)


@pytest.fixture
def toy(tmp_path: Path) -> Path:
    (tmp_path / "artv_cli").mkdir()
    (tmp_path / "artv_cli/__init__.py").touch()
    (tmp_path / "artv_cli/toy.py").write_text("def two():\n    print('2')\n    return 2\n")
    (tmp_path / "tests").mkdir()
    (tmp_path / "tests/test_toy.py").write_text(
        "from artv_cli.toy import two\ndef test_two():\n    assert two() == 2\n"
    )
    return tmp_path


def test_what_the_tests_let_pass_survives_and_a_run_goes_on_where_it_stopped(toy: Path) -> None:
    module, tests = "artv_cli/toy.py", ["tests/test_toy.py"]
    *_, some = try_mutants(module, tests, None, toy, most=2)
    assert some.fates.count("-") == len(some.fates) - 2
    path = toy / "mutants.json"
    write(path, {module: some})
    *_, trial = try_mutants(module, tests, read(path)[module], toy)
    assert "-" not in trial.fates
    assert trial.unexplained == ["two: print('2'): pass"]
    trial.survivors["two: print('2'): pass"] = "nobody listens"
    write(path, {module: trial})
    (again,) = try_mutants(module, tests, read(path)[module], toy)
    assert (again.unexplained, again.fates) == ([], trial.fates)
    assert "- `two: print('2'): pass`: nobody listens" in path.with_suffix(".md").read_text()


def test_a_module_that_changed_is_tried_anew_and_keeps_its_explanations(toy: Path) -> None:
    before = Trial("another source", "ns", {"two: print('2'): pass": "nobody listens", "x": ""})
    trial = next(try_mutants("artv_cli/toy.py", ["tests/test_toy.py"], before, toy, most=0))
    assert set(trial.fates) == {"-"}
    assert trial.survivors == {"two: print('2'): pass": "nobody listens"}
    table = report({"artv_cli/toy.py": trial})
    assert f"| artv_cli/toy.py | {len(trial.fates)} | 0 | 0 | 0 | 1 |" in table


def test_tests_that_fail_without_a_mutant_prove_nothing(toy: Path) -> None:
    (toy / "tests/test_toy.py").write_text("def test_two():\n    assert False\n")
    with pytest.raises(RuntimeError, match="fail without any mutant"):
        next(try_mutants("artv_cli/toy.py", ["tests/test_toy.py"], None, toy))


def test_tests_that_were_killed_say_nothing(toy: Path) -> None:
    (toy / "tests/test_toy.py").write_text(
        "import os\nfrom artv_cli.toy import two\n"
        "def test_two():\n    two() == 2 or os.kill(os.getpid(), 9)\n"
    )
    with pytest.raises(RuntimeError, match=r"toy\.py: its tests were killed by signal 9"):
        list(try_mutants("artv_cli/toy.py", ["tests/test_toy.py"], None, toy))
