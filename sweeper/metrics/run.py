"""The result of one run: its verdict, from the loss of every step, and what its probes found."""

from sweeper.metrics.metric import Metric

_OLMO = "OLMo 2, arXiv:2501.00656"
_EDGE = "Cohen et al. 2022, arXiv:2207.14484"

RUN = (
    Metric("steps", "steps that count", "steps, 0 to T"),
    Metric("finite", "whether loss and parameters stayed finite", "true, false"),
    Metric(
        "hopeless",
        "whether it was given up: far above where it began, for long",
        "true, false",
        "s > 10 L[0] for 5 % of T in a row, after the grace",
    ),
    Metric("negative", "whether a loss was below 0: then nothing is logarithmic", "true, false"),
    Metric(
        "failed",
        "whether it failed, even if it recovered",
        "true, false",
        "not finite; or after the grace draw_up >= climb, or give_back > its limit for `hold` "
        "steps in a row; or hopeless",
    ),
    Metric("first_loss", "loss of the first step", "loss", "L[0]"),
    Metric("best_loss", "lowest loss of a step", "loss", "min L[t]"),
    Metric(
        "final_loss", "loss of the last step; none of a run that isn't finite", "loss", "L[T-1]"
    ),
    Metric(
        "tail_loss",
        "what the run is worth at its end; none where it ended early",
        "loss",
        "mean of the largest 10 % of L[t] in the last `tail` (20 %) of T",
    ),
    Metric("floor", "loss that is nothing but rounding", "loss", "floor of the task x abs(L[0])"),
    Metric(
        "draw_up",
        "decades that the loss climbed above its best",
        "decades, >= 0",
        "max of log10 s[t] - log10 best[t], after the grace",
    ),
    Metric(
        "give_back",
        "share of its progress that it gave back for long",
        "share, 0 to 1e9",
        "the largest value that (s[t] - best[t]) / (L[0] - best[t]) kept up for `hold` steps, "
        "after the grace",
    ),
    Metric(
        "spike_score",
        "share of the steps whose loss lies far off the losses before",
        "share, 0 to 1; none below 129 steps",
        "share of t with abs(L[t] - mean) >= 7 sd of the 1000 losses before t (128 at least)",
        _OLMO,
    ),
    Metric(
        "upward_spike_score",
        "the same, upwards alone and against a shorter past",
        "share, 0 to 1; none below 129 steps",
        "share of t with L[t] - mean > 6 sd of the 128 losses before t",
        "StabilityMonitor of OLMo-core",
    ),
    Metric(
        "onset_step", "first step of the earliest failing excursion", "step; none where it held"
    ),
    Metric("stable_steps", "steps before the onset", "steps, 0 to T", "min(onset_step, steps)"),
    Metric(
        "sharpness",
        "how sharp the loss is where the run stands, in units of its steps; of the last probe",
        "number; unstable beyond the threshold of its optimizer",
        "S = lr lambda_max(P^-1/2 H P^-1/2), P = sqrt(vhat) + eps; P = 1 for sgd",
        _EDGE,
    ),
    Metric(
        "sharpness_share",
        "the same as a share of the threshold",
        "share; 1 is the edge of stability",
        "S / threshold; the threshold of Adam is 2 (1 + beta1) / (1 - beta1)",
        _EDGE,
    ),
    Metric(
        "top_eigenvalue",
        "largest eigenvalue of the Hessian",
        "loss / parameter^2",
        "lambda_max(H)",
    ),
    Metric(
        "forecast_step",
        "step at which it will reach its threshold, or has",
        "step; none where it won't within stress.horizon, or nothing can be said",
        "first t with S[t0] lr[t] / lr[t0] P[t0] / P[t] >= threshold[t], P falling as beta2^(t/2)",
        "docs/stability.md; the threshold: " + _EDGE,
    ),
    Metric(
        "forecast_confidence",
        "how far the forecast can be trusted",
        "",
        "none, unchecked, poor, fair (its range is within half of the step), good (a tenth), "
        "measured (it is there now)",
    ),
    Metric("forecast_reason", "the forecast in words, or why there is none"),
    Metric(
        "safe_eps",
        "eps from which on the threshold can't be reached, on the full batch",
        "as eps",
        "max over t of lr[t] lambda_max(H) / threshold[t]; "
        "for Adam lr lambda_max(H) (1 - beta1) / (2 (1 + beta1))",
        "docs/reproductions.md",
    ),
    Metric("probes", "every probe: its step, what it measured, its forecast", "list"),
    Metric("curve", "thinned: step, loss and statistics at some 40 log-spaced steps", "list"),
    Metric("evaluation", "metrics that the task's `evaluate` returned", "by name"),
)
