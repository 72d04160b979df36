"""What this package announces: process families, samplers, grids, guidance."""

from __future__ import annotations

from collections.abc import Callable

from sfumato import hook

_PROCESSES = {
    "vp": ("vp", "variance preserving, linear beta", "Song et al. 2021, arXiv:2011.13456"),
    "ve": ("ve", "variance exploding, geometric sigma", "Song et al. 2021, arXiv:2011.13456"),
    "linear": (
        "linear",
        "straight line from data to noise",
        "Lipman et al. 2022, arXiv:2210.02747",
    ),
    "cosine": ("cosine", "cosine alpha-bar", "Nichol & Dhariwal 2021, arXiv:2102.09672"),
    "edm": ("edm", "unit signal, sigma linear in time", "Karras et al. 2022, arXiv:2206.00364"),
    "subvp": ("subvp", "sub-VP, sigma = 1 - alpha^2", "Song et al. 2021, arXiv:2011.13456"),
    "cld": (
        "cld",
        "critically damped Langevin: position and velocity",
        "Dockhorn et al. 2021, arXiv:2112.07068",
    ),
    "alda": (
        "alda",
        "accelerated Langevin of third order",
        "Singhal et al. 2023, arXiv:2302.07261",
    ),
    "malda": (
        "malda",
        "the same with noise on all three fields",
        "Singhal et al. 2023, arXiv:2302.07261",
    ),
    "agm": ("agm", "phase-space bridge", "Chen et al. 2023, arXiv:2310.07805"),
    "pfgmpp": ("pfgmpp", "noise with heavy tails", "Xu et al. 2023, arXiv:2302.04265"),
    "blurring": (
        "blurring",
        "blurs images while noise is added",
        "Hoogeboom & Salimans 2022, arXiv:2209.05557",
    ),
}
_BRIDGES = {
    "ddbm": (
        "ddbm",
        "denoising diffusion bridge to a paired source, variance preserving",
        "Zhou et al. 2023, arXiv:2309.16948",
    ),
    "ddbm-ve": (
        "ddbm_ve",
        "denoising diffusion bridge to a paired source, variance exploding",
        "Zhou et al. 2023, arXiv:2309.16948",
    ),
    "brownian-bridge": (
        "brownian_bridge",
        "Brownian motion pinned at the data and at a paired source",
        "Li et al. 2022, arXiv:2205.07680",
    ),
    "interpolant": (
        "interpolant",
        "stochastic interpolant between the data and a paired source",
        "Albergo et al. 2023, arXiv:2303.08797",
    ),
    "rddm": (
        "rddm",
        "the residual to a paired source, and noise beside it",
        "Liu et al. 2024, arXiv:2308.13712",
    ),
    "transport": (
        "Transport",
        "straight line from data to a source of any law",
        "Lipman et al. 2022, arXiv:2210.02747",
    ),
}
_LEARNED = {
    "ndm": (
        "ndm",
        "learned: a small network bends the data before it is noised",
        "Bartosh et al. 2023, arXiv:2310.08337",
    ),
    "nfdm": (
        "nfdm",
        "learned: mean and width of the noised data are small networks",
        "Bartosh et al. 2024, arXiv:2404.12940",
    ),
}
_DPM = "Lu et al. 2022, arXiv:2206.00927"
_DPMPP = "Lu et al. 2022, arXiv:2211.01095"
_DEIS = "Zhang & Chen 2022, arXiv:2204.13902"
_UNIPC = "Zhao et al. 2023, arXiv:2302.04867"
_DOPRI = "Dormand & Prince 1980"
_SAMPLERS = {
    "ancestral": (
        "sfumato.sampling:Ancestral",
        "draws each step from the transition law (DDPM, D3PM)",
        "Ho et al. 2020, arXiv:2006.11239",
    ),
    "ddim": ("ddim:DDIM", "first order, eta from 0 to 1", "Song et al. 2020, arXiv:2010.02502"),
    "euler": ("flow:Euler", "first order in time", "Lipman et al. 2022, arXiv:2210.02747"),
    "heun": ("flow:Heun", "second order, two calls a step", "Karras et al. 2022, arXiv:2206.00364"),
    "dpmpp-2m": (
        "dpmpp:DPMSolverPP",
        "second order multistep in log-SNR, one call a step",
        _DPMPP,
    ),
    "dpmpp-3m": (
        "named:dpmpp_3m",
        "third order multistep in log-SNR, one call a step",
        _DPMPP,
    ),
    "dpmpp-2s": ("named:dpmpp_2s", "single steps of two calls, data", _DPMPP),
    "dpmpp-3s": ("named:dpmpp_3s", "single steps of three calls, data", _DPMPP),
    "dpmsolver-2": ("named:dpmsolver_2", "single steps of two calls, noise", _DPM),
    "dpmsolver-3": ("named:dpmsolver_3", "single steps of three calls, noise", _DPM),
    "dpmsolver-adaptive": ("named:dpmsolver_adaptive", "a step of its own for each item", _DPM),
    "exp-ab2": ("named:exp_ab2", "exponential Adams-Bashforth of order 2, data", _DPMPP),
    "exp-ab3": ("named:exp_ab3", "exponential Adams-Bashforth of order 3, data", _DPMPP),
    "exp-ab4": ("named:exp_ab4", "exponential Adams-Bashforth of order 4, data", _DPMPP),
    "exp-ab3-noise": ("named:exp_ab3_noise", "the same of order 3, noise", _DEIS),
    "deis-tab3": ("named:deis_tab3", "Adams-Bashforth of order 4 in time, noise", _DEIS),
    "deis-rhoab3": ("named:deis_rhoab3", "Adams-Bashforth of order 4 in sigma/alpha", _DEIS),
    "deis-rhork": ("named:deis_rhork", "Runge-Kutta of order 4 in sigma/alpha", _DEIS),
    "ipndm": ("named:ipndm", "DDIM with the weights of equal steps, noise", _DEIS),
    "angular": ("angular:Angular", "predictor-corrector in the angle, one call a step", _UNIPC),
    "unipc-2": ("named:unipc_2", "predictor-corrector, one call a step, order 3", _UNIPC),
    "unipc-3": ("named:unipc_3", "predictor-corrector, one call a step, order 4", _UNIPC),
    "unipc-bounded": ("named:unipc_bounded", "unipc-3, lower order on long steps", _UNIPC),
    "rk4": ("runge_kutta:RK4", "four calls a step, order 4", "Kutta 1901"),
    "dopri5": ("runge_kutta:Dopri5", "order 5, a step of its own for each item", _DOPRI),
}
_STOCHASTIC = {
    "dbim": (
        "dbim:DBIM",
        "implicit bridge sampler, first order, one call a step",
        "Zheng et al. 2024, arXiv:2405.15885",
    ),
    "dbim-2": (
        "named:dbim_2",
        "the same of second order",
        "Zheng et al. 2024, arXiv:2405.15885",
    ),
    "bridge-heun": (
        "dbim:BridgeHeun",
        "noise in the first part of each step, Heun in the rest, three calls",
        "Zhou et al. 2023, arXiv:2309.16948",
    ),
    "ersde": (
        "ersde:ERSDE",
        "extended reverse SDE, order 1 to 3, one call a step",
        "Cui et al. 2023, arXiv:2309.06169",
    ),
    "sde-dpmpp-2m": (
        "seeds:SDEDPMSolverPP",
        "second order multistep on the reverse SDE",
        "Lu et al. 2022, arXiv:2211.01095",
    ),
    "seeds": (
        "seeds:SEEDS",
        "exponential stages on the reverse SDE, two or three calls a step",
        "Gonzalez et al. 2023, arXiv:2305.14267",
    ),
    "euler-maruyama": (
        "euler_maruyama:EulerMaruyama",
        "first order in time on the reverse SDE",
        "Song et al. 2021, arXiv:2011.13456",
    ),
    "churn": (
        "churn:ChurnHeun",
        "Heun after raising the noise level a little, two calls a step",
        "Karras et al. 2022, arXiv:2206.00364",
    ),
    "restart": (
        "churn:RestartHeun",
        "Heun that goes back up to high noise now and then",
        "Xu et al. 2023, arXiv:2306.14878",
    ),
    "predictor-corrector": (
        "langevin:PredictorCorrector",
        "Langevin steps after each step of another sampler",
        "Song et al. 2021, arXiv:2011.13456",
    ),
    "s4": (
        "langevin:S4",
        "a Langevin step and the step to the next level in one call",
        "Jo et al. 2022, arXiv:2202.02514",
    ),
    "annealed-langevin": (
        "langevin:AnnealedLangevin",
        "Langevin steps at each noise level in turn",
        "Song & Ermon 2019, arXiv:1907.05600",
    ),
    "evodiff": (
        "evodiff:EVODiff",
        "predictor and variance-minimising corrector, one call a step",
        "Li et al. 2025, arXiv:2509.26096",
    ),
    "evodiff-release": (
        "evodiff:EVODiffRelease",
        "the released EVODiff with its constants, for comparison",
        "Li et al. 2025, arXiv:2509.26096",
    ),
    "rex": (
        "rex:Rex",
        "exactly reversible ODE solver, two calls a stage",
        "Blasingame & Liu 2025, arXiv:2502.08834",
    ),
    "rex-sde": (
        "rex:RexSDE",
        "exactly reversible SDE solver along a stored Brownian path",
        "Blasingame & Liu 2025, arXiv:2502.08834",
    ),
    "phase-ab": (
        "phase:PhaseAB",
        "exponential Adams-Bashforth for coupled states (cld, agm)",
        "Chen et al. 2023, arXiv:2310.07805",
    ),
    "lml": (
        "lml:LML",
        "DDIM with its noise direction turned by a rank-one curvature",
        "Wang et al. 2025, arXiv:2505.24222",
    ),
}
_TOKENS = {
    "absorbing": ("absorbing", "tokens are masked", "Austin et al. 2021, arXiv:2107.03006"),
    "uniform": ("uniform", "tokens are replaced by any", "Hoogeboom et al. 2021, arXiv:2102.05379"),
    "mask-replace": (
        "mask_replace",
        "tokens are masked, or now and then replaced",
        "Gu et al. 2021, arXiv:2111.14822",
    ),
    "insertion": (
        "insertion",
        "texts that grow: tokens are masked, then deleted",
        "Kim et al. 2025, arXiv:2509.01025",
    ),
}
_SIMPLEX = "Avdeyev et al. 2023, arXiv:2305.10699"
_KIM = "Kim et al. 2025, arXiv:2502.06768"
_REMDM = "Wang et al. 2025, arXiv:2503.00307"
_DISCRETE = {
    "cached-ancestral": (
        "unmasking:CachedAncestral",
        "ancestral for masks, calls only where one falls",
        "Sahoo et al. 2024, arXiv:2406.07524",
    ),
    "first-hitting": (
        "unmasking:FirstHitting",
        "exact for masks, one call a token whatever the grid",
        "Zheng et al. 2024, arXiv:2409.02908",
    ),
    "top-probability": ("named:top_probability", "masks: the likeliest token first", _KIM),
    "margin": ("named:margin", "masks: the clearest decision first", _KIM),
    "entropy": ("named:entropy", "masks: the least uncertain place first", _KIM),
    "random-order": ("named:random_order", "masks: any order, a fixed number a step", _KIM),
    "left-to-right": ("named:left_to_right", "masks: the order of reading", ""),
    "confident": (
        "named:confident",
        "masks: all tokens above 0.9 at once, at least one",
        "Wu et al. 2025, arXiv:2505.22618",
    ),
    "maskgit": (
        "orders:MaskGIT",
        "masks: draw all tokens, keep the likeliest",
        "Chang et al. 2022, arXiv:2202.04200",
    ),
    "blocks": (
        "blocks:Blocks",
        "masks: block by block of 32 tokens, with a memory where there is one",
        "Nie et al. 2025, arXiv:2502.09992",
    ),
    "event-driven": (
        "insertion:EventDriven",
        "texts that grow: insertions and unmaskings one by one",
        "Kim et al. 2025, arXiv:2509.01025",
    ),
    "remdm": ("named:remdm", "masks: tokens may be hidden again", _REMDM),
    "remdm-conf": ("named:remdm_conf", "masks: doubtful tokens are hidden again", _REMDM),
    "remdm-loop": ("named:remdm_loop", "masks: hidden again half-way only", _REMDM),
    "rate-euler": (
        "leaping:RateEuler",
        "tokens: Euler steps on the rates of the reversed chain",
        "Lou et al. 2023, arXiv:2310.16834",
    ),
    "ordinal-leaping": (
        "leaping:OrdinalLeaping",
        "ordered values: Poisson numbers of jumps that add up, at rates held over a step",
        "Campbell et al. 2022, arXiv:2205.14987",
    ),
    "tau-leaping": (
        "leaping:TauLeaping",
        "tokens: Poisson numbers of jumps at rates held over a step",
        "Campbell et al. 2022, arXiv:2205.14987",
    ),
}
_MANIFOLDS = {
    "rotations": (
        "Rotations",
        "rotations under the isotropic Gaussian law of SO(3)",
        "Leach et al. 2022, arXiv:2204.10311",
    ),
    "torus": (
        "Torus",
        "angles under the wrapped normal law",
        "Jing et al. 2022, arXiv:2206.01729",
    ),
}
_GRIDS = {
    "uniform": ("equal steps in time", ""),
    "logsnr": ("equal steps in log-SNR", "Lu et al. 2022, arXiv:2206.00927"),
    "karras": ("equal steps in sigma^(1/rho)", "Karras et al. 2022, arXiv:2206.00364"),
    "focused": (
        "shortest about a noise level, else equal in log-SNR: for few calls",
        "after Esser et al. 2024, arXiv:2403.03206",
    ),
    "booted": (
        "a short first step, then equal ones in t^(2/3), for bridges",
        "Zheng et al. 2024, arXiv:2405.15885",
    ),
    "quadratic": ("equal steps in the root of time", "Song et al. 2020, arXiv:2010.02502"),
    "cosine": ("cosine of equal steps, for tokens", "Chang et al. 2022, arXiv:2202.04200"),
    "shifted": (
        "long steps at first, short ones near the data, for tokens",
        "Li et al. 2025, arXiv:2505.16839",
    ),
    "ays-sd": ("aligned for Stable Diffusion 1.5", "Sabour et al. 2024, arXiv:2404.14507"),
    "ays-sdxl": ("aligned for Stable Diffusion XL", "Sabour et al. 2024, arXiv:2404.14507"),
    "ays-svd": ("aligned for Stable Video Diffusion", "Sabour et al. 2024, arXiv:2404.14507"),
}


