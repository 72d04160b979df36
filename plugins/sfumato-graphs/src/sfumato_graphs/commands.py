"""The verbs `generate`, `complete` and `embed`."""

from __future__ import annotations

__all__ = ["complete", "embed", "generate"]

import io
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from sfumato_cli.options import Device, RunFolder, Sampler, Seed, Steps, Weights

if TYPE_CHECKING:
    from sfumato import Batch


def generate(
    kind: Annotated[
        str,
        typer.Argument(metavar="KIND", help="community, ego, grid, lobster, planar, sbm or tree."),
    ],
    out: Annotated[Path, typer.Option(help="A file: .g6, .graphml, .json, or a folder.")],
    n: Annotated[int, typer.Option("-n", help="How many.", min=1)] = 200,
    seed: Seed = 0,
) -> None:
    """Make random graphs of a kind that papers train on."""
    from .generators import generate as make
    from .writing import write

    written = write(make(kind, n, seed), out)
    typer.echo(f"wrote {n} graphs to {', '.join(map(str, written))}")


def complete(
    run: RunFolder,
    graph: Annotated[Path, typer.Option("--graph", help="A file with the known part.")],
    out: Annotated[
        Path | None,
        typer.Option(
            help="A file: .graphml, .json, .g6, or a folder; by default `completed` of the run."
        ),
    ] = None,
    nodes: Annotated[
        str | None, typer.Option(help="Nodes of the whole graphs: 6 or 6..9; by default drawn.")
    ] = None,
    n: Annotated[int, typer.Option("-n", help="Graphs to draw.", min=1)] = 5,
    sampler: Sampler = None,
    steps: Steps = None,
    seed: Seed = 0,
    device: Device = None,
    weights: Weights = "ema",
) -> None:
    """Draw graphs that contain a known one: its nodes, edges and missing edges stay."""
    from sfumato import InputError
    from sfumato_cli.making import make
    from sfumato_cli.writing import check
    from sfumato_train import open_run

    from . import completing, data, files

    opened, out = open_run(run), out or run / "completed"
    check(opened.domain, out)
    schema = {key: opened.about[key] for key in ("nodes", "edges", "largest")}
    networks = list(files.read(graph))
    found = data.graphs_of(networks, name=graph.stem, schema=schema)
    if (lost := data.homeless(networks, schema)) is not None:
        raise InputError(
            f"{graph} has the attribute {lost!r}, which {run} does not make, so that it would be "
            "lost; take it out, or complete the graph by a run that was trained with it"
        )
    if len(found) != 1:
        raise InputError(f"{graph} holds {len(found)} graphs; give one")
    asked = {"nodes": nodes} if nodes is not None else {}
    sizes = opened.domain.condition(asked, n, opened.about).get("nodes")

    def draw(**options: Any) -> Batch:
        return completing.complete(opened, found.graphs[0], n, nodes=sizes, **options)

    told = {"graph": str(graph), "nodes": nodes, "n": n}
    make(
        opened, out, f"{n} graphs", told, draw,
        sampler=sampler, steps=steps, seed=seed, device=device, weights=weights,
    )  # fmt: skip


def embed(
    run: RunFolder,
    data: Annotated[Path, typer.Option(help="A file or a folder of graphs.")],
    out: Annotated[Path, typer.Option(help="An .npz file.")],
    part: Annotated[
        Literal["z", "both"],
        typer.Option(help="The code, or with the middle of the denoiser at the clean graph."),
    ] = "z",
    device: Device = None,
    weights: Weights = "ema",
) -> None:
    """Write what a run of graphs/autoencoder makes of graphs: `z` (N, D), with names and labels."""
    import numpy as np

    from sfumato import InputError
    from sfumato_train import open_run
    from sfumato_train.files import write_bytes

    from . import autoencoder
    from . import data as reading
    from .files import read

    if out.suffix.lower() != ".npz":
        raise InputError(f"{out}: codes are written to an .npz file")
    opened = open_run(run)
    networks = read(data)
    graphs = reading.graphs_of(networks, name=data.stem, schema=opened.about)
    z = autoencoder.embed(opened, graphs, part=part, weights=weights, device=device)
    columns: dict[str, Any] = {"z": z.numpy(), "names": np.array([g.name for g in graphs.graphs])}
    labels = [network.graph.get("label") for network in networks]
    if None not in labels:
        columns["labels"] = np.array(labels)
    packed = io.BytesIO()
    np.savez_compressed(packed, **columns)
    write_bytes(out, packed.getvalue())
    typer.echo(f"wrote {z.shape[1]} numbers for each of {len(z)} graphs to {out}")
