"""What surrounds the loop gives back what it took."""

from __future__ import annotations

import os
import signal

import pytest
import torch
from torch import nn

from sfumato_train import guards


def test_evaluation_mode_is_given_back_to_each_submodule():
    net = nn.Sequential(nn.Identity(), nn.Sequential(nn.Identity(), nn.Identity()))
    net[1].eval()
    net[1][1].train()
    modes = [m.training for m in net.modules()]
    with pytest.raises(ZeroDivisionError), guards.evaluating(net):
        assert not any(m.training for m in net.modules())
        raise ZeroDivisionError
    assert [m.training for m in net.modules()] == modes


def test_seeding_inside_reaches_nothing_outside():
    before, cpu = torch.get_rng_state(), torch.device("cpu")
    with guards.own_rng(cpu):
        guards.reseed(3, cpu)
        one = torch.rand(4)
        guards.reseed(3, cpu)
        assert torch.equal(torch.rand(4), one)
    assert torch.equal(torch.get_rng_state(), before)


@pytest.fixture
def default_signals():
    """Signals as a terminal has them; a job in the background may have begun with them ignored."""
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    for number, old in before.items():
        signal.signal(number, old)


def test_the_second_interrupt_is_not_held_back(default_signals):
    with guards.interruptible() as asked:
        assert not asked()
        os.kill(os.getpid(), signal.SIGINT)
        assert asked()
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)
            signal.pause()


def test_a_request_of_the_scheduler_is_remembered_once(default_signals):
    signal.signal(signal.SIGTERM, lambda *_: heard.append("old"))
    heard: list[str] = []
    with guards.interruptible() as asked:
        os.kill(os.getpid(), signal.SIGTERM)
        assert asked() and not heard
        os.kill(os.getpid(), signal.SIGTERM)
        assert heard == ["old"]


def test_what_the_process_ignores_stays_ignored(default_signals):
    """As under nohup, or in the background of a script."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with guards.interruptible() as asked:
        os.kill(os.getpid(), signal.SIGINT)
        assert not asked()
        assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN


def test_news_is_throttled_but_the_end_is_always_told(monkeypatch):
    now, heard = [0.0], []
    monkeypatch.setattr(guards.time, "monotonic", lambda: now[0])
    tell = guards.throttled(lambda *told: heard.append(told[0]), 100)
    for step in range(1, 101):
        now[0] += 0.03
        tell(step, None, None, over=step == 100)
    assert heard[0] == 1 and heard[-1] == 100 and 20 <= len(heard) <= 35
