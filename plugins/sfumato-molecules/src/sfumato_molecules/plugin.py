"""What this plugin announces: the domain of molecules and its verbs."""

from __future__ import annotations

__all__ = ["sfumato_register"]

from sfumato import hook
from sfumato.plugins import Add

SPACE = "Hoogeboom et al. 2022, arXiv:2203.17003; Vignac et al. 2023, arXiv:2302.09048"


@hook
def sfumato_register(add: Add) -> None:
    """Announce the domain and the verbs."""
    add(
        "domain",
        "molecules",
        "sfumato_molecules.domain:domain",
        summary="SMILES, SELFIES, InChI, tables, SD files, mol2, XYZ, PDB, mmCIF",
    )
    add(
        "command",
        "molecules/molecule-statistics",
        "sfumato_molecules.commands:statistics",
        summary="tell what molecules are in your files: elements, sizes, lengths of bonds",
    )
    add(
        "command",
        "molecules/relax",
        "sfumato_molecules.commands:relax",
        summary="bring molecules to the minimum of energy nearby",
        source="Halgren 1996 (MMFF94); Bannwarth et al. 2019, doi:10.1021/acs.jctc.8b01176",
    )
    add(
        "command",
        "molecules/scaffold",
        "sfumato_molecules.making:scaffold",
        summary="draw molecules around a known part, or link several",
        source="Lugmayr et al. 2022, arXiv:2201.09865",
    )
    add(
        "command",
        "molecules/conformers",
        "sfumato_molecules.making:conformers",
        summary="draw shapes of a molecule whose bonds are known",
        source="Xu et al. 2022, arXiv:2203.02923",
    )
    add(
        "recipe",
        "molecules/ccd3d",
        "sfumato_molecules.recipes:CCD3D",
        summary="small molecules of the wwPDB in space, with their bonds (demo)",
        source=SPACE,
    )
    add(
        "recipe",
        "molecules/sdf",
        "sfumato_molecules.recipes:SDF",
        summary="your molecules in space, with their bonds",
        source=SPACE,
    )
    add(
        "recipe",
        "molecules/conformers",
        "sfumato_molecules.recipes:Conformers",
        summary="shapes of molecules whose bonds are known",
        source="Xu et al. 2022, arXiv:2203.02923",
    )
    add(
        "recipe",
        "molecules/latent",
        "sfumato_molecules.recipes:Latent",
        summary="your molecules in space, by their latents",
        source="Xu et al. 2023, arXiv:2305.01140",
    )
    add(
        "recipe",
        "molecules/moses",
        "sfumato_molecules.recipes:Moses",
        summary="molecules as graphs of bonds: the benchmark MOSES, or your SMILES",
        source="Vignac et al. 2022, arXiv:2209.14734",
    )
    add(
        "system",
        "molecules/e3diffusion",
        "sfumato_molecules.systems.e3diffusion:system",
        summary="E(3)-equivariant diffusion of molecules, ours against the public recipe",
        source="Hoogeboom et al. 2022, arXiv:2203.17003",
    )
    add(
        "system",
        "molecules/geoldm",
        "sfumato_molecules.systems.geoldm:system",
        summary="diffusion of the latents of molecules against that of one-hot classes",
        source="Xu et al. 2023, arXiv:2305.01140",
    )
    add(
        "system",
        "molecules/geotdm",
        "sfumato_molecules.systems.geotdm:system",
        summary="trajectories of charged particles, predicted with and without symmetry",
        source="Han et al. 2024, arXiv:2410.13027",
    )
    add(
        "domain",
        "molecules/trajectories",
        "sfumato_molecules.trajectories.domain:domain",
        summary="points that move together: .npz arrays, runs of XYZ, tracked pedestrians",
    )
    add(
        "recipe",
        "molecules/trajectories",
        "sfumato_molecules.trajectories.recipes:Trajectories",
        summary="the frames to come of moving points: simulated charges, or your own",
        source="Han et al. 2024, arXiv:2410.13027",
    )
    add(
        "recipe",
        "molecules/pedestrians",
        "sfumato_molecules.trajectories.recipes:Pedestrians",
        summary="people who walk, in a place that was not trained on: ETH and UCY",
        source="Han et al. 2024, arXiv:2410.13027; Gupta et al. 2018, arXiv:1803.10892",
    )
    add(
        "tool",
        "molecules/forecasts",
        "sfumato_molecules.trajectories.forecasting:forecasts",
        summary="minADE and minFDE of several draws, beside constant velocity",
        source="Gupta et al. 2018, arXiv:1803.10892",
    )
    add(
        "command",
        "molecules/simulate",
        "sfumato_molecules.trajectories.commands:simulate",
        summary="make trajectories: charges, springs, masses, or a molecule at some temperature",
    )
    add(
        "domain",
        "molecules/docking",
        "sfumato_molecules.docking.domain:domain",
        summary="ligands in receptors: folders with .pdb and .sdf or .mol2, as PDBBind's",
    )
    add(
        "recipe",
        "molecules/docking",
        "sfumato_molecules.docking.recipes:Docked",
        summary="poses of ligands in receptors: parts of molecules (demo), or your complexes",
        source="Corso et al. 2022, arXiv:2210.01776; Xu et al. 2024, arXiv:2407.03300",
    )
    add(
        "recipe",
        "molecules/confidence",
        "sfumato_molecules.docking.recipes:Confidence",
        summary="how sure poses are of a run of molecules/docking, to rank them in `sfumato dock`",
        source="Corso et al. 2022, arXiv:2210.01776",
    )
    add(
        "command",
        "molecules/dock",
        "sfumato_molecules.docking.commands:dock",
        summary="dock a ligand to a receptor, poses ranked; or dock a folder again and measure",
        source="Corso et al. 2022, arXiv:2210.01776",
    )
    add(
        "dataset",
        "molecules/posebusters",
        "sfumato_molecules.docking.sources:posebusters",
        summary="four real complexes; `sfumato data get molecules/posebusters`",
        source="Buttenschoen et al. 2023, arXiv:2308.05777",
    )
    add(
        "system",
        "molecules/discodiff",
        "sfumato_molecules.systems.discodiff:system",
        summary="poses of ligands with discrete latents that pick atoms, against none",
        source="Xu et al. 2024, arXiv:2407.03300",
    )
