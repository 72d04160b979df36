"""The mathematics of sfumato: `gaussian`, `discrete`, `solvers`, `grids`, `guidance`."""
