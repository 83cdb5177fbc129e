// SPDX-License-Identifier: LGPL-2.1-or-later
// The page: one WebSocket, the forms, the figures. plots.js draws, picture.js shows the video, input.js is about what is repainted.
import * as plots from "./plots.js";
import { InputPanel } from "./input.js";
import { Picture } from "./picture.js";

const $ = (id) => document.getElementById(id);
const state = { stats: null, statsAt: 0, chunks: [], prompts: [], open: false };
const chunksKept = 240, silence = 8000; // milliseconds without a message, after which the server counts as out of reach
let socket = null, heardAt = 0, delay = 500, attempt = 0, retry = 0, dirty = true, thresholdTimer = 0, holdThreshold = 0;

const token = () => new URLSearchParams(location.hash.slice(1)).get("token") || "";
const picture = new Picture($("video"), send, (text) => {
  $("curtain").textContent = text;
  $("curtain").hidden = text === "";
});

const input = new InputPanel(send, notice, ask, () => picture.beyondLoopback);

function ask(path) {
  return fetch(path, { headers: token() ? { Authorization: `Bearer ${token()}` } : {}, signal: AbortSignal.timeout(silence) });
}

function send(message) {
  if (socket && socket.readyState === WebSocket.OPEN) socket.send(JSON.stringify(message));
}

function notice(level, text) {
  $("notice").dataset.level = level;
  $("notice").textContent = text;
}

function link(how, text) {
  $("link").dataset.state = how;
  $("link").textContent = text;
}

async function connect() {
  clearTimeout(retry);
  const mine = ++attempt;
  // A WebSocket does not say why it was refused, but this request does.
  const answer = await ask("api/stats").catch(() => null);
  if (mine !== attempt) return; // another has begun
  if (answer && answer.status === 401) {
    link("bad", "token wanted");
    $("ask-token").showModal();
    return;
  }
  if (answer && !answer.ok) {
    const { error } = await answer.json().catch(() => ({}));
    lost("refused", error || `the server answers ${answer.status}`);
    return;
  }
  const url = new URL("ws", location); // beside the page, wherever a proxy has it
  url.protocol = location.protocol.replace("http", "ws");
  if (token()) url.search = `?token=${encodeURIComponent(token())}`;
  const opening = (socket = new WebSocket(url));
  let open = false;
  heardAt = performance.now();
  socket.onopen = () => {
    open = true;
    delay = 500;
    link("good", "live");
    picture.watch($("codec").value);
  };
  socket.onmessage = ({ data }) => heard(JSON.parse(data));
  socket.onclose = ({ reason }) => {
    if (socket !== opening) return;
    const unopened = answer && !open ? "the server answers, but no WebSocket comes through: a proxy in between has to pass it on" : "";
    lost(reason || "disconnected", unopened);
  };
}

function lost(why, more) {
  if (socket) socket.onclose = socket.onmessage = null;
  socket = null;
  picture.stop();
  input.refused("no connection to the server");
  link("bad", why);
  $("curtain").hidden = false;
  $("curtain").textContent = `${more || "no connection"}; trying again`;
  clearTimeout(retry);
  retry = setTimeout(connect, delay);
  delay = Math.min(8000, delay * 2);
}

// Tries again at once when the machine wakes up, the page is shown again or the network is back.
function awake() {
  if (document.hidden || $("ask-token").open) return;
  if (socket) checkSilence();
  else connect();
}

// A cut network does not close the WebSocket. The server sends figures twice a second: when they stay away, it is lost.
function checkSilence() {
  if (!socket || performance.now() - heardAt < silence) return;
  socket.close();
  lost("out of reach");
}

