"""How long molecules take to be written with their bonds: `python tools/bench/molecules.py`.

A thousand molecules of the Chemical Component Dictionary, at most twenty heavy atoms, as a state of
places and classes, which is what sampling leaves: bonds are told by the distances, then an SD file
is written. Thread CPU time, the least of some repetitions; molecules and atoms are printed.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path

import torch

from sfumato_data import gather
from sfumato_molecules.domain import domain
from sfumato_molecules.files import ORGANIC


def main(n: int, repetitions: int) -> None:
    """Measure, and print a line."""
    torch.set_num_threads(1)
    data = domain.read(domain.demo_path(), elements=ORGANIC, heavy=20, most=n)
    batch = gather(data)
    atoms = len(batch.x["atoms"].data)
    taken = []
    with tempfile.TemporaryDirectory() as room:
        for i in range(repetitions):
            began = time.thread_time()
            domain.write(batch, Path(room, f"{i}.sdf"), data.about)
            taken.append(time.thread_time() - began)
    print(f"{len(data)} molecules, {atoms} atoms: {min(taken):.2f} s of {repetitions} repetitions")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("-n", type=int, default=1000, help="molecules")
    parser.add_argument("--repetitions", type=int, default=3)
    words = parser.parse_args()
    main(words.n, words.repetitions)
