"""Docking: where a ligand lies in its receptor, and how its bonds are turned."""
