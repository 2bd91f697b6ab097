// The page of a run: everything at once, then news as they come, or by asking where events do not get through.

import { bars, curve } from "./charts.js";
import { byId, bytes, clock, count, duration, el, figure, fill, table, when } from "./dom.js";
import { showMe } from "./me.js";
import { showMaintaining } from "./maintain.js";
import { drawTrials } from "./trials.js";

const SILENT_MS = 20_000;  // without a word before the reader is told; the coordinator speaks every 15 s at least
const DULL_MS = 17_000;  // without a word: events do not get through, so ask
const POLL_MS = 5_000, REFRESH_MS = 30_000, HURRY_MS = 4_000, ASK_MS = 8_000, AGAIN_MS = 60_000;

let run = null;       // all that was loaded
let heard = 0;        // when the coordinator was heard last, by this machine's clock
let asked = 0;        // when everything was asked for last
let broken = false;   // the last try failed
let live = null;      // the stream of news
let listened = 0;     // when it was opened last

async function load() {
  asked = Date.now();
  try {
    const answer = await fetch("/api/run", { signal: AbortSignal.timeout(ASK_MS) });
    if (!answer.ok) throw new Error(String(answer.status));
    run = await answer.json();
    hear();
    draw();
  } catch {
    broken = true;
    silence();
  }
}

function hear() {
  heard = Date.now();
  broken = false;
  silence();
}

// A reader that missed rounds, or something else that changed, asks for everything, but not all readers at once.
function news(message) {
  const found = JSON.parse(message.data);
  hear();
  if (!run) return;
  const newest = run.rounds.length ? run.rounds.at(-1)[0] : -1;
  const fresh = found.rounds.filter((round) => round[0] > newest);
  const gap = fresh.length && newest >= 0 && fresh[0][0] > newest + 1;
  const changed = JSON.stringify(found.seen) !== JSON.stringify(run.now.seen) || found.round < run.now.round;
  run.now = found;
  run.rounds = [...run.rounds, ...fresh].slice(-60);
  for (const round of fresh) append(run.curves, round);
  drawNow();
  if (fresh.length) drawCurves();
  if (gap || changed) hurry();
}

let hurrying = 0;
function hurry() {
  clearTimeout(hurrying);
  hurrying = setTimeout(load, Math.max(0, asked + HURRY_MS - Date.now()) + Math.random() * 1000);
}

function append(curves, [round, at, loss, samples, members, , exchange, sent, received]) {
  const values = { round, at, rounds: 1, loss, low: loss, high: loss, samples, members, exchange, sent, received };
  for (const [name, value] of Object.entries(values)) curves[name].push(value);
}

function listen() {
  listened = Date.now();
  if (!window.EventSource) return;
  live = new EventSource("/api/events");
  live.onmessage = news;
  live.onerror = () => { broken = true; if (live.readyState === EventSource.CLOSED) live = null; silence(); };
}

// Every second: is the coordinator there? Where no events come, or it is time, ask.
function watch() {
  const since = Date.now() - Math.max(heard, asked), dull = broken || !live || Date.now() - heard > DULL_MS;
  if (since > (dull ? POLL_MS : REFRESH_MS)) load();
  if (!live && Date.now() - listened > AGAIN_MS) listen();
  silence();
}

function silence() {
  const quiet = Date.now() - heard > SILENT_MS || (broken && Date.now() - heard > 3000);
  const banner = byId("silence");
  banner.hidden = !quiet;
  if (!quiet) return;
  const since = heard ? `since ${clock(heard / 1000)}` : "yet";
  const text = `No word from the coordinator ${since}; training goes on without it. This page shows what was known then, and tries again by itself.`;
  if (banner.textContent !== text) banner.textContent = text;
}

function draw() {
  drawWhat();
  drawNow();
  drawCurves();
  drawPeople();
  drawStates();
  drawTexts();
  drawJoin();
  drawTrials(run.trials);
  drawDecisions();
}

