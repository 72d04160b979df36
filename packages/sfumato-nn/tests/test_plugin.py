import subprocess
import sys

import pytest

from sfumato import registry


def test_the_plugin_loads_no_torch():
    code = "import sys, sfumato_nn.plugin; print('torch' in sys.modules, 'numpy' in sys.modules)"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.split() == ["False", "False"]


@pytest.mark.parametrize("name", ["unet", "dit"])
def test_networks_are_found_by_bare_name(name):
    component = registry().find("network", name)
    assert component.summary and component.source.startswith("arXiv:")
    assert type(component.load()("tiny", channels=1)).__name__.lower() == name
