"""What sfumato-eval announces: its metrics and systems, by bare names."""

from __future__ import annotations

__all__ = ["sfumato_register"]

from sfumato import hook
from sfumato.plugins import Add


@hook
def sfumato_register(add: Add) -> None:
    """Announce the metrics and the systems."""
    for name, summary, source in (
        (
            "agm",
            "Generative Modeling with Phase Stochastic Bridges",
            "Chen et al. 2023, arXiv:2310.07805",
        ),
        (
            "ays",
            "Align Your Steps: Optimizing Sampling Schedules in Diffusion Models",
            "Sabour, Fidler & Kreis 2024, arXiv:2404.14507",
        ),
        (
            "codeexec",
            "Understanding Diffusion Models via Code Execution",
            "Yu 2025, arXiv:2512.07201",
        ),
        (
            "dbim",
            "Diffusion Bridge Implicit Models",
            "Zheng, He, Chen, Bao & Zhu 2024, arXiv:2405.15885",
        ),
        (
            "ddbm",
            "Denoising Diffusion Bridge Models",
            "Zhou, Lou, Khanna & Ermon 2023, arXiv:2309.16948",
        ),
        (
            "deis",
            "Fast Sampling of Diffusion Models with Exponential Integrator",
            "Zhang & Chen 2022, arXiv:2204.13902",
        ),
        (
            "dmcmc",
            "Denoising MCMC for Accelerating Diffusion-Based Generative Models",
            "Kim & Ye 2022, arXiv:2209.14593",
        ),
        (
            "dpmsolver",
            "DPM-Solver: A Fast ODE Solver for Diffusion Probabilistic Model Sampling in Around "
            "10 Steps",
            "Lu et al. 2022, arXiv:2206.00927",
        ),
        (
            "ersde",
            "Elucidating the solution space of extended reverse-time SDE for diffusion models",
            "Cui, Zhang, Bao & Liao 2023, arXiv:2309.06169",
        ),
        (
            "etsdm",
            "Eliminating Lipschitz Singularities in Diffusion Models",
            "Yang et al. 2023, arXiv:2306.11251",
        ),
        (
            "evodiff",
            "EVODiff: Entropy-aware Variance Optimized Diffusion Inference",
            "Li, Chen & Zeng 2025, arXiv:2509.26096",
        ),
        (
            "fdm",
            "Fast Diffusion Model",
            "Wu et al. 2023, arXiv:2306.08249",
        ),
        (
            "fpdiff",
            "A Flexible Diffusion Model",
            "Du et al. 2022, arXiv:2206.10365",
        ),
        (
            "gauge",
            "On gauge freedom, conservativity and intrinsic dimensionality estimation in "
            "diffusion models",
            "Horvat & Pfister 2024, arXiv:2402.03845",
        ),
        (
            "geom",
            "A Geometric Perspective on Diffusion Models",
            "Chen et al. 2023, arXiv:2305.19947",
        ),
        (
            "howmuch",
            "How Much is Enough? A Study on Diffusion Times in Score-based Generative Models",
            "Franzese et al. 2022, arXiv:2206.05173",
        ),
        (
            "ld3",
            "Learning to Discretize Denoising Diffusion ODEs",
            "Tong, Hoang, Liu, Van den Broeck & Niepert 2024, arXiv:2405.15506",
        ),
        (
            "lml",
            "Unleashing High-Quality Image Generation in Diffusion Sampling Using Second-Order "
            "Levenberg-Marquardt-Langevin",
            "Wang et al. 2025, arXiv:2505.24222",
        ),
        (
            "mdm",
            "Where to Diffuse, How to Diffuse, and How to Get Back: Automated Learning for "
            "Multivariate Diffusions",
            "Singhal, Goldstein & Ranganath 2023, arXiv:2302.07261",
        ),
        (
            "ndm",
            "Neural Diffusion Models",
            "Bartosh et al. 2023, arXiv:2310.08337",
        ),
        (
            "nfdm",
            "Neural Flow Diffusion Models: Learnable Forward Process for Improved Diffusion "
            "Modelling",
            "Bartosh et al. 2024, arXiv:2404.12940",
        ),
        (
            "overview",
            "An overview of diffusion models for generative artificial intelligence",
            "Gallon, Jentzen & von Wurstemberger 2024, arXiv:2412.01371",
        ),
        (
            "pfgmpp",
            "PFGM++: Unlocking the Potential of Physics-Inspired Generative Models",
            "Xu et al. 2023, arXiv:2302.04265",
        ),
        (
            "rddm",
            "Residual Denoising Diffusion Models",
            "Liu, Wang, Fan, Wang, Tang & Qu 2024, arXiv:2308.13712",
        ),
        (
            "rex",
            "A Reversible Solver for Diffusion SDEs",
            "Blasingame & Liu 2025, arXiv:2502.08834",
        ),
        (
            "serialrep",
            "Analyzing Diffusion as Serial Reproduction",
            "Marjieh et al. 2022, arXiv:2209.14821",
        ),
        (
            "unified",
            "Understanding Diffusion Models: A Unified Perspective",
            "Luo 2022, arXiv:2208.11970",
        ),
    ):
        target = f"sfumato_eval.systems.{name}:system"
        add("system", name, target, summary=summary, source=source)
    add(
        "metric",
        "sliced-wasserstein",
        "sfumato_eval.sliced:SlicedWasserstein",
        summary="Wasserstein distance along random directions, exact in each",
        source="Bonneel et al. 2015",
    )
    add(
        "metric",
        "kid",
        "sfumato_eval.kernels:KID",
        summary="unbiased squared MMD with the cubic kernel, in any features",
        source="arXiv:1801.01401",
    )
    add(
        "metric",
        "mmd",
        "sfumato_eval.kernels:MMD",
        summary="unbiased squared MMD with Gaussian kernels at several lengths",
        source="Gretton et al. 2012",
    )
    add(
        "metric",
        "frechet",
        "sfumato_eval.frechet:Frechet",
        summary="Frechet distance between Gaussians fitted to any features",
        source="arXiv:1706.08500",
    )
    add(
        "metric",
        "prdc",
        "sfumato_eval.prdc:PRDC",
        summary="precision, recall, density and coverage by nearest neighbours",
        source="arXiv:1904.06991, arXiv:2002.09797",
    )
    add(
        "metric",
        "c2st",
        "sfumato_eval.c2st:C2ST",
        summary="held-out accuracy of a classifier of samples and real items, with a p-value",
        source="arXiv:1610.06545",
    )
    add(
        "metric",
        "memorisation",
        "sfumato_eval.memorisation:Memorisation.of",
        summary="share of samples closer to the training set than unseen real items",
    )
    add(
        "metric",
        "recognised",
        "sfumato_eval.recognised:Recognised",
        summary="share of samples in which a classifier sees the class asked for",
    )
