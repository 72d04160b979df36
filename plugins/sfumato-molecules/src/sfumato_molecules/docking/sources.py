"""Real complexes that ship in a package."""

from __future__ import annotations

__all__ = ["posebusters"]

from sfumato_data import Source

posebusters = Source(
    registry="pypi",
    package="posebusters",
    version="0.6.5",
    root="posebusters/datasets/pdb",
    members={
        "1ia1/1ia1_ligand.sdf": "1f956bad53c222ab67c0b1b618d1388f2fbae3c246923f29233da6cad7780cb4",
        "1ia1/1ia1_protein_one_lig_removed.pdb": (
            "9c0f2d9afc49cd93aefad3a9a8365172f5378b72cae227c8db643a8c5570e487"
        ),
        "1of6/1of6_ligand.sdf": "0b767345fd5a0e6b1f4efcc677309f58c27afc475d4e5cea403e79d96907f99c",
        "1of6/1of6_protein_one_lig_removed.pdb": (
            "719dabf584c6fbc94a92a126ea8a9eacaa72ac4f2276c338246f96b3f9d88536"
        ),
        "1s3v/1s3v_ligand.sdf": "5778a2503ef761960d2e366809bda4419cdece2e29a2b34def44a06bb20cc4a0",
        "1s3v/1s3v_protein_one_lig_removed.pdb": (
            "cefe1b69ac9716e7807ba51304130e4d5483855de9378b3d7165613df84bffa4"
        ),
        "1uou/1uou_ligand.sdf": "d2e305d4309c4474524805a08fc17568a8d8ca5815fbf697e1d95d15ed717871",
        "1uou/1uou_protein_one_lig_removed.pdb": (
            "91e9a7fb292444ac4fa0076c4fa981d2151952b60101f334e352db494a1cf4fc"
        ),
    },
    size=2_348_236,
    license="MIT; PDB entries are CC0",
    what="four proteins of the PDB with a ligand each: 1ia1, 1of6, 1s3v, 1uou",
)
