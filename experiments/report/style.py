"""The report's style sheet: light and dark, from a phone's width to a desk's."""

from __future__ import annotations

__all__ = ["ARENA_STYLE", "STUDENT_STYLE", "STYLE"]

STYLE = """
:root {
  color-scheme: light dark;
  --ink: #24292f; --muted: #626a73; --grid: #dfe3e8; --paper: #ffffff; --ground: #f4f5f7; --line: #dfe3e8;
  --better: #1a7f45; --worse: #c0392b; --unclear: #8a6100; --reference: #2b6ca3; --learned: #b84f00;
  --shadow: #24292f55;
}
@media (prefers-color-scheme: dark) {
  :root {
    --ink: #e4e7eb; --muted: #9aa3ad; --grid: #30363d; --paper: #171b20; --ground: #0e1114; --line: #2b3138;
    --better: #4cc38a; --worse: #ff8a7a; --unclear: #e0b050; --reference: #7ab8ee; --learned: #ff9a52;
    --shadow: #9aa3ad88;
  }
}
* { box-sizing: border-box; }
body {
  margin: 0; background: var(--ground); color: var(--ink);
  font: 16px/1.55 system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", Arial, sans-serif;
}
main { max-width: 72rem; margin: 0 auto; padding: 2.5rem 1.25rem 4rem; }
header p { margin: 0; color: var(--muted); }
h1 { margin: .1rem 0 1.5rem; font-size: clamp(1.6rem, 5vw, 2.2rem); line-height: 1.2; letter-spacing: -.01em; }
h2 { margin: 3rem 0 .75rem; font-size: 1.3rem; }
.headline, figure, .scroll, details, pre.command {
  background: var(--paper); border: 1px solid var(--line); border-radius: 10px;
}
.headline { margin: 0; padding: 1.1rem 1.3rem; border-left: 5px solid var(--muted); font-size: 1.15rem; }
.headline.verdict-better { border-left-color: var(--better); }
.headline.verdict-worse { border-left-color: var(--worse); }
.headline.verdict-unclear { border-left-color: var(--unclear); }
a { color: var(--reference); }
.note { max-width: 52rem; color: var(--muted); font-size: .9rem; }
/* The covers move with the table and bare the shadow of a side that more of it lies beyond. */
.scroll {
  overflow-x: auto; margin-top: 1rem;
  background:
    linear-gradient(90deg, var(--paper) 50%, #0000) 0 0 / 2.5rem 100% no-repeat local,
    linear-gradient(-90deg, var(--paper) 50%, #0000) 100% 0 / 2.5rem 100% no-repeat local,
    linear-gradient(90deg, var(--shadow), #0000) 0 0 / .9rem 100% no-repeat scroll,
    linear-gradient(-90deg, var(--shadow), #0000) 100% 0 / .9rem 100% no-repeat scroll,
    var(--paper);
}
.scroll:focus-visible { outline: 2px solid var(--reference); outline-offset: 2px; }
table { border-collapse: collapse; width: 100%; font-size: .93rem; font-variant-numeric: tabular-nums; }
th, td { padding: .5rem .45rem; text-align: right; white-space: nowrap; border-top: 1px solid var(--line); }
th:first-child { padding-left: .9rem; }
th:last-child, td:last-child { padding-right: .9rem; }
thead th {
  min-width: 4.5rem; border-top: 0; color: var(--muted); font-size: .85rem; font-weight: 600; vertical-align: bottom;
  white-space: normal;
}
th:first-child { position: sticky; left: 0; background: var(--paper); text-align: left; font-weight: 500; }
th:last-child, td:last-child { min-width: 6rem; text-align: left; white-space: normal; }
tr.family-trained th { color: var(--learned); font-weight: 700; }
tr.family-trained td { font-weight: 600; }
td.verdict-better { color: var(--better); }
td.verdict-worse, td.verdict-diverged { color: var(--worse); }
td.trouble { padding-top: 0; border-top: 0; text-align: left; white-space: normal; }
td.trouble p {
  position: sticky; left: .9rem; max-width: min(44rem, calc(100vw - 5.5rem)); margin: 0; color: var(--muted);
}
td.verdict-unclear { color: var(--unclear); }
td.verdict-reference { color: var(--reference); }
.figures { columns: 2 27rem; column-gap: 1.25rem; }
figure { margin: 0 0 1.25rem; padding: 1.1rem; break-inside: avoid; }
figure h3 { margin: 0 0 .75rem; font-size: 1rem; }
figure svg { display: block; width: 100%; max-width: 40rem; height: auto; margin: 0 auto; }
figure svg text { font-family: inherit !important; }
figcaption { margin-top: .75rem; color: var(--muted); font-size: .9rem; }
dl { display: grid; grid-template-columns: minmax(7rem, max-content) 1fr; gap: .35rem 1.5rem; margin: 0; }
dt { color: var(--muted); }
dd { margin: 0; overflow-wrap: anywhere; }
pre {
  margin: 0; white-space: pre-wrap; overflow-wrap: anywhere;
  font: .85rem/1.5 ui-monospace, SFMono-Regular, Menlo, Consolas, monospace;
}
pre.command { padding: .8rem 1rem; }
code { font: .9em ui-monospace, SFMono-Regular, Menlo, Consolas, monospace; }
details { margin-top: .75rem; padding: .8rem 1rem; }
summary { cursor: pointer; font-weight: 600; }
details > :not(summary) { margin-top: .75rem; }
@media (max-width: 40rem) {
  main { padding: 1.5rem .8rem 3rem; }
  .headline { padding: .8rem .9rem; font-size: 1rem; }
  figure { padding: .8rem .3rem; }
  figure h3, figcaption { padding: 0 .4rem; }
  table { font-size: .9rem; }
  thead th { min-width: 0; }
  th:first-child { white-space: normal; min-width: 7rem; }
  dl { grid-template-columns: 1fr; gap: 0; }
  dd { margin-bottom: .5rem; }
}
@media print { body { background: none; } figure, .scroll { break-inside: avoid; } }
"""