const heardOf = {
  hello(message) {
    state.chunks = message.chunks;
    state.prompts = message.prompts;
    heardOf.stats(message.stats);
    listPrompts();
  },
  stats(message) {
    state.stats = message;
    state.statsAt = performance.now();
    showStats();
  },
  chunk(message) {
    state.chunks.push(message);
    if (state.chunks.length > chunksKept) state.chunks.shift();
  },
  prompt(message) {
    // There is one record for each ticket. A prompt from this page has no ticket until its receipt comes.
    const same = (p) => p.asked === message.asked && p.prompt === message.prompt;
    const index = state.prompts.findIndex(same);
    if (index < 0) state.prompts.push(message);
    else state.prompts[index] = message;
    if (state.prompts.length > 100) state.prompts.shift();
    if (message.unknown_words) notice("warning", `“${message.unknown_words}” has no effect: the model does not know it, or takes in no more words`);
    listPrompts();
  },
  strength(message) {
    if (!state.stats.input) return;
    state.stats.input.strength_shown = message;
    input.show(state.stats.input);
  },
  camera: (message) => input.heard(message),
  offer: (message) => picture.offered(message).catch((error) => notice("error", `no picture: ${error.message}`)),
  candidate: (message) => picture.candidate(message),
  viewer(message) {
    if (message.state === "failed") {
      notice("warning", message.reason || "the connection failed");
      picture.again(message.reason);
    }
  },
  notice: (message) => input.knows() || notice(message.level, message.text),
  reply(message) {
    if (message.status < 400) return;
    notice("error", message.error);
    if (message.to === "share") input.refused("");
    if (message.to === "watch" || message.to === "answer") picture.again(message.error, true);
  },
};

function heard(message) {
  heardAt = performance.now();
  const handler = message.of === "camera" ? heardOf.camera : heardOf[message.type];
  if (handler) handler(message);
  dirty = true;
}

const bytes = (n) => (n < 1e6 ? `${(n / 1e3).toFixed(0)} kB` : n < 1e9 ? `${(n / 1e6).toFixed(1)} MB` : `${(n / 1e9).toFixed(2)} GB`);
const percent = (part, all) => (all > 0 ? `${Math.round((100 * part) / all)} %` : "–");

function showStats() {
  input.show(state.stats.input);
  const { stream, viewers, outputs, deadline_ms: deadline, policy } = state.stats;
  $("fps").textContent = stream.fps ? `${stream.fps.toFixed(1)} of ${stream.native_fps}` : "–";
  $("chunk-ms").textContent = stream.chunks ? `${Math.round(stream.chunk_ms_p50)} · ${Math.round(stream.chunk_ms_p99)} ms` : "–";
  $("reused").textContent = percent(stream.steps_reused, stream.steps_reused + stream.steps_computed);
  $("underruns").textContent = String(stream.underruns);
  $("viewers").textContent = `${viewers.connected} of ${viewers.most}`;
  $("time-note").textContent = deadline ? `a chunk plays ${Math.round(deadline)} ms: that is its deadline` : "";
  $("kv-note").textContent = `${bytes(stream.kv_bytes)} of ${bytes(stream.kv_budget)}`;
  if (performance.now() > holdThreshold && document.activeElement !== $("threshold")) {
    $("threshold").value = stream.cache_threshold;
    $("threshold-value").textContent = stream.cache_threshold.toFixed(2);
  }
  if (document.activeElement !== $("policy") && !$("policy").dataset.edited) $("policy").value = policy;
  $("policy-set").disabled = state.stats.changing_policy;
  $("outputs").textContent = outputs
    .map((o) => `${o.name} → ${o.to}: ${o.state}${o.reason ? ` (${o.reason})` : `, ${o.frames} frames`}`)
    .join("\n");
}

const clock = (time) => `${Math.floor(time / 60)}:${String(Math.floor(time % 60)).padStart(2, "0")}`;

function receipt(p) {
  const late = p.applied !== undefined ? p.applied - (p.wanted ?? p.asked) : 0;
  if (p.state === "applied") return `chunk ${p.chunk} at ${clock(p.applied)}, ${late >= 0 ? "+" : "−"}${Math.abs(late).toFixed(2)} s`;
  if (p.state === "received" || p.state === "sent") return p.wanted ? `queued for ${clock(p.wanted)}` : "taken up";
  return p.state;
}

