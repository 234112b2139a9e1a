"""The section `policies`: one table over six tasks, one figure, and who holds."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from statistics import median

from reproductions import figures, page, wording
from reproductions.picks import POLICIES
from reproductions.policies import searches
from reproductions.policies.searches import LONGER, PROBLEMS, Pick
from reproductions.progress import Progress
from reproductions.scale import Scale
from sweeper.stability.limits import Limits

TITLE = "Six tasks: which pick holds at four times the horizon?"
HEADINGS = (f"## {TITLE}",)
FIGURE = "policies.png"
_SETTINGS = ("lr", "betas", "eps", "momentum", "weight_decay", "amsgrad", "clip_norm")


def make(scale: Scale, progress: Progress, figures_folder: Path) -> str:
    """Measure and write."""
    found = searches.measure(scale, progress)
    draw(found, figures_folder / FIGURE)
    return section(found)


def draw(found: Sequence[Pick], path: Path) -> None:
    """Decades climbed by the picks of each policy, a panel for each task."""
    names = list(dict.fromkeys(one.problem for one in found))
    with figures.drawn(path, 2, 3, (10.5, 5.6)) as axes:
        for ax, name in zip(axes, names, strict=False):
            for place, policy in enumerate(POLICIES):
                _dots(ax, place, _pick(found, name, policy))
            ax.axhline(Limits().climb, color="black", lw=1)
            ax.set(title=name, xlim=(-0.5, len(POLICIES) - 0.5), ylim=(-0.15, None))
            ax.set_xticks(range(len(POLICIES)), _ticks())
            ax.grid(axis="x", visible=False)
        for ax in axes[::3]:
            ax.set_ylabel("decades above the best loss")
        for marker, colour, label in (
            ("o", figures.BLUE, "a fresh seed holds"),
            ("X", figures.ORANGE, "it fails"),
        ):
            axes[0].plot([], [], marker=marker, color=colour, ls="", label=label)
        axes[0].legend(fontsize=8.5)


def _ticks() -> list[str]:
    return [policy if policy != "robust" else "sweeper" for policy in POLICIES]


def _dots(ax: figures.Axes, place: int, one: Pick) -> None:
    count = len(one.outcomes)
    for i, outcome in enumerate(one.outcomes):
        ax.plot(
            place + 0.09 * (i - (count - 1) / 2),
            outcome.verdict["draw_up"],
            marker="X" if outcome.failed else "o",
            color=figures.ORANGE if outcome.failed else figures.BLUE,
            mec="white",
            mew=0.5,
            ms=7,
        )


def section(found: Sequence[Pick]) -> str:
    """The text."""
    names = list(dict.fromkeys(one.problem for one in found))
    seeds = len(found[0].outcomes)
    head = ["task", *(f"by {name}" for name in POLICIES.values())]
    rows = [[name, *(_cell(_pick(found, name, p), found) for p in POLICIES)] for name in names]
    rows.append(["**failed runs**", *(_total(found, policy) for policy in POLICIES)])
    return f"""## {TITLE}

The goal of the whole: six tasks, each with one real sweep over the space of its file in
search_spaces/ (the CNN over that of the MLP), with a small budget and two seeds: {_budgets()}.
For sweeper's own recommendation its best four are tested at {LONGER} times the horizon on five
seeds of their own, for at most twice the run-steps of the search. What each ranking puts first is
trained anew on {seeds} fresh seeds, at {LONGER} times the horizon. A cell says how many of these
runs fail, and the median of their tail loss (the mean of the worst tenth of the last fifth). It is
one search each, and TPE learns from whatever has ended by then: another run of this part draws
other settings, so that a few runs more or less say little.

{page.table(head, rows)}

![decades climbed by each pick on each task](figures/{FIGURE})

{_story(found, names)}

The settings:

