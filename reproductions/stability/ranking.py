"""One search, four ways to rank it: whose picks still hold when training goes on?"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console

import sweeper
from reproductions import figures, page
from reproductions.progress import Progress
from reproductions.runs import Order, Outcome, train
from reproductions.scale import Scale
from reproductions.stability import problem, wording
from sweeper.ranking.evidence import Evidence
from sweeper.ranking.ranking import rank
from sweeper.stability.limits import Limits

TITLE = "Which ranking picks settings that hold?"
FIGURE = "stability_ranking.png"
HORIZON, LONGER, TRIALS, SEARCHES, TOP = 5_000, 4, 128, 3, 5
# Seeds that no search has seen.
FRESH = (100, 101, 102, 103, 104)
POLICIES = {
    "best": "lowest loss",
    "final": "final loss",
    "early": "early loss",
    "robust": "sweeper",
    "stress": "sweeper, stressed",
}
# The stress test: so many of the first, trained for longer on seeds of its own.
STRESSED, STRESS_SEEDS = 16, (50, 51, 52, 53)


@dataclass(frozen=True, slots=True)
class Pick:
    """A setting that a policy put among its first, trained anew on fresh seeds.

    Args:
        same, longer: runs at the horizon of the search, and at four times of it.
    """

    search: int
    policy: str
    rank: int
    config: Mapping[str, Any]
    same: Sequence[Outcome]
    longer: Sequence[Outcome]


def measure(scale: Scale, progress: Progress) -> list[Pick]:
    """All picks of all searches."""
    horizon = scale.steps(HORIZON)
    ranked = {}
    for search in range(scale.count(SEARCHES)):
        progress.say(f"ranking: search {search + 1} of {scale.count(SEARCHES)}")
        ranked[search] = _search(search, horizon, scale)
    wanted = {
        json.dumps(config, sort_keys=True): config
        for tops in ranked.values()
        for configs in tops.values()
        for config in configs
    }
    progress.say(f"ranking: {wording.plural(len(wanted), 'setting')} on fresh seeds")
    seeds = FRESH[: scale.count(len(FRESH))]
    same = _retrain(wanted, horizon, scale, seeds)
    longer = _retrain(wanted, LONGER * horizon, scale, seeds)
    return [
        Pick(search, policy, rank, config, same[key], longer[key])
        for search, tops in ranked.items()
        for policy, configs in tops.items()
        for rank, config in enumerate(configs, start=1)
        for key in (json.dumps(config, sort_keys=True),)
    ]


def _search(seed: int, horizon: int, scale: Scale) -> dict[str, list[dict[str, Any]]]:
    """The first settings of every policy, from a real sweep in this process."""
    with tempfile.TemporaryDirectory(prefix="reproduction-") as folder:
        spec = {
            "name": "ranking",
            "task": "perceptron",
            "horizon": horizon,
            "seeds": 2,
            "baseline": problem.ADAM,
            "space": {
                "optimizer": "adam",
                "lr": {"log_uniform": [1e-5, 1e-1]},
                "eps": {"log_uniform": [1e-10, 1.0]},
                "beta1": {"uniform": [0.5, 0.98]},
                "beta2": {"one_minus_log_uniform": [1e-4, 0.2]},
                "schedule": {"choice": {"constant": {}, "cosine": {"final": 0.0}}},
            },
            "search": {"sampler": "random", "seed": seed},
            "budget": {"trials": max(TOP, scale.count(TRIALS))},
            "storage": folder,
        }
        handle = sweeper.launch(spec, local=True, console=Console(quiet=True))
        tops = {policy: handle.best(TOP, by=policy) for policy in POLICIES if policy != "stress"}
        tops["stress"] = _stressed(handle.ranking(), horizon, scale)[:TOP]
        return {policy: [row["config"] for row in rows] for policy, rows in tops.items()}


def _stressed(ranking: list[dict[str, Any]], horizon: int, scale: Scale) -> list[dict[str, Any]]:
    """The ranking once the first of it have had a stress test, by sweeper's policy for that."""
    first = ranking[: max(TOP, scale.count(STRESSED))]
    configs = {str(row["trial"]): row["config"] for row in first}
    seeds = STRESS_SEEDS[: scale.count(len(STRESS_SEEDS))]
    runs = _retrain(configs, LONGER * horizon, scale, seeds)
    stress = {int(trial): [one.verdict for one in several] for trial, several in runs.items()}
    return rank(ranking, "robust", Evidence(stress=stress))