ARENA_STYLE = """
.headline p { margin: .5rem 0; }
h3 { margin: 1.5rem 0 0; }
.map td, .map th { padding: .4rem .6rem; }
.map thead th { min-width: 0; }
.map td:last-child { white-space: nowrap; }
td.ruling { min-width: 16rem; white-space: normal; }
tr.group th, tr.group td { padding-top: 1rem; color: var(--muted); font-size: .85rem; font-weight: 600; }
tr.kind-trained th { color: var(--learned); font-weight: 700; }
td.ruling-better { color: var(--better); }
td.ruling-worse, td.ruling-diverged { color: var(--worse); }
td.ruling-not-better, td.ruling-withheld { color: var(--unclear); }
"""

STUDENT_STYLE = """
.instances {
  display: grid; grid-template-columns: repeat(auto-fill, minmax(9.5rem, 1fr)); gap: .6rem; margin: .75rem 0 0;
  padding: 0; list-style: none;
}
.instances li {
  display: grid; grid-template-columns: auto 1fr; gap: .3rem .7rem; align-items: center; padding: .5rem;
  background: var(--paper); border: 1px solid var(--line); border-radius: 10px; font-size: .85rem; line-height: 1.35;
}
.instances span:only-of-type { overflow-wrap: anywhere; }
img.instance, svg.signal { width: 3rem; height: 3rem; }
img.instance { image-rendering: pixelated; object-fit: contain; }
svg.course { grid-column: 1 / -1; width: 100%; height: 2.5rem; }
svg.signal polyline, svg.course polyline {
  fill: none; stroke: var(--learned); stroke-width: 2; vector-effect: non-scaling-stroke;
}
svg.signal polyline { stroke: var(--ink); stroke-width: 1.2; }
svg.course circle { fill: var(--learned); }
.wrong { color: var(--worse); }
"""