{page.table(["task", "picked by", "setting"], [*_settings(found, names)])}"""


def _pick(found: Sequence[Pick], name: str, policy: str) -> Pick:
    return next(one for one in found if (one.problem, one.policy) == (name, policy))


def _budgets() -> str:
    return wording.listing(
        [f"{one.name} {one.trials} trials of {one.horizon:,} steps" for one in PROBLEMS]
    )


def _fails(one: Pick) -> int:
    return sum(outcome.failed for outcome in one.outcomes)


def _tail(one: Pick) -> float:
    """Median over the seeds; a run without a tail counts as infinite."""
    tails = [outcome.verdict["tail_loss"] for outcome in one.outcomes]
    return float(median(float("inf") if tail is None else tail for tail in tails))


def _cell(one: Pick, found: Sequence[Pick]) -> str:
    failed, tail = _fails(one), _tail(one)
    said = f"{failed} of {len(one.outcomes)} fail"
    said = f"**{said}**" if failed else said
    lowest = min(_tail(other) for other in found if other.problem == one.problem)
    loss = "no tail" if tail == float("inf") else wording.loss(tail)
    return f"{said}, {loss}" + (" (lowest)" if tail == lowest else "")


def _total(found: Sequence[Pick], policy: str) -> str:
    mine = [one for one in found if one.policy == policy]
    return f"{sum(map(_fails, mine))} of {sum(len(one.outcomes) for one in mine)}"


def _story(found: Sequence[Pick], names: Sequence[str]) -> str:
    """Who holds where, and what it costs."""
    broken = {
        policy: [name for name in names if _fails(_pick(found, name, policy))]
        for policy in POLICIES
    }
    lines = [
        f"by {POLICIES[policy]} on {wording.listing(where)}"
        for policy, where in broken.items()
        if where
    ]
    text = (
        f"A pick fails on some fresh seed: {'; '.join(lines)}. "
        if lines
        else "No pick of any ranking fails on a fresh seed. "
    )
    calm = [name for name in names if not any(name in where for where in broken.values())]
    if calm:
        text += (
            f"On {wording.listing(calm)} every pick holds: at these horizons there is nothing to "
            "be saved from, and the rankings differ by the loss alone. "
        )
    text += _tested(found)
    ratios = {name: cost for name in names if (cost := _cost(found, name)) < float("inf")}
    if not ratios:
        return text
    worst, best = max(ratios, key=ratios.__getitem__), min(ratios, key=ratios.__getitem__)
    return text + (
        "The tail loss of sweeper's recommendation beside the lowest of the three other rankings "
        f"is {ratios[best]:.3g} times on {best} at the best and {ratios[worst]:.3g} times on "
        f"{worst} at the worst."
    )


def _tested(found: Sequence[Pick]) -> str:
    """What the test of the winners changes."""
    before, after = (
        sum(_fails(one) for one in found if one.policy == policy)
        for policy in ("search", "robust")
    )
    runs = sum(len(one.outcomes) for one in found if one.policy == "robust")
    text = (
        f"Of sweeper's {runs} runs {before} fail with what the search alone puts first, and "
        f"{after} with what is recommended after the test of the winners. "
    )
    if after:
        text += (
            "Five seeds are few: a setting that fails on one run in five passes such a test one "
            f"time in three ({0.8**5:.2f}). "
        )
    return text


def _cost(found: Sequence[Pick], name: str) -> float:
    """Infinite where one of the two has no tail."""
    others = min(_tail(_pick(found, name, policy)) for policy in ("best", "final", "early"))
    own = _tail(_pick(found, name, "robust"))
    return own / others if others < float("inf") else float("inf")


def _settings(found: Sequence[Pick], names: Sequence[str]) -> list[list[str]]:
    """One line for each different setting of a task, with the policies that picked it."""
    lines = []
    for name in names:
        mine = [one for one in found if one.problem == name]
        texts = list(dict.fromkeys(_said(one) for one in mine))
        for text in texts:
            policies = [POLICIES[one.policy] for one in mine if _said(one) == text]
            lines.append([name, "; ".join(policies), text])
    return lines


def _said(one: Pick) -> str:
    config = one.config
    values = [f"{key} {_value(config[key])}" for key in _SETTINGS if config.get(key)]
    schedule = config["schedule"]
    warmup = f", warm-up {schedule['warmup']:.3g}" if schedule.get("warmup") else ""
    return f"{config['optimizer']}, {', '.join(values)}, {schedule['kind']}{warmup}"


def _value(value: object) -> str:
    if isinstance(value, bool):
        return "on"
    if isinstance(value, list | tuple):
        return "/".join(f"{one:.4g}" for one in value)
    return f"{value:.3g}" if isinstance(value, int | float) else str(value)