def _retrain(
    wanted: Mapping[str, Mapping[str, Any]], horizon: int, scale: Scale, seeds: Sequence[int]
) -> dict[str, list[Outcome]]:
    orders = [Order(config, horizon, seed) for config in wanted.values() for seed in seeds]
    outcomes = train(problem.task(0), orders, compiled=scale.compiled)
    count = len(seeds)
    return {key: outcomes[i * count : (i + 1) * count] for i, key in enumerate(wanted)}


def draw(found: Sequence[Pick], folder: Path) -> None:
    """How far every picked setting climbs, by policy."""
    with figures.drawn(folder / FIGURE, 1, 1, (8.6, 4.2)) as (ax,):
        searches = 1 + max(one.search for one in found)
        for place, policy in enumerate(POLICIES):
            for one in found:
                if one.policy == policy:
                    _dot(ax, one, place + _aside(one, searches))
        ax.axhline(Limits().climb, color="black", lw=1)
        ax.annotate(
            "a run that climbs this far fails", (-0.48, Limits().climb), xytext=(0, 4),
            textcoords="offset points", fontsize=9,
        )  # fmt: skip
        ax.set(
            title=f"Decades climbed above the best loss: {found[0].longer[0].loss.size:,} steps, "
            "worst of the fresh seeds (searches side by side)",
            xlim=(-0.5, len(POLICIES) - 0.5),
            ylim=(-0.4, None),
            ylabel="decades",
        )
        ax.set_xticks(range(len(POLICIES)), [f"by {name}" for name in POLICIES.values()])
        for edge in range(1, len(POLICIES)):
            ax.axvline(edge - 0.5, color="#e4e4e4", lw=0.8)
        ax.grid(axis="x", visible=False)
        _legend(ax)


def _aside(one: Pick, searches: int) -> float:
    """Searches side by side, ranks from left to right within one."""
    width = 0.72 / searches
    return (one.search - (searches - 1) / 2) * (width + 0.03) + (
        one.rank / (TOP + 1) - 0.5
    ) * width


def _dot(ax: figures.Axes, one: Pick, place: float) -> None:
    failed = any(outcome.failed for outcome in one.longer)
    ax.plot(
        place,
        max(outcome.verdict["draw_up"] for outcome in one.longer),
        marker="X" if failed else "o",
        ms=9 if one.rank == 1 else 5.5,
        color=figures.ORANGE if failed else figures.BLUE,
        mec="black" if one.rank == 1 else "white",
        mew=1.1 if one.rank == 1 else 0.5,
        zorder=3,
    )


def _legend(ax: figures.Axes) -> None:
    for marker, colour, size, edge, label in (
        ("o", figures.BLUE, 5.5, "white", "holds"),
        ("X", figures.ORANGE, 6.5, "white", "fails on a seed"),
        ("o", "white", 9, "black", "framed: the first pick of a search"),
    ):
        ax.plot([], [], marker=marker, color=colour, ms=size, mec=edge, ls="", label=label)
    ax.legend(loc="upper center", bbox_to_anchor=(0.5, -0.1), ncols=3)


