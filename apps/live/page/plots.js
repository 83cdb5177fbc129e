// SPDX-License-Identifier: LGPL-2.1-or-later
// The plots: pure functions from data to a canvas. Colours come from the style sheet, so light and dark follow.

const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();

// A context scaled to the screen's pixels, cleared; null while the canvas has no room.
function begin(canvas) {
  const width = canvas.clientWidth, height = Number(canvas.getAttribute("height-css") || canvas.height);
  canvas.setAttribute("height-css", height);
  if (width === 0) return null;
  const scale = window.devicePixelRatio || 1;
  canvas.style.height = `${height}px`;
  canvas.width = Math.round(width * scale);
  canvas.height = Math.round(height * scale);
  const context = canvas.getContext("2d");
  context.scale(scale, scale);
  context.font = "11px system-ui, sans-serif";
  context.textBaseline = "middle";
  return { context, width, height };
}

const left = 48; // room for the numbers of the vertical axis

// As many chunks, newest last, as fit at `least` pixels each.
function fitting(chunks, width, least) {
  const count = Math.max(1, Math.min(chunks.length, Math.floor((width - left) / least)));
  return chunks.slice(-count);
}

function columns(chunks, width) {
  const step = Math.min(14, (width - left) / Math.max(chunks.length, 30));
  return { step, at: (index) => width - (chunks.length - index) * step };
}

export function chunkTime(canvas, chunks, deadline) {
  const room = begin(canvas);
  if (!room || !chunks.length) return;
  const { context, width, height } = room;
  const shown = fitting(chunks, width, 5);
  const top = Math.max(deadline || 0, ...shown.map((c) => c.milliseconds)) * 1.15 || 1;
  const y = (ms) => height - 8 - (ms / top) * (height - 18);
  const { step, at } = columns(shown, width);
  const good = colour("computed"), late = colour("bad");
  shown.forEach((chunk, index) => {
    context.fillStyle = deadline && chunk.milliseconds > deadline ? late : good;
    context.fillRect(at(index), y(chunk.milliseconds), Math.max(1, step - 1), y(0) - y(chunk.milliseconds));
  });
  context.fillStyle = colour("faint");
  context.textAlign = "right";
  const mark = (ms, text) => context.fillText(text, left - 6, y(ms));
  mark(0, "0");
  const newest = shown[shown.length - 1].milliseconds;
  const apart = (a, b) => Math.abs(y(a) - y(b)) > 12;
  if (deadline) {
    mark(deadline, `${Math.round(deadline)} ms`);
    context.strokeStyle = colour("warn");
    context.setLineDash([5, 4]);
    context.beginPath();
    context.moveTo(left, y(deadline));
    context.lineTo(width, y(deadline));
    context.stroke();
    context.setLineDash([]);
  }
  if (apart(newest, 0) && (!deadline || apart(newest, deadline))) mark(newest, `${Math.round(newest)} ms`);
}

export function decisions(canvas, chunks) {
  const room = begin(canvas);
  if (!room || !chunks.length) return;
  const { context, width, height } = room;
  const shown = fitting(chunks, width, 5);
  const steps = Math.max(1, ...shown.map((c) => c.decisions.length));
  const cell = (height - 4) / steps;
  const { step, at } = columns(shown, width);
  const computed = colour("computed"), reused = colour("reused");
  shown.forEach((chunk, index) => {
    for (let i = 0; i < chunk.decisions.length; ++i) {
      context.fillStyle = chunk.decisions[i] === "C" ? computed : reused;
      context.fillRect(at(index), 2 + i * cell, Math.max(1, step - 1), Math.max(1, cell - (cell > 3 ? 1 : 0)));
    }
  });
  context.fillStyle = colour("faint");
  context.textAlign = "right";
  context.fillText("1", left - 6, 2 + Math.max(cell / 2, 5));
  if (steps > 1) context.fillText(String(steps), left - 6, height - 2 - Math.max(cell / 2, 5));
}