@hook
def sfumato_register(add: Callable[..., None]) -> None:
    """Announce the components of this package."""
    for home, table in (
        ("gaussian", _PROCESSES),
        ("bridges", _BRIDGES),
        ("learned", _LEARNED),
        ("discrete.named", _TOKENS),
        ("simplex", {"simplex": ("Simplex", "classes noised on the simplex", _SIMPLEX)}),
        ("manifolds", _MANIFOLDS),
    ):
        for name, (attr, summary, source) in table.items():
            target = f"sfumato_methods.{home}:{attr}"
            add("process", name, target, summary=summary, source=source)
    for name, (where, summary, source) in _DISCRETE.items():
        target = f"sfumato_methods.discrete.{where}"
        add("sampler", name, target, summary=summary, source=source)
    add(
        "sampler",
        "dilated",
        "sfumato_methods.simplex:Dilated",
        summary="points of the simplex: the reverse SDE with time dilation 4",
        source=_SIMPLEX,
    )
    for name, (where, summary, source) in (_SAMPLERS | _STOCHASTIC).items():
        target = where if where.startswith("sfumato.") else f"sfumato_methods.solvers.{where}"
        add("sampler", name, target, summary=summary, source=source)
    for name, (summary, source) in _GRIDS.items():
        target = f"sfumato_methods.grids:{name.replace('-', '_')}"
        add("grid", name, target, summary=summary, source=source)