function listPrompts() {
  const items = state.prompts.slice(-5).reverse().map((p) => {
    const item = document.createElement("li"), text = document.createElement("span"), note = document.createElement("span");
    item.className = p.state;
    text.textContent = p.prompt;
    text.title = p.prompt;
    note.textContent = receipt(p);
    item.append(text, note);
    return item;
  });
  $("prompts").replaceChildren(...items);
  const showing = state.prompts.filter((p) => p.applied !== undefined).sort((a, b) => a.applied - b.applied).pop();
  $("now-showing").textContent = showing ? showing.prompt : "";
}

function draw() {
  if (dirty && !document.hidden) {
    dirty = false;
    const now = state.stats ? state.stats.running_time + (performance.now() - state.statsAt) / 1000 : 0;
    plots.timeline($("timeline"), state.prompts, now);
    plots.chunkTime($("chunk-time"), state.chunks, state.stats && state.stats.deadline_ms);
    plots.decisions($("decisions"), state.chunks);
    plots.keysAndValues($("kv"), state.chunks);
  }
  requestAnimationFrame(draw);
}

async function showFacts() {
  const facts = await picture.facts().catch(() => null);
  $("picture-facts").textContent = facts && facts.width
    ? `${facts.width}×${facts.height}, ${Math.round(facts.framesPerSecond || 0)} fps` : "";
  document.body.dataset.frames = facts ? facts.framesDecoded : 0; // for tests
}

function changeThreshold(value) {
  $("threshold-value").textContent = value < 0 ? "default" : Number(value).toFixed(2);
  holdThreshold = performance.now() + 1500;
  clearTimeout(thresholdTimer);
  thresholdTimer = setTimeout(() => send({ type: "settings", cache_threshold: Number(value) }), 80);
}

function startOver() {
  const seed = $("seed").value;
  send(seed === "" ? { type: "reset" } : { type: "reset", seed: Number(seed) });
  notice("info", "starting over");
}

$("prompt-form").addEventListener("submit", (event) => {
  event.preventDefault();
  const message = { type: "prompt", prompt: $("prompt").value };
  if ($("recache").checked) message.transition = "recache";
  else message.blend_chunks = Number($("blend").value);
  if (Number($("delay").value) > 0) message.in = Number($("delay").value);
  notice("info", "");
  send(message);
  $("prompt").select();
});
$("threshold").addEventListener("input", () => changeThreshold($("threshold").value));
$("threshold-default").addEventListener("click", () => changeThreshold(-1));
$("policy").addEventListener("input", () => ($("policy").dataset.edited = "1"));
$("policy").addEventListener("keydown", (event) => event.key === "Enter" && $("policy-set").click());
$("policy-set").addEventListener("click", () => {
  delete $("policy").dataset.edited;
  send({ type: "settings", cache: $("policy").value.trim() });
  notice("info", "the source starts anew with this policy");
});
$("reset").addEventListener("click", startOver);
$("codec").addEventListener("change", () => picture.watch($("codec").value));
$("fullscreen").addEventListener("click", () => $("video").requestFullscreen());
$("ask-token").addEventListener("close", () => {
  location.hash = `token=${encodeURIComponent($("token").value)}`;
  connect();
});
document.addEventListener("keydown", (event) => {
  const typing = event.target.matches("input, select, textarea");
  if (event.key === "Escape" && typing) event.target.blur();
  if (typing || event.ctrlKey || event.metaKey || event.altKey) return;
  const step = { "[": -0.05, "]": 0.05 }[event.key];
  if (event.key === "/") $("prompt").focus();
  else if (event.key === "r") startOver();
  else if (event.key === "f") $("video").requestFullscreen();
  else if (step) changeThreshold(($("threshold").value = Math.max(0, Number($("threshold").value) + step)));
  else return;
  event.preventDefault();
});
document.addEventListener("visibilitychange", awake);
document.addEventListener("resume", awake);
window.addEventListener("pageshow", ({ persisted }) => persisted && awake());
window.addEventListener("online", awake);
window.addEventListener("resize", () => (dirty = true));
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => (dirty = true));
window.picture = picture; // these two for tests and the curious
window.input = input;
setInterval(showFacts, 1000);
setInterval(checkSilence, 1000);
connect();
draw();
