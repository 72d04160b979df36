"""Runge-Kutta tableaux as data, named by publication."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["DOPRI5", "EULER", "HEUN", "KUTTA3", "MIDPOINT", "RK4", "SHARK", "TSIT5", "Tableau"]


@dataclass(frozen=True)
class Tableau:
    """An explicit method: k_i = f(y + h sum_j a_ij k_j) and y' = y + h sum_j b_j k_j.

    With additive noise of increment W and space-time Levy area H (see `brownian`) stage i adds
    c_i W + area_i H, and the step adds W.

    Attributes:
        name: for `repr`.
        a: row i holds the weights of the stages before stage i, so the first row is empty.
        b: weights of the step.
        area: what H is multiplied by in each stage; empty where the method does not use it.
    """

    name: str
    a: tuple[tuple[float, ...], ...]
    b: tuple[float, ...]
    area: tuple[float, ...] = ()

    @property
    def c(self) -> tuple[float, ...]:
        """Share of the step at which each stage stands."""
        return tuple(map(sum, self.a))

    @property
    def rows(self) -> tuple[tuple[float, ...], ...]:
        """Weights of the stages 2, 3, ... and, last, of the step."""
        return (*self.a[1:], self.b)

    def __repr__(self) -> str:
        return self.name


EULER = Tableau("EULER", ((),), (1.0,))
MIDPOINT = Tableau("MIDPOINT", ((), (0.5,)), (0.0, 1.0))
HEUN = Tableau("HEUN", ((), (1.0,)), (0.5, 0.5))
KUTTA3 = Tableau("KUTTA3", ((), (0.5,), (-1.0, 2.0)), (1 / 6, 2 / 3, 1 / 6))
RK4 = Tableau(
    "RK4", ((), (0.5,), (0.0, 0.5), (0.0, 0.0, 1.0)), (1 / 6, 1 / 3, 1 / 3, 1 / 6)
)  # Kutta 1901
DOPRI5 = Tableau(
    "DOPRI5",
    (
        (),
        (1 / 5,),
        (3 / 40, 9 / 40),
        (44 / 45, -56 / 15, 32 / 9),
        (19372 / 6561, -25360 / 2187, 64448 / 6561, -212 / 729),
        (9017 / 3168, -355 / 33, 46732 / 5247, 49 / 176, -5103 / 18656),
    ),
    (35 / 384, 0.0, 500 / 1113, 125 / 192, -2187 / 6784, 11 / 84),
)  # Dormand & Prince 1980, the solution of order 5
TSIT5 = Tableau(
    "TSIT5",
    (
        (),
        (0.161,),
        (-0.008480655492356989, 0.335480655492357),
        (2.8971530571054935, -6.359448489975075, 4.3622954328695815),
        (5.325864828439257, -11.748883564062828, 7.4955393428898365, -0.09249506636175525),
        (
            5.86145544294642,
            -12.92096931784711,
            8.159367898576159,
            -0.071584973281401,
            -0.028269050394068383,
        ),
    ),
    (
        0.09646076681806523,
        0.01,
        0.4798896504144996,
        1.379008574103742,
        -3.290069515436081,
        2.324710524099774,
    ),
)  # Tsitouras 2011, the solution of order 5
SHARK = Tableau("SHARK", ((), (5 / 6,)), (0.4, 0.6), area=(1.0, 1.0))
# Foster, dos Reis & Strange 2023, arXiv:2210.17543, for additive noise
