"""The page's piece on rankings: tables, a figure, and a look at how picks fail."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from reproductions import figures, page, wording
from reproductions.picks import POLICIES
from reproductions.runs import Outcome
from reproductions.stability.ranking import LONGER, TITLE, TOP, Pick
from sweeper.stability.limits import Limits

FIGURE = "stability_ranking.png"


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
ranked in {len(POLICIES)} ways. What a policy puts first is trained anew on {
        seeds
    } fresh seeds, at the horizon
of the search and at {LONGER} times of it (a cosine is stretched along). Numbers are failed runs.
`{POLICIES["robust"]}` is what a sweep recommends: its ranking after its stress test, winners on
five seeds of their own at {LONGER} times the horizon, for half the run-steps of the search.
`{POLICIES["search"]}` is the ranking of the same sweep without that test, forecasts included.

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
    alone = [one for one in found if one.policy == "search"]
    mine = [one for one in found if one.policy == "robust" and one.rank == 1]
    firsts = [one for one in alone if one.rank == 1]
    late = [one for one in alone if _fails(one.longer) and not _fails(one.same)]
    text = (
        "By the search alone sweeper's first picks hold on every fresh seed in "
        f"**{_held(firsts, 'same')}** searches at the horizon that they were judged at, and in "
        f"{_held(firsts, 'longer')} at {LONGER} times of it; what it recommends after its stress "
        f"test in **{_held(mine, 'longer')}**."
    )
    text += "".join(_looked_at(one) for one in mine if _fails(one.longer))
    failed = [run for one in found for run in one.longer if run.failed]
    moments = sum(map(_is_momentary, failed))
    if moments:
        text += (
            f" Of the {len(failed)} failed runs behind the table at {LONGER} times the horizon (a "
            f"run counts for every policy that picked it) {moments} are above the limit for less "
            "than a hundred steps."
        )
    if late:
        text += (
            f"\n\n{len(late)} of the {len(alone)} settings that the search alone puts first fail "
            "only beyond its horizon: a search that looks this far knows little of four times of "
            "it. That is what the stress test is for."
        )
    return text


def _looked_at(one: Pick) -> str:
    """How the failing runs of a pick fail."""
    runs = [outcome for outcome in one.longer if outcome.failed]
    worst = max(runs, key=lambda outcome: float(outcome.verdict["draw_up"]))
    climbs = decades(worst)
    top = int(climbs.argmax())
    low = int(worst.loss[:top].argmin())
    text = (
        f" That of search {one.search + 1} climbs {climbs[top]:.2f} decades on its worst seed "
        f"(the limit is {Limits().climb:g}), which no seed of the test showed: from "
        f"{wording.loss(float(worst.loss[low]))} at step {low:,} to "
        f"{wording.loss(float(worst.loss[top]))} at step {top:,}."
    )
    if all(_is_momentary(outcome) for outcome in runs):
        text += (
            " Each of its climbs is over in a few steps, and its loss ends at "
            f"{wording.loss(worst.verdict['final_loss'])}: strong momentum lets the loss ring "
            "while it falls, and it dips low for a moment. That is no instability; the verdict, "
            "which takes the best step for what was reached, is too strict here."
        )
    return text


def decades(outcome: Outcome) -> np.ndarray:
    """Decades above the best loss so far, `[T]`, as the verdict takes them; 0 in its grace."""
    loss = np.nan_to_num(outcome.loss, nan=np.inf)
    lifted = np.maximum(loss, outcome.verdict["floor"])
    climbed: np.ndarray = np.log10(lifted) - np.log10(np.minimum.accumulate(lifted))
    climbed[: outcome.loss.size // 20] = 0
    return climbed


def _is_momentary(outcome: Outcome) -> bool:
    """Whether a failing run is above the limit for less than a hundred steps in all."""
    return int((decades(outcome) >= Limits().climb).sum()) < 100


def _held(picks: Sequence[Pick], what: str) -> str:
    held = sum(_fails(one.same if what == "same" else one.longer) == 0 for one in picks)
    return f"{held} of {len(picks)}"
