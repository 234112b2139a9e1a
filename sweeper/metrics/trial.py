"""A trial over its seeds: a row of `sweeper best`, and the numbers of its run in MLflow."""

from sweeper.metrics.metric import Metric

_WILSON = "Wilson 1927, JASA 22"

TRIAL = (
    Metric("rank", "place under the policy asked for", "1, 2, ..."),
    Metric("trial", "its number", "0, 1, ..."),
    Metric("origin", "where its setting is from", "", "baseline or search"),
    Metric(
        "robust_loss",
        "what the worst seeds are worth; lower is better",
        "decades (plain loss where losses can be negative)",
        "mean over the worst ceil(cvar n) of n runs of log10 max(tail_loss, floor); a run without "
        "a tail costs log10 L[0]",
        "conditional value at risk: Rockafellar and Uryasev 2000",
    ),
    Metric("failure_fraction", "share of its runs that failed", "share, 0 to 1", "failed / runs"),
    Metric(
        "failure_low",
        "lower end of the 90 % interval of its failure probability",
        "share, 0 to 1",
        "(p + z^2/2n - z sqrt(p (1-p)/n + z^2/4n^2)) / (1 + z^2/n), z = 1.645",
        _WILSON,
    ),
    Metric(
        "failure_high",
        "upper end of the same",
        "share, 0 to 1",
        "(p + z^2/2n + z sqrt(p (1-p)/n + z^2/4n^2)) / (1 + z^2/n), z = 1.645",
        _WILSON,
    ),
    Metric(
        "violation",
        "how far the worst run is beyond the limits; at most 0 holds",
        "-1 to 10",
        "max over runs of max(draw_up / climb, give_back / limit) - 1; 10 where one is not "
        "finite, hopeless, or forecast to fail within stress.horizon",
    ),
    Metric("runs", "runs of the trial, one a seed", "count, >= 1"),
    Metric("tail_loss", "largest of its runs; none where one has none", "loss"),
    Metric("best_loss", "largest of its runs", "loss"),
    Metric("final_loss", "largest of its runs; none where one has none", "loss"),
    Metric("draw_up", "largest of its runs", "decades, >= 0"),
    Metric("give_back", "largest of its runs", "share, 0 to 1e9"),
    Metric("spike_score", "largest of its runs", "share, 0 to 1"),
    Metric("onset_step", "earliest of its runs", "step; none where all held"),
    Metric("forecast_step", "earliest of its runs", "step; none without a forecast"),
    Metric("sharpness", "largest of its runs", "number, see the run's"),
    Metric("safe_eps", "largest of its runs", "as eps"),
    Metric("stable_steps", "fewest of its runs", "steps, 0 to T"),
    Metric(
        "objectives",
        "what the search optimises, where that is not robust_loss alone",
        "by name",
        "a metric is the mean of the worst ceil(cvar n) runs in its bad direction",
    ),
    Metric(
        "steps_to_target",
        "step by which all of its runs have been at the target",
        "step, at most a fourth too large; none where one never was",
        "target: the lowest tail_loss of a baseline, else the median tail_loss of the sweep",
    ),
    Metric(
        "pareto",
        "whether it is on the Pareto front of those that held; of several objectives",
        "true, false",
        "no other trial is as good in every objective and better in one",
    ),
    Metric("config", "the setting, as `sweeper.train` takes it"),
)

STRESS = (
    Metric("stress_runs", "fresh seeds that it was tested on", "count, >= 1"),
    Metric("stress_failure_fraction", "share of them that failed", "share, 0 to 1"),
    Metric("stress_robust_loss", "robust_loss on them", "decades"),
    Metric("stress_tail_loss", "largest tail_loss on them", "loss"),
    Metric("stress_draw_up", "largest draw_up on them", "decades, >= 0"),
    Metric("stress_onset_step", "earliest onset on them", "step; none where all held"),
    Metric(
        "neighbourhood_width",
        "share of its neighbours that held on a fresh seed",
        "share, 0 to 1",
        "neighbours: lr x and / 2, eps x and / 10, 1 - beta2 x and / 3, as far as searched",
    ),
)

COLUMNS = (
    Metric("rank", "`rank`"),
    Metric("trial", "`trial`, and whether it is a baseline"),
    Metric("front", "`pareto`; of several objectives"),
    Metric("log10 loss", "`robust_loss`"),
    Metric("failed", "`failure_fraction` x `runs`, of `runs`"),
    Metric("stress", "`stress_failure_fraction` x `stress_runs`, of `stress_runs`"),
    Metric("draw-up", "`draw_up`"),
    Metric("onset", "`onset_step`"),
    Metric("forecast", "`forecast_step`"),
    Metric("more", "settings of one branch alone, such as those of one schedule"),
)
