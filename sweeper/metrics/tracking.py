"""What MLflow has beside the numbers of a trial: curves, settings, tags, the run of the sweep."""

from sweeper.metrics.metric import Metric

TRACKED = (
    Metric("objective.*", "a metric that the search optimises", "of the task"),
    Metric(
        "hp.*",
        "a numeric setting, for filters and charts; log10 as `hp.log10_*`",
        "of the setting",
    ),
    Metric("run_steps", "optimizer steps of all its runs", "steps"),
    Metric("first_loss_mean", "loss of the first step, mean over the seeds", "loss"),
    Metric("early_loss_mean", "loss at a tenth of the horizon, mean over the seeds", "loss"),
    Metric("best_loss_mean", "lowest loss, mean over the seeds", "loss"),
    Metric("final_loss_mean", "loss of the last step, mean over the seeds", "loss"),
)
"""Of the run of a trial, beside the numbers of TRIAL and STRESS."""

CURVES = (
    Metric("loss", "thinned loss of the worst seed, `sweeper.loss_seed`", "loss"),
    Metric("grad_norm", "of the same seed", ">= 0"),
    Metric("update_rms", "of the same seed", ">= 0"),
    Metric("lr", "of the same seed", "> 0"),
)

PARENT = (
    Metric("told", "trials that have ended", "count"),
    Metric("trials", "trials of the budget", "count"),
    Metric("stress_tests", "settings whose stress test has ended", "count"),
    Metric("run_steps", "optimizer steps of the whole sweep", "steps"),
    Metric("tracker_lag_s", "how far the records are behind", "seconds"),
    Metric("lanes", "lanes that train; the last word of a running sweep", "count"),
    Metric("slot_occupancy", "share of their slots that are held; likewise", "0 to 1"),
    Metric("run_steps_per_s", "optimizer steps of all lanes; likewise", "1/s"),
)

TAGS = (
    Metric("sweeper.sweep", "name of the sweep; of its run"),
    Metric("sweeper.sweep_id", "which sweep of that name; of every run"),
    Metric("sweeper.budget.*", "its budget; of the run of the sweep"),
    Metric("sweeper.best", "id of the run that ranks first; of the run of the sweep"),
    Metric("sweeper.artifacts", "whether report and recommendation could be kept; of its run"),
    Metric("sweeper.trial", "number of the trial"),
    Metric("sweeper.stable", "true where no seed failed in the search"),
    Metric("sweeper.baseline", "true for the present setting"),
    Metric("sweeper.recommended", "true for the recommended setting"),
    Metric("sweeper.refused", "what broke in a setting that other rankings put first"),
    Metric("sweeper.pareto", "true on the Pareto front; of several objectives"),
    Metric("sweeper.loss_seed", "seed whose curves are shown"),
    Metric("sweeper.error", "why the trial was given up"),
    Metric("sweeper.pruned", "when it was pruned, and by what"),
)