function drawWhat() {
  const { title, description, maintainer, model, method, data, mode, license } = run.run;
  document.title = `${title} · Garage Swarm`;
  byId("title").textContent = title;
  byId("description").textContent = description;
  const how = method === "full" ? "all weights are trained" : `adapters (${method}) are trained`;
  const when_ = mode === "local" ? "many steps between two exchanges" : "one exchange for each step";
  const parts = [`Model: ${model}, ${how}`, `data: ${data}`, `${mode} mode: ${when_}`, license && `licence of the result: ${license}`, maintainer && `maintainer: ${maintainer}`];
  byId("facts").textContent = parts.filter(Boolean).join(" · ");
}

function drawNow() {
  const now = run.now, last = run.rounds.at(-1);
  byId("progress").value = now.round / now.total_rounds;
  byId("progress-text").textContent = `Round ${count(now.round)} of ${count(now.total_rounds)}${left(now)}`;
  const heldout = now.heldout ? [figure(now.heldout[1]), `held-out loss, round ${count(now.heldout[0])}`] : ["–", "held-out loss"];
  const traffic = run.curves.sent.reduce((sum, value) => sum + value, 0);
  const tiles = [
    ["Taking part now", count(now.members), now.members === 1 ? "machine" : "machines"],
    ["Throughput", figure(now.rate), "samples a second"],
    ["Trained on", count(now.global_samples), `samples; epoch ${count(now.epoch + 1)}, ${Math.round(now.epoch_fraction * 100)}\u00a0%`],
    ["Loss", last ? figure(last[2]) : "–", last ? `of round ${count(last[0])}` : "in training"],
    ["On unseen text", ...heldout],
    ["Sent by members", bytes(traffic), last ? `${bytes(last[7])} in the last round` : "no round yet"],
  ];
  fill("tiles", tiles.map(([name, value, small]) => el("div", {}, el("dt", {}, name), el("dd", {}, value, el("small", {}, small)))));
  const state = now.moved ? "This run is led from another machine now; this page shows what was known here." : now.halted ? `The run was stopped: ${now.halted}.` : now.steered ? sentence(now.steered) : now.finished ? "The run is finished. Thank you to everybody who took part." : now.stuck ? `No round can be made now: ${now.stuck}.` : "";
  byId("state").hidden = !state;
  if (byId("state").textContent !== state) byId("state").textContent = state;
}

const sentence = (text) => `${text[0].toUpperCase()}${text.slice(1)}.`;

// How long it will take at the pace of the last rounds.
function left(now) {
  const rounds = run.rounds.slice(-20);
  if (now.finished || rounds.length < 3) return "";
  const pace = (rounds.at(-1)[1] - rounds[0][1]) / (rounds.at(-1)[0] - rounds[0][0]);
  return pace > 0 ? `, about ${duration(pace * (now.total_rounds - now.round))} left at this pace` : "";
}

function drawCurves() {
  const c = run.curves, xs = c.round;
  const perSecond = xs.map((_, at) => (at && c.at[at] > c.at[at - 1] ? c.samples[at] / (c.at[at] - c.at[at - 1]) : null));
  const each = c.sent.map((value, at) => value / c.rounds[at]);
  const loss = { name: "in training", y: c.loss, low: c.low, high: c.high, say: (value) => figure(value, 4) };
  curve(byId("chart-loss"), { title: "Loss by round (lower is better)", xs, one: loss, dots: run.heldout, dotted: "held out" });
  curve(byId("chart-rate"), { title: "Samples a second", xs, floor: true, one: { name: "samples a second", y: perSecond, say: figure } });
  curve(byId("chart-members"), { title: "Machines in a round", xs, floor: true, one: { name: "machines", y: c.members, say: figure } });
  curve(byId("chart-bytes"), { title: "Sent in a round, by all together", xs, floor: true, one: { name: "sent", y: each, say: bytes } });
  bars(byId("chart-rounds"), "The last rounds", run.rounds, ["computing", "exchange"]);
}

