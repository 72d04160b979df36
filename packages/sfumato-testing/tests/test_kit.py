"""The kit itself: what it asks of whom, how it says so, and how well it can tell laws apart."""

from __future__ import annotations

import subprocess
import sys
from importlib.metadata import EntryPoint

import pytest
import torch

from sfumato import Can, Dirac, InputError, Padded, Process, Ragged, random
from sfumato_methods.discrete import Discrete, uniform
from sfumato_methods.gaussian import vp
from sfumato_methods.solvers import DDIM
from sfumato_testing import LAWS, Case, PluginCase, SolverCase, checks, checks_of, failures
from sfumato_testing.book import number
from sfumato_testing.laws import plugin
from sfumato_testing.states import compose, describe, gap, patterns, repeat, same
from sfumato_testing.statistics import compare, z_bound

X0 = torch.tensor([[0.5, -1.2, 0.3], [-0.7, 0.1, 1.5]])


class Marginal(Process):
    """A process that announces nothing."""

    can = Can(0)

    def prior(self, like):
        return vp().prior(like)

    def marginal(self, x0, t):
        return vp().marginal(x0, t)


def numbers(case):
    return [number(check) for check in checks_of(case)]


def test_checks_are_chosen_by_what_a_process_can():
    always = ["C2", "C5", "C6", "C7", "C8", "C9", "C14"]
    assert numbers(Case(Marginal(), X0)) == always
    assert set(numbers(Case(Discrete(uniform(4)), torch.tensor([[1], [2]])))) == {
        *always,
        *("C1", "C3", "C4", "C13", "C17", "C18", "C19"),
    }
    exact = Case(vp(), X0, exact=lambda x, t: Dirac(x), data=lambda n, g: X0[:1].expand(n, 3))
    assert set(numbers(exact)) == {f"C{n}" for n in range(1, 20)} - {"C11", "C12", "C16"}
    assert numbers(SolverCase(DDIM(), 1, vp(), None)) == ["C11"]
    assert numbers(PluginCase("sfumato_methods.plugin")) == ["C16"]


def test_a_case_is_checked_and_named():
    case = Case(vp(), X0)
    assert case.name == "Gaussian(VP)"
    assert case.x0.dtype == torch.float64
    assert SolverCase(DDIM(), 1, vp(), None).name == "DDIM(eta=0.0)-Gaussian(VP)"
    with pytest.raises(InputError, match="at least two example items"):
        Case(vp(), X0[:1])
    with pytest.raises(InputError, match=f"knows the laws 1 to {LAWS}, but laws={LAWS + 1}"):
        Case(vp(), X0, laws=LAWS + 1)
    with pytest.raises(InputError, match="failures of C11 are expected, but these checks do not"):
        checks_of(Case(vp(), X0, expected_failures={"C11": "it is no solver"}))


def test_the_decorator_gives_ids_and_marks():
    @checks(
        Case(vp(), X0, name="mine", expected_failures={"C3": "as the paper has it"}),
        PluginCase("sfumato_methods.plugin"),
    )
    def test(case, check): ...

    (mark,) = test.pytestmark
    assert mark.args[0] == ("case", "check")
    found = {param.id: param for param in mark.args[1]}
    assert {"mine-C1_bridge_law", "sfumato_methods.plugin-C16_plugin"} <= found.keys()
    (xfail,) = found["mine-C3_perfect_posterior"].marks
    assert xfail.name == "xfail" and xfail.kwargs["strict"]
    assert xfail.kwargs["reason"] == "as the paper has it"
    assert not found["mine-C4_rest"].marks


def test_an_expected_failure_has_to_fail(tmp_path):
    (tmp_path / "test_it.py").write_text(
        "import torch\n"
        "from sfumato_methods.gaussian import vp\n"
        "from sfumato_testing import Case, checks\n"
        "x0 = torch.tensor([[0.5], [-0.7]])\n"
        "@checks(Case(vp(), x0, expected_failures={'C2': 'thought to be wrong'}))\n"
        "def test_it(case, check):\n"
        "    check(case)\n"
    )
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-k", "C2_", tmp_path],
        capture_output=True,
        text=True,
        cwd=tmp_path,
    )
    assert done.returncode == 1 and "XPASS(strict)" in done.stdout, done.stdout


def test_failures_are_told_by_number():
    class Louder(type(vp())):
        def prior(self, like):
            law = super().prior(like)
            return type(law)(law.mean, law.std * 2)

    said = failures(Case(Louder(vp().schedule), X0))
    assert said.keys() == {"C2"} and said["C2"].startswith("C2 prior: KL")
    assert failures(Case(vp(), X0)) == {}


# Plugins