export function keysAndValues(canvas, chunks) {
  const room = begin(canvas);
  if (!room || !chunks.length) return;
  const { context, width, height } = room;
  const shown = fitting(chunks, width, 5);
  const top = Math.max(1, ...shown.map((c) => Math.max(c.kv_budget, c.kv_bytes))) * 1.1;
  const y = (bytes) => height - 4 - (bytes / top) * (height - 10);
  const { step, at } = columns(shown, width);
  context.fillStyle = colour("computed");
  shown.forEach((chunk, index) => {
    context.fillRect(at(index), y(chunk.kv_bytes), Math.max(1, step - 1), y(0) - y(chunk.kv_bytes));
  });
  const budget = shown[shown.length - 1].kv_budget;
  context.strokeStyle = colour("warn");
  context.setLineDash([5, 4]);
  context.beginPath();
  context.moveTo(left, y(budget));
  context.lineTo(width, y(budget));
  context.stroke();
  context.setLineDash([]);
  context.fillStyle = colour("faint");
  context.textAlign = "right";
  context.fillText("budget", left - 4, Math.max(6, y(budget)));
  context.fillText("0", left - 6, height - 6);
}

function drawPrompt(context, prompt, x, y, now, width) {
  const asked = x(prompt.asked);
  const end = prompt.applied ?? prompt.wanted ?? now;
  const waiting = prompt.state === "sent" || prompt.state === "received";
  context.strokeStyle = context.fillStyle = colour(prompt.applied !== undefined ? "good" : waiting ? "accent" : "faint");
  context.lineWidth = 2;
  context.beginPath();
  context.moveTo(asked, y);
  context.lineTo(x(end), y);
  context.stroke();
  context.beginPath();
  context.arc(asked, y, 3.5, 0, 7);
  context.stroke();
  context.beginPath();
  if (prompt.applied !== undefined) {
    context.arc(x(end), y, 4, 0, 7);
    context.fill();
  } else if (waiting) {
    const at = x(end);
    context.moveTo(at - 5, y);
    context.lineTo(at, y - 5);
    context.lineTo(at + 5, y);
    context.lineTo(at, y + 5);
    context.closePath();
    context.stroke();
  }
  context.fillStyle = colour("ink");
  const text = prompt.prompt.length > 34 ? `${prompt.prompt.slice(0, 33)}…` : prompt.prompt;
  const from = Math.max(0, Math.max(asked, x(end)) + 9);
  const fits = from + context.measureText(text).width < width;
  context.textAlign = fits ? "left" : "right";
  context.fillText(text, fits ? from : Math.min(asked, x(end)) - 9, y);
}

// The last 45 seconds and the next 15, or as far ahead as prompts are queued.
export function timeline(canvas, prompts, now) {
  const room = begin(canvas);
  if (!room) return;
  const { context, width, height } = room;
  const waiting = prompts.filter((p) => p.state === "sent" || p.state === "received");
  const ahead = Math.max(15, ...waiting.map((p) => (p.wanted ?? now) - now + 5));
  const from = now - Math.max(45, ahead), to = now + ahead;
  const x = (time) => ((Math.max(from, Math.min(to, time)) - from) / (to - from)) * width;
  context.strokeStyle = colour("line");
  context.fillStyle = colour("faint");
  const every = [5, 10, 15, 30, 60, 300, 600, 3600, 21600].find((s) => ((to - from) / s) * 46 < width) || 86400;
  context.textAlign = "center";
  for (let offset = Math.ceil((from - now) / every) * every; now + offset < to; offset += every) {
    const tick = now + offset;
    context.beginPath();
    context.moveTo(x(tick), 0);
    context.lineTo(x(tick), height - 14);
    context.stroke();
    if (x(tick) > 14 && x(tick) < width - 14) {
      context.fillText(offset === 0 ? "now" : `${offset > 0 ? "+" : "−"}${Math.abs(offset)} s`, x(tick), height - 6);
    }
  }
  context.strokeStyle = colour("warn");
  context.beginPath();
  context.moveTo(x(now), 0);
  context.lineTo(x(now), height - 14);
  context.stroke();
  const shown = prompts.filter((p) => (p.applied ?? p.wanted ?? p.asked) >= from && p.state !== "lost").slice(-6);
  shown.forEach((prompt, index) => drawPrompt(context, prompt, x, 10 + index * 16, now, width));
}