function drawPeople() {
  const badges = (names) => names.map((name) => el("span", { class: "chip" }, name));
  const leaders = run.leaders.map((who, at) => [String(at + 1), who.name, count(who.counted), duration(who.hours * 3600), badges(who.badges)]);
  const columns = [["No.", true], ["Volunteer", false], ["Samples that counted", true], ["Time", true], ["Badges", false]];
  fill("leaders", leaders.length ? table("Volunteers by samples that counted, in all their machines together", columns, leaders) : el("p", { class: "note" }, "Nobody’s samples have counted yet."));
  const phase = (who) => el("span", { class: who.live ? "here" : "gone" }, who.live ? who.phase || "here" : "away");
  const rows = run.members.map((who) => [el("span", { title: `key ${who.key}` }, who.name), phase(who), who.live ? figure(who.rate) : "", count(who.counted)]);
  const caption = run.members_ever > rows.length ? `${count(run.members_ever)} took part; the first ${count(rows.length)} are shown` : "By the names that they chose";
  fill("members", rows.length ? table(caption, [["Name", false], ["Doing", false], ["Samples/s", true], ["Counted", true]], rows) : el("p", { class: "note" }, "Nobody has joined yet."));
}

function drawStates() {
  const approved = (it) => el("span", { class: "chip", title: it.approved_why || null }, "approved");
  const kept = run.checkpoints.map((it) => [el("span", {}, it.approved && approved(it), count(it.round)), bytes(it.size), el("code", { title: it.digest }, it.digest.slice(0, 16)), when(it.created_at), it.by || "the maintainer"]);
  fill("checkpoints", table("States that are kept; whoever finished the same round holds the same digest", [["Round", true], ["Size", true], ["Digest", false], ["Kept", false], ["From", false]], kept));
  const found = run.evaluations.map((it) => [count(it.round), figure(it.heldout_loss, 4), Object.entries(it.metrics).map(([name, value]) => `${name} ${figure(value)}`).join(", ") || "–", it.evaluated_by || "–"]);
  fill("evaluations", found.length ? table("Measured on samples that are never trained on", [["Round", true], ["Loss", true], ["More", false], ["Measured by", false]], found) : el("p", { class: "note" }, "Nothing has been measured on held-out samples yet."));
}

// An evaluation may bring texts that the model wrote: {prompt, text} each.
function drawTexts() {
  const found = run.evaluations.filter((it) => it.samples?.length);
  byId("texts").hidden = !found.length;
  const shown = found.slice(0, 5).map((it) => [el("h3", {}, `After round ${count(it.round)}`), ...it.samples.map((text) => el("p", { class: "sample" }, el("b", {}, text.prompt ?? ""), text.text ?? text.completion ?? ""))]);
  fill("texts-body", shown);
}

function drawJoin() {
  const invite = run.invite || "INVITE";
  const steps = [["Install it, once", "pip install garage-swarm"], ["See whether your machine fits; it takes ten seconds and changes nothing", `swarm doctor '${invite}'`], ["Take part; Ctrl-C leaves at any time", `swarm join '${invite}'`]];
  const list = el("ol", { class: "steps" }, steps.map(([why, command]) => el("li", {}, why, el("pre", {}, el("code", {}, command)))));
  const open = run.invite
    ? [el("p", {}, "This run is open: its invite is in the commands, and as a picture for a phone."), list, el("img", { class: "qr", src: "/invite.svg", alt: "The invite as a QR code", width: 208, height: 208 })]
    : [el("p", {}, `Ask the maintainer${run.run.maintainer ? ` (${run.run.maintainer})` : ""} for an invite, and put it where the commands say INVITE.`), list];
  fill("join-body", open, el("p", { class: "note" }, "You need Linux, macOS or WSL2, Python 3.11 or newer, and no account. What you let it use, and when it may run, is up to you: swarm config."));
}

function drawDecisions() {
  const lines = run.decisions.map(([at, text]) => el("li", {}, when(at), " ", text));
  fill("decisions", lines.length ? el("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": "Decisions of the coordinator" }, el("ol", { class: "log" }, lines)) : el("p", { class: "note" }, "Nothing was decided yet."));
}

let resizing = 0;
window.addEventListener("resize", () => { clearTimeout(resizing); resizing = setTimeout(() => run && drawCurves(), 150); });

await load();
listen();
setInterval(watch, 1000);
showMe();
showMaintaining();