def section(found: Sequence[Pick]) -> str:
    """The section of the page."""
    same, longer = found[0].same[0].loss.size, found[0].longer[0].loss.size
    seeds, searches = len(found[0].same), 1 + max(one.search for one in found)
    head = ["ranked by", f"first picks, {same:,} steps", f"first picks, {longer:,} steps",
            f"top {TOP}, {same:,} steps", f"top {TOP}, {longer:,} steps",
            f"settings of the top {TOP} that fail on a seed, {longer:,} steps"]  # fmt: skip
    rows = [_line(name, [p for p in found if p.policy == key]) for key, name in POLICIES.items()]
    firsts = [one for one in found if one.rank == 1]
    return f"""### {TITLE}

Real sweeps of the perceptron (`search_spaces/perceptron.yaml` in spirit: Adam with lr, eps, both
betas, constant or cosine; random search, 2 seeds, horizon {same:,}; {searches} searches), each
ranked four ways. What a policy puts first is trained anew on {seeds} fresh seeds, at the horizon
of the search and at {LONGER} times of it (a cosine is stretched along). Numbers are failed runs.
`{POLICIES["stress"]}` is sweeper's ranking after a stress test: its first {STRESSED} trained at
{LONGER} times the horizon on {len(STRESS_SEEDS)} seeds of the test's own, which costs as many
steps as the search and is done here beside the sweep (the key `stress` has no effect yet).

{page.table(head, rows)}

![decades that each picked setting climbs, by policy](figures/{FIGURE})

The first picks:

{
        page.table(
            [
                "ranked by",
                "search",
                "lr",
                "betas",
                "eps",
                "schedule",
                f"failed, {same:,} steps",
                f"failed, {longer:,} steps",
            ],
            [_setting(one) for one in firsts],
        )
    }

{_verdict(found)}"""


def _fails(outcomes: Sequence[Outcome]) -> int:
    return sum(outcome.failed for outcome in outcomes)


def _share(groups: Sequence[Sequence[Outcome]]) -> str:
    failed, runs = sum(map(_fails, groups)), sum(map(len, groups))
    return f"**{failed}** of {runs}" if failed else f"0 of {runs}"


def _line(name: str, picks: Sequence[Pick]) -> list[str]:
    firsts = [one for one in picks if one.rank == 1]
    broken = sum(_fails(one.longer) > 0 for one in picks)
    return [
        f"**{name}**" if "sweeper" in name else name,
        _share([one.same for one in firsts]),
        _share([one.longer for one in firsts]),
        _share([one.same for one in picks]),
        _share([one.longer for one in picks]),
        f"{broken} of {len(picks)}",
    ]


def _setting(one: Pick) -> list[str]:
    config = one.config
    return [
        POLICIES[one.policy],
        str(one.search + 1),
        wording.loss(config["lr"]),
        ", ".join(f"{beta:.4g}" for beta in config["betas"]),
        wording.loss(config["eps"]),
        config["schedule"]["kind"],
        f"{_fails(one.same)} of {len(one.same)}",
        f"{_fails(one.longer)} of {len(one.longer)}",
    ]


def _verdict(found: Sequence[Pick]) -> str:
    mine = [one for one in found if one.policy == "robust"]
    stressed = [one for one in found if one.policy == "stress" and one.rank == 1]
    firsts = [one for one in mine if one.rank == 1]
    late = [one for one in mine if _fails(one.longer) and not _fails(one.same)]
    text = (
        "At the horizon that they were judged at sweeper's first picks hold on every fresh seed "
        f"in **{_held(firsts, 'same')}** searches, at {LONGER} times of it in "
        f"{_held(firsts, 'longer')}; after the stress test in **{_held(stressed, 'longer')}**."
    )
    for one in stressed:
        if _fails(one.longer):
            climb = max(outcome.verdict["draw_up"] for outcome in one.longer)
            text += (
                f" That of search {one.search + 1} climbs {climb:.2f} decades on its worst seed "
                f"(the limit is {Limits().climb:g}), which no seed of the test showed."
            )
    if late:
        text += (
            f"\n\nBeyond its horizon the plain ranking is little better than the others: "
            f"{len(late)} of its {len(mine)} settings fail only there. Many trials tie at the "
            "rounding floor, where the number of the trial decides, not how far a setting is from "
            "failing; and a search that looks this far knows nothing of four times of it. Search "
            "at the horizon that is meant, or stress what comes out."
        )
    return text


def _held(picks: Sequence[Pick], what: str) -> str:
    held = sum(_fails(one.same if what == "same" else one.longer) == 0 for one in picks)
    return f"{held} of {len(picks)}"