@pytest.fixture
def announced(tmp_path, monkeypatch):
    """Write a plugin module and announce it as an installed one would be."""
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))

    def announce(name, body):
        (tmp_path / f"{name}.py").write_text(body)
        entry = EntryPoint("wind", name, "sfumato")
        monkeypatch.setattr(plugin, "entry_points", lambda group: [entry])
        return failures(PluginCase(name)).get("C16", "")

    return announce


PLUGIN = (
    "from sfumato import hook\n"
    "@hook\n"
    "def sfumato_register(add):\n"
    "    add('process', 'wind/gust', {target!r})\n"
)


@pytest.mark.parametrize(
    ("name", "body", "says"),
    [
        ("wind_good", PLUGIN.format(target="sfumato_methods.gaussian:vp"), ""),
        ("wind_heavy", "import torch\n" + PLUGIN.format(target="a:b"), "brings numpy, torch"),
        ("wind_missing", PLUGIN.format(target="sfumato_methods:gust"), "cannot be loaded"),
        ("wind_broken", "import no_such_module\n", "ModuleNotFoundError"),
        (
            "wind_slow",
            "t = __import__('time').process_time\nend = t() + 0.2\nwhile t() < end: pass\n"
            + PLUGIN.format(target="sfumato_methods.gaussian:vp"),
            "at most 50",
        ),
    ],
)
def test_a_plugin_is_light_and_keeps_its_promises(announced, name, body, says):
    said = announced(name, body)
    assert said.startswith("C16 plugin: ") if says else said == ""
    assert says in said


def test_a_plugin_that_nobody_announces_is_told():
    said = failures(PluginCase("sfumato_methods.grids"))
    assert "no installed distribution names 'sfumato_methods.grids'" in said["C16"]


# States and statistics


def test_states_compare_by_valid_values_and_layout():
    mask = torch.tensor([[True, False], [True, True]])
    a = Padded(torch.tensor([[1.0, 5.0], [2.0, 3.0]]), mask)
    b = Padded(torch.tensor([[1.0, 7.0], [2.0, 3.0]]), mask)
    assert same(a, b) and gap(a, b) == 0
    assert not same(a, Padded(a.data, ~mask)) and gap(a, Padded(a.data, ~mask)) == torch.inf
    assert gap(torch.tensor([1.0]), torch.tensor([1.5])) == pytest.approx(0.2)
    assert gap(torch.tensor([1]), torch.tensor([2])) == torch.inf
    assert gap(torch.tensor([torch.nan]), torch.tensor([0.0])) == torch.inf
    assert describe(a) != describe(Padded(a.data.double(), mask))


def test_copies_and_patterns_follow_the_items():
    x = Ragged(torch.arange(5.0), torch.tensor([0, 0, 1, 1, 1]), 2)
    assert repeat(x, 2).data.tolist() == [0, 1, 2, 3, 4, 0, 1, 2, 3, 4]
    shapes = patterns(x, frames=True, fields=False)
    assert shapes["item"].tolist() == [0, 1] and shapes["frame"].shape == (2, 3)
    mixed = compose(shapes["frame"], [x * 0, x * 10])
    assert mixed.data.tolist() == [0, 10, 20, 0, 40]  # frame (b, f) takes the choice 3 b + f mod 2


def test_compare_lets_equal_laws_pass_and_heavy_tails_too():
    """Thirty comparisons at an alarm rate of 1e-6 each."""
    for seed in range(30):
        a, b = (random.normal(torch.empty(2000, 4), random.derive(seed, side)) for side in "ab")
        compare("normal", a, b, 2000)
        compare("Cauchy", a[:, :2] / a[:, 2:], b[:, :2] / b[:, 2:], 2000)


def pairs(side):
    """10,000 correlated pairs."""
    noise = random.normal(torch.empty(10_000, 2), random.derive(0, side))
    return torch.stack([noise[:, 0], 0.5 * noise[:, 0] + noise[:, 1]], 1)


@pytest.mark.parametrize(
    "change",
    [
        lambda x: x + 0.15,
        lambda x: x * 1.15,
        lambda x: x.clamp(-1.5, 1.5),
        lambda x: torch.stack([x[:, 0], x[:, 1].roll(1)], 1),
    ],
    ids=["shift", "spread", "cut tails", "independence"],
)
def test_compare_tells_laws_apart(change):
    with pytest.raises(AssertionError, match="the laws differ"):
        compare("changed", change(pairs("a")), pairs("b"), 10_000)


def test_the_bound_on_z_is_that_of_the_normal_law():
    assert z_bound(1, alarm=0.05) == pytest.approx(1.95996, abs=1e-4)
    assert z_bound(1000) > z_bound(1)
