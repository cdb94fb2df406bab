"""What is measured of a finished trial beside R and D: how it was reached, and where it fell short.

References:
    M. Hoffman and M. Johnson 2016, "ELBO surgery" (mutual information and marginal KL);
    R. Chen et al. 2018, https://arxiv.org/abs/1802.04942 (total correlation, MIG);
    Y. Burda et al. 2015, https://arxiv.org/abs/1509.00519 (the IWAE bound);
    C. Eastwood and C. Williams 2018, "A framework for the quantitative evaluation of disentangled
    representations" (DCI); H. Kim and A. Mnih 2018, https://arxiv.org/abs/1802.05983 (FactorVAE);
    I. Higgins et al. 2017, "beta-VAE".
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Diagnostics:
    """Held-out diagnostics of a trial; None where one was not or could not be measured.

    Nats are per example unless a quantity belongs to the whole of q(z).

    Attributes:
        mutual_information_nats: I(x; z) under q, nats; estimates saturate at ln of the number of
            examples.
        marginal_kl_nats: KL(q(z) || p(z)) of the aggregate posterior.
        total_correlation_nats: KL(q(z) || prod_j q(z_j)).
        dimension_kl_nats: sum_j KL(q(z_j) || p(z_j)).
        diagnostic_examples: Held-out examples behind the four estimates above and the IWAE bound.
        iwae_nats: Importance-weighted bound on ln p(x), nats per example (Burda et al. 2015).
        iwae_stderr_nats: Its standard error over the examples.
        iwae_samples: k, the draws of z per example in that bound.
        exact_nll_nats: Exact -ln p(x), nats per example; only where the model is linear.
        bce_floor_nats: Entropy of the pixels: what binary cross-entropy cannot go below on grey
            images, nats per example.
        collapse: Verdict: "none", "partial", "collapsed" or "never_active".
        collapse_epoch: First epoch without any active latent; only for "collapsed".
        train_rate_nats: R on training examples; the gap is held-out minus train.
        train_distortion_se: Squared error on training examples, summed over pixels.
        train_distortion_nll_nats: Negative log-likelihood on training examples.
        mig: Mutual information gap, in [0, 1]; this and the next five only where the factors of
            the data are known.
        dci_disentanglement: DCI's disentanglement, in [0, 1].
        dci_completeness: DCI's completeness, in [0, 1].
        dci_informativeness: DCI's informativeness, in [0, 1].
        factorvae_score: Accuracy of FactorVAE's majority vote, in [0, 1].
        betavae_score: Accuracy of beta-VAE's linear classifier, in [0, 1].
        notes: Warnings about the metrics, in words.
    """

    mutual_information_nats: float | None = None
    marginal_kl_nats: float | None = None
    total_correlation_nats: float | None = None
    dimension_kl_nats: float | None = None
    diagnostic_examples: int | None = None
    iwae_nats: float | None = None
    iwae_stderr_nats: float | None = None
    iwae_samples: int | None = None
    exact_nll_nats: float | None = None
    bce_floor_nats: float | None = None
    collapse: str | None = None
    collapse_epoch: int | None = None
    train_rate_nats: float | None = None
    train_distortion_se: float | None = None
    train_distortion_nll_nats: float | None = None
    mig: float | None = None
    dci_disentanglement: float | None = None
    dci_completeness: float | None = None
    dci_informativeness: float | None = None
    factorvae_score: float | None = None
    betavae_score: float | None = None
    notes: tuple[str, ...] = ()
