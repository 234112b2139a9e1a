"""The columns of a trajectory: `sweeper trajectories` and the Parquet files of a sweep."""

from sweeper.metrics.metric import Metric

_SMALL = "Wortsman et al. 2023, arXiv:2309.14322"

SERIES = (
    Metric("trial", "number of the trial; by the command alone", "0, 1, ..."),
    Metric("stage", "search or stress; by the command alone"),
    Metric("seed", "of the run; by the command alone", "int"),
    Metric("run", "number of the run", "0, 1, ..."),
    Metric("step", "updates made before; every step", "0 to T - 1"),
    Metric(
        "loss", "training loss of the step's batch, before its update; every step", "loss", "L[t]"
    ),
    Metric("grad_norm", "length of the gradient, before clipping", ">= 0", "sqrt(sum g^2)"),
    Metric(
        "update_rms",
        "size of the update, weight decay included",
        ">= 0",
        "sqrt(mean (theta[t+1] - theta[t])^2)",
        "Molybog et al. 2023, arXiv:2304.09871",
    ),
    Metric("lr", "learning rate of the update, by its schedule", "> 0"),
    Metric(
        "param_norm", "length of the parameters, after the update", ">= 0", "sqrt(sum theta^2)"
    ),
    Metric(
        "eps_dominance",
        "share of the parameters that eps decides, not the second moment",
        "share, 0 to 1; none without a second moment",
        "share of i with sqrt(vhat_i) < eps",
        _SMALL,
    ),
    Metric(
        "grad_surprise",
        "the gradient in units of what the second moment remembers; far below 1 it is stale",
        ">= 0; above 1 the second moment lags behind",
        "sqrt(mean (g / max(sqrt(vhat), eps))^2)",
        "Wortsman et al. 2023, arXiv:2304.13013 (RMS_t)",
    ),
    Metric(
        "update_cosine",
        "angle to the update before; with record.update_cosine",
        "-1 (to and fro) to 1 (straight on)",
        "cos of the angle between theta[t+1] - theta[t] and theta[t] - theta[t-1]",
    ),
    Metric(
        "sharpness",
        "of the probe at that step, see the run's",
        "number",
        "lr lambda_max(P^-1/2 H P^-1/2)",
        "Cohen et al. 2022, arXiv:2207.14484",
    ),
    Metric(
        "gradient_curvature",
        "the same along the gradient; of the probe",
        "number, <= sharpness",
        "lr u^T Hp u / u^T u, u = P^-1/2 g, Hp = P^-1/2 H P^-1/2",
        "after lambda_grad of Bai et al. 2025, arXiv:2506.04805",
    ),
    Metric(
        "moment_share",
        "how much of the divisor is the second moment, and not eps, in the sharpest direction",
        "share, 0 to 1",
        "sum of u_i^2 sqrt(vhat_i) / (sqrt(vhat_i) + eps), u the top vector of Hp",
    ),
    Metric("top_eigenvalue", "of the probe", "loss / parameter^2", "lambda_max(H)"),
    Metric(
        "bottom_eigenvalue", "of the probe; below 0 along a saddle", "the same", "lambda_min(H)"
    ),
    Metric(
        "hessian_trace",
        "of the probe",
        "the same",
        "mean of z^T H z over random signs z",
        "Hutchinson 1989",
    ),
    Metric("forecast_step", "what was forecast at the probe, see the run's", "step"),
)
