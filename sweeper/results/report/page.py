"""The page around the sections: one HTML file, without scripts or anything from outside."""

from __future__ import annotations

import time
from collections.abc import Sequence

from sweeper.results.report import style
from sweeper.results.report.facts import Facts
from sweeper.results.report.section import Section, text

_CSS = """
:root { --ink: #222; --soft: #666; --line: #e3e3e3; --good: #0072b2; --bad: #b34700; }
* { box-sizing: border-box; }
body { font: 15px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, sans-serif; color: var(--ink);
  background: #fff; margin: 0 auto; max-width: 1160px; padding: 28px 24px 60px; }
h1 { font-size: 28px; margin: 0; } h2 { font-size: 20px; margin: 40px 0 8px; padding-top: 14px;
  border-top: 2px solid var(--line); } h3 { font-size: 15px; margin: 22px 0 6px; }
p { margin: 6px 0; max-width: 76ch; } .soft, figcaption { color: var(--soft); font-size: 13px; }
.good, .bad { font-size: 17px; font-weight: 600; padding: 10px 14px; max-width: none;
  border-left: 5px solid; background: #f6f9fb; }
.good { border-color: var(--good); } .bad { border-color: var(--bad); background: #fdf6f1; }
nav { margin: 12px 0 0; font-size: 14px; } nav a { color: var(--good); margin-right: 14px;
  text-decoration: none; }
.wide { overflow-x: auto; margin: 10px 0; } table { border-collapse: collapse; font-size: 13px;
  font-variant-numeric: tabular-nums; } th, td { text-align: left; padding: 4px 12px 4px 0;
  border-bottom: 1px solid var(--line); vertical-align: middle; }
th { font-weight: 600; border-bottom: 2px solid #bbb; color: #444; }
#leaderboard td { white-space: nowrap; padding-right: 8px; }
#leaderboard table { font-size: 12px; } #leaderboard th { padding-right: 8px; }
.beside { display: flex; flex-wrap: wrap; gap: 0 48px; align-items: flex-start; }
tr.chosen { background: #eef5fa; } tr.broke { color: var(--bad); } tr.same { color: #999; }
.spark polyline { fill: none; stroke: var(--good); stroke-width: 1.4; }
.spark.bad polyline { stroke: var(--bad); stroke-dasharray: 4 1.5; }
.spark .x { stroke: #222; stroke-width: 1.6; } .spark { display: block; padding: 0;
  background: none; border: 0; }
figure { margin: 10px 0; } figure > svg { width: 100%; height: auto; max-width: 940px;
  display: block; } figcaption { max-width: 90ch; }
@media print { body { max-width: none; padding: 0; font-size: 11px; } nav { display: none; }
  h2 { break-after: avoid; } figure, tr { break-inside: avoid; }
  .wide { overflow: visible; } table { font-size: 9px; } }
"""
_POLICY = "default-src 'none'; style-src 'unsafe-inline'"


def page(facts: Facts, sections: Sequence[Section]) -> str:
    """The whole file; the figures are drawn into it."""
    name = text(facts.spec.name)
    links = "".join(f"<a href='#{s.key}'>{text(s.title.split(':')[0])}</a>" for s in sections)
    return "".join(
        [
            "<!DOCTYPE html>\n<html lang='en'><head><meta charset='utf-8'>",
            f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">',
            "<meta name='viewport' content='width=device-width, initial-scale=1'>",
            f"<title>{name}: sweep report</title><style>{_CSS}</style></head><body>",
            f"<h1>{name}</h1>{_summary(facts)}<nav>{links}</nav>",
            *map(_section, sections),
            "</body></html>\n",
        ]
    )


def _summary(facts: Facts) -> str:
    spec, status = facts.spec, facts.status
    line = (
        f"task {spec.task}, {status['told']} of {status['trials']} trials, horizon "
        f"{spec.horizon_text}, report of {time.strftime('%Y-%m-%d %H:%M')}"
    )
    unfinished = ""
    if status["state"] != "finished":
        said = f"This sweep is not finished: {status['state']}. What follows is what is known."
        unfinished = f"<p class='bad'>{text(said)}</p>"
    return f"<p class='soft'>{text(line)}</p>{unfinished}"


def _section(section: Section) -> str:
    figures = "".join(
        f"<figure>{style.svg(figure, name)}<figcaption>{text(caption)}</figcaption></figure>"
        for name, (figure, caption) in section.figures.items()
    )
    head = f"<h2>{text(section.title)}</h2>"
    return f"<section id='{section.key}'>{head}{section.html}{figures}</section>"
