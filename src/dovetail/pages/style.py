"""How pages look: one sheet, for light and dark, a phone and paper."""

STYLE = """
:root {color-scheme: light dark; --text: #1b2430; --soft: #5b6876; --line: #dfe4ea; --page: #fff; --raised: #f5f7f9;
  --own: #1f5fa8; --champion: #c06a1b; --good: #17703f; --bad: #b3261e; --wait: #8a5800; --note: #47566b;
  --good-tint: #e5f4ea; --bad-tint: #fce8e6; --wait-tint: #fdf1d9; --note-tint: #eaeef3}
@media (prefers-color-scheme: dark) {:root {--text: #e4e8ed; --soft: #a2adba; --line: #333c47; --page: #14181d;
  --raised: #1d232a; --own: #74aef0; --champion: #f0a45d; --good: #5fcf90; --bad: #ff8f87; --wait: #f0bd5a;
  --note: #b3c0d0; --good-tint: #15301f; --bad-tint: #3b1a18; --wait-tint: #35280d; --note-tint: #222a34}}
* {box-sizing: border-box}
body {margin: 0 auto; padding: 1.5rem 1.25rem 3rem; max-width: 62rem; background: var(--page); color: var(--text);
  font: 1rem/1.5 system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", Arial, sans-serif}
h1 {font-size: 1.7rem; line-height: 1.2; margin: 0 0 .25rem}
h2 {font-size: 1.2rem; margin: 2.5rem 0 .25rem}
h3 {font-size: 1rem; margin: 1.25rem 0 .25rem}
p {margin: .35rem 0 .75rem; max-width: 46rem}
.soft, th, .unknown {color: var(--soft)}
.verdict {margin: 1.1rem 0; padding: .9rem 1.1rem; border-left: .4rem solid; border-radius: .3rem}
.verdict strong {display: block; font-size: 1.35rem; line-height: 1.3}
.verdict p {margin: .15rem 0 0; color: var(--text)}
.verdict.good {color: var(--good); background: var(--good-tint)}
.verdict.bad {color: var(--bad); background: var(--bad-tint)}
.verdict.wait {color: var(--wait); background: var(--wait-tint)}
.verdict.note {color: var(--note); background: var(--note-tint)}
ul.rules {list-style: none; margin: .5rem 0; padding: 0}
ul.rules li {padding: .2rem 0 .2rem 1.6rem; text-indent: -1.6rem}
ul.rules b {display: inline-block; width: 1.6rem; text-indent: 0}
.good {color: var(--good)} .bad {color: var(--bad)} .wait {color: var(--wait)}
.wide {overflow-x: auto}
table {border-collapse: collapse; width: 100%; font-size: .92rem}
th, td {padding: .3rem .9rem .3rem 0; border-bottom: 1px solid var(--line); text-align: left; vertical-align: top}
th {font-weight: 600; font-size: .82rem; vertical-align: bottom}
td.number, th.number {text-align: right; white-space: nowrap; font-variant-numeric: tabular-nums}
.interval {color: var(--soft); font-size: .9em}
td.plot, th.plot {min-width: 9rem; width: 30%; padding-right: 1rem}
.unknown {border-left: .25rem solid var(--line); padding-left: .8rem}
code, pre {font: .88em/1.5 ui-monospace, SFMono-Regular, Menlo, Consolas, monospace}
code {overflow-wrap: anywhere}
pre {background: var(--raised); border-radius: .3rem; padding: .7rem .9rem; overflow-x: auto; margin: .4rem 0}
.key span {margin-right: 1.2rem; white-space: nowrap}
.key i {display: inline-block; width: .7rem; height: .7rem; border-radius: 50%; margin-right: .4rem}
.key .own {background: var(--own)} .key .champion {background: var(--champion)}
svg.strip {display: block; width: 100%; height: 1.3rem; overflow: visible}
svg line, svg polyline {vector-effect: non-scaling-stroke; fill: none; stroke-linecap: round}
svg .whisker {stroke-width: 2; opacity: .75} svg .point {stroke-width: 8}
svg .own {stroke: var(--own)} svg .champion {stroke: var(--champion)}
svg .good {stroke: var(--good)} svg .bad {stroke: var(--bad)} svg .none {stroke: var(--soft)}
svg .zero, svg .limit {stroke: var(--soft); stroke-width: 1} svg .limit {stroke-dasharray: 3 3}
svg .deviation {stroke: var(--text); stroke-width: 1}
svg .bar {stroke: none} svg .bar.own {fill: var(--own)} svg .bar.champion {fill: var(--champion)}
svg .bar.none {fill: var(--soft); opacity: .5} svg .bar.bad {fill: var(--bad)}
svg.chart {display: block; width: 100%; max-width: 25rem; margin: .5rem 0}
svg.chart text {font-size: 10.5px; fill: var(--soft)}
svg .grid {stroke: var(--line); stroke-width: 1} svg .promised {stroke: var(--soft); stroke-dasharray: 1 5}
svg .curve {stroke-width: 2} svg .dot {stroke: none} svg .dot.own {fill: var(--own)}
svg .dot.champion {fill: var(--champion)}
.axis {position: relative; height: 1.1rem; font-weight: 400; font-size: .78rem}
.axis span {position: absolute; transform: translateX(-50%); white-space: nowrap}
@media (max-width: 40rem) {body {padding: 1rem .8rem 2rem} h1 {font-size: 1.4rem}
  td.plot, th.plot {min-width: 6rem} .axis span:not(.origin) {display: none} th, td {padding-right: .6rem}}
@media print {:root {color-scheme: light; --text: #000; --soft: #444; --line: #bbb; --page: #fff; --raised: #f2f2f2;
  --own: #1f5fa8; --champion: #c06a1b; --good: #17703f; --bad: #b3261e; --wait: #8a5800; --note: #47566b;
  --good-tint: #fff; --bad-tint: #fff; --wait-tint: #fff; --note-tint: #fff}
  body {max-width: none; padding: 0; font-size: 10pt; print-color-adjust: exact; -webkit-print-color-adjust: exact}
  .wide {overflow: visible} h2 {break-after: avoid} tr, svg, .verdict, pre {break-inside: avoid}
  th, td {padding-right: .5rem} td.plot, th.plot {min-width: 5rem; width: auto}
  .axis span:not(.origin) {display: none}}
"""
