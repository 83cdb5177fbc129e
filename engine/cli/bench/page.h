// SPDX-License-Identifier: LGPL-2.1-or-later
// The benchmark's HTML page. The JSON replaces /*DATA*/.
#pragma once

namespace flowcache::cli {

inline const char* const bench_page = R"PAGE(<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width,initial-scale=1">
<title>flowcache bench</title>
<style>
:root { --back: #fff; --ink: #1c2330; --faint: #667; --line: #d8dce4; --computed: #1f6feb; --reused: #e8edf5; }
@media (prefers-color-scheme: dark) {
  :root { --back: #12161d; --ink: #e4e8ef; --faint: #8b93a3; --line: #2c3442; --computed: #6cb6ff; --reused: #263041; }
}
body { background: var(--back); color: var(--ink); font: 15px/1.45 system-ui, sans-serif; margin: 2rem auto; max-width: 1100px; padding: 0 1rem; }
h2 { margin-top: 2.2rem; }
.faint { color: var(--faint); }
.wide { overflow-x: auto; }
table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; font-size: 13px; }
td, th { padding: .3rem .5rem; text-align: right; border-bottom: 1px solid var(--line); }
td:first-child, th:first-child { text-align: left; }
td i { display: inline-block; width: .7em; height: .7em; border-radius: 50%; margin-right: .5em; }
svg { width: 100%; height: auto; }
text { fill: var(--ink); font-size: 11px; }
.tick { fill: var(--faint); }
.axis, .rule { stroke: var(--line); fill: none; }
.grid { display: grid; grid-template-columns: repeat(auto-fill, minmax(240px, 1fr)); gap: 1rem; }
</style></head>
<body>
<h1>flowcache bench</h1><p class="faint" id="what"></p>
<div class="wide"><table id="table"></table></div>
<h2>Speed against quality</h2><p class="faint">Right and up is better. PSNR against the uncached video of the same seed.</p><div id="scatter"></div>
<h2>Drift</h2><p class="faint">PSNR by chunk index, at most 60 dB; colours as in the table. A line that falls means errors build up in the history.</p><div id="drift"></div>
<h2>Decisions</h2><p class="faint">First prompt. One row for each chunk, one column for each step: dark is computed, pale is reused.</p><div class="grid" id="maps"></div>
<script>
const data = /*DATA*/;
const ran = data.cases.filter((c) => c.summary), compared = ran.filter((c) => c.name != c.reference);
const color = (c) => compared.includes(c) ? `hsl(${compared.indexOf(c) * 137 + 210} 62% 50%)` : 'var(--faint)';

function add(parent, tag, attributes = {}, text) {
  const node = document.createElementNS('http://www.w3.org/2000/svg', tag);
  for (const name in attributes) node.setAttribute(name, attributes[name]);
  if (text != null) node.textContent = text;
  parent.append(node);
  return node;
}

document.getElementById('what').textContent = `${data.model.name} ${data.model.width}x${data.model.height}, ` +
  `${data.prompts.length} prompts x ${data.chunks} chunks, seed ${data.seed}, flowcache ${data.version}`;

const drift = (c) => c.summary.drift_psnr.map((v) => Math.min(v, 60));  // differences above 60 dB cannot be seen
const ms = (seconds) => (1e3 * seconds).toFixed(0), itself = (c) => c.name == c.reference;
const columns = {
  'case': (c) => c.name,
  'speed-up': (c) => c.summary.speedup.toFixed(2) + 'x',
  'x real time': (c) => c.summary.video_realtime_factor.toFixed(2),
  'deadline': (c) => (100 * c.summary.deadline_attainment).toFixed(0) + ' %',
  'p50 ms': (c) => ms(c.summary.chunk_seconds.p50),
  'p95 ms': (c) => ms(c.summary.chunk_seconds.p95),
  'p99 ms': (c) => ms(c.summary.chunk_seconds.p99),
  'first ms': (c) => ms(c.summary.time_to_first_chunk),
  'computed': (c) => c.summary.steps_computed + '/' + (c.summary.steps_computed + c.summary.steps_reused),
  'GFLOP': (c) => (c.summary.flops_per_chunk / 1e9).toFixed(2),
  'PSNR dB': (c) => itself(c) ? '-' : c.summary.psnr.toFixed(2),
  'pooled dB': (c) => itself(c) ? '-' : c.summary.pooled_psnr.toFixed(2),
  'SSIM': (c) => itself(c) ? '-' : c.summary.ssim.toFixed(4),
  'flicker': (c) => itself(c) ? '-' : c.summary.flicker.toFixed(3),
  'drift dB': (c) => itself(c) ? '-' : (drift(c).at(-1) - drift(c)[0]).toFixed(1),
  'KV MB': (c) => (c.summary.kv_bytes / 1e6).toFixed(1),
};
const table = document.getElementById('table'), head = table.createTHead().insertRow(), rows = table.createTBody();
for (const name in columns) head.append(Object.assign(document.createElement('th'), { textContent: name }));
for (const c of data.cases) {
  const row = rows.insertRow();
  if (!c.summary) {
    row.insertCell().textContent = c.name;
    Object.assign(row.insertCell(), { colSpan: Object.keys(columns).length - 1, textContent: 'not run: ' + c.refused });
    continue;
  }
  for (const name in columns) row.insertCell().textContent = columns[name](c);
  if (!itself(c)) {
    const dot = document.createElement('i');
    dot.style.background = color(c);
    row.cells[0].prepend(dot);
  }
}

// About five round numbers that cover [low, high].
function ticks(low, high, whole) {
  const rough = (high - low) / 5, ten = 10 ** Math.floor(Math.log10(rough));
  const step = Math.max(whole ? 1 : 0, ten * [1, 2, 5, 10].find((n) => n * ten >= rough)), out = [];
  for (let i = Math.ceil(low / step - 1e-9); i * step <= high + 1e-9 * step; ++i) out.push(+(i * step).toPrecision(6));
  return out;
}

const W = 900, H = 360, LEFT = 48, RIGHT = W - 24, TOP = 24, BOTTOM = H - 44;
function plot(id, xs, ys, xName, yName, whole) {
  const svg = add(document.getElementById(id), 'svg', { viewBox: `0 0 ${W} ${H}`, role: 'img' });
  const x = (v) => LEFT + (v - xs[0]) / (xs[1] - xs[0] || 1) * (RIGHT - LEFT);
  const y = (v) => BOTTOM - (v - ys[0]) / (ys[1] - ys[0] || 1) * (BOTTOM - TOP);
  for (const v of ticks(...ys)) {
    add(svg, 'path', { class: 'rule', d: `M${LEFT} ${y(v)}H${RIGHT}` });
    add(svg, 'text', { class: 'tick', x: LEFT - 8, y: y(v) + 4, 'text-anchor': 'end' }, v);
  }
  for (const v of ticks(...xs, whole)) add(svg, 'text', { class: 'tick', x: x(v), y: BOTTOM + 16, 'text-anchor': 'middle' }, v);
  add(svg, 'path', { class: 'axis', d: `M${LEFT} ${TOP}V${BOTTOM}H${RIGHT}` });
  add(svg, 'text', { class: 'tick', x: RIGHT, y: H - 8, 'text-anchor': 'end' }, xName);
  add(svg, 'text', { class: 'tick', x: 4, y: 12 }, yName);
  return { svg, x, y };
}

// Writes names beside their points: on the left side near the right edge, and higher or lower if the place is
// taken.
function labels(svg) {
  const taken = [];
  return (x, y, text) => {
    const wide = text.length * 5.8, left = x + 8 + wide > RIGHT + 20 ? x - 8 - wide : x + 8;
    const free = (at) => taken.every((t) => left > t.right || left + wide < t.left || Math.abs(at - t.y) > 11);
    const at = [4, -8, 16, -20, 28, -32].map((d) => y + d).find(free) ?? y + 4;
    taken.push({ left, right: left + wide, y: at });
    add(svg, 'text', { x: left, y: at, textLength: wide, lengthAdjust: 'spacingAndGlyphs' }, text);
  };
}

if (compared.length) {
  const speeds = compared.map((c) => c.summary.speedup), psnrs = compared.map((c) => c.summary.psnr);
  const s = plot('scatter', [Math.min(1, ...speeds), Math.max(...speeds) * 1.08], [Math.min(...psnrs) - 1, Math.max(...psnrs) + 1], 'speed-up', 'PSNR dB');
  const label = labels(s.svg);
  for (const cache of new Set(compared.map((c) => c.cache))) {  // a line joins the thresholds of one policy
    const line = compared.filter((c) => c.cache == cache).sort((a, b) => a.summary.speedup - b.summary.speedup);
    const path = 'M' + line.map((c) => s.x(c.summary.speedup) + ' ' + s.y(c.summary.psnr)).join('L');
    add(s.svg, 'path', { d: path, stroke: color(line[0]), fill: 'none', 'stroke-opacity': .5 });
  }
  for (const c of compared) {
    const point = [s.x(c.summary.speedup), s.y(c.summary.psnr)];
    add(add(s.svg, 'circle', { cx: point[0], cy: point[1], r: 5, fill: color(c) }), 'title', {}, c.name);
    label(...point, c.name);
  }
  const all = compared.flatMap(drift);
  const d = plot('drift', [0, Math.max(1, data.chunks - 1)], [Math.min(...all) - 1, Math.max(...all) + 1], 'chunk', 'PSNR dB', true);
  for (const c of compared) {
    const path = 'M' + drift(c).map((v, k) => d.x(k) + ' ' + d.y(v)).join('L');
    add(add(d.svg, 'path', { d: path, stroke: color(c), fill: 'none', 'stroke-width': 1.8 }), 'title', {}, c.name);
  }
}

for (const c of ran) {
  const chunks = c.runs[0], steps = chunks[0].decisions.length, cell = document.createElement('div');
  cell.append(Object.assign(document.createElement('div'), { className: 'faint', textContent: c.name }));
  const svg = add(cell, 'svg', { viewBox: `0 0 ${steps * 10} ${chunks.length * 10}` });
  chunks.forEach((chunk, y) => chunk.decisions.forEach((computed, x) => add(svg, 'rect',
    { x: x * 10, y: y * 10, width: 9, height: 9, style: `fill: var(${computed ? '--computed' : '--reused'})` })));
  document.getElementById('maps').append(cell);
}
</script></body></html>
)PAGE";

}  // namespace flowcache::cli
