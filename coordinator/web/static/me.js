// A volunteer's own part. The word that proves whose it is comes in the link's fragment, which no server sees, and is
// kept for this tab only.

import { byId, count, duration, el, figure, table } from "./dom.js";

const KEPT = "swarm-word", EVERY_MS = 20_000;
let watts = 200;

export function showMe() {
  const said = new URLSearchParams(location.hash.slice(1)).get("me");
  if (said) {
    sessionStorage.setItem(KEPT, said);
    history.replaceState(null, "", location.pathname);
  }
  const word = sessionStorage.getItem(KEPT);
  if (!word) return;
  byId("me").hidden = false;
  ask(word);
}

async function ask(word) {
  let again = true;
  try {
    const answer = await fetch("/api/me", { headers: { authorization: `Bearer ${word}` } });
    const found = await answer.json();
    again = answer.ok || answer.status === 429;
    if (answer.ok) draw(found);
    else if (!again) refuse(found);
  } catch { /* the banner says that the coordinator is silent */ }
  if (again) setTimeout(() => ask(word), EVERY_MS);
}

function refuse({ what, remedy }) {
  sessionStorage.removeItem(KEPT);
  byId("me").replaceChildren(title("Your part"), el("p", { class: "error", role: "alert" }, `${what} ${remedy}`));
}

const title = (text) => el("h2", { id: "me-title" }, text);

const states = { counted: "counted", rejected: "rejected", expired: "not counted" };

function draw(me) {
  const kwh = (hours) => (hours * watts < 1000 ? `${figure(hours * watts)} Wh` : `${figure((hours * watts) / 1000)} kWh`);
  const energy = el("dd", { id: "energy" }, kwh(me.hours));
  const field = el("input", { type: "number", min: 1, max: 5000, value: watts, id: "watts", oninput: (event) => {
    watts = Number(event.target.value) || 0;
    energy.textContent = kwh(me.hours);
  } });
  const tiles = [
    ["Counted", count(me.counted), "samples"], ["Pending", count(me.pending), "samples lent to you now"], ["Rejected", count(me.rejected), "samples; why is below"],
    ["Rounds", count(me.rounds), "that you took part in"], ["Nights", count(me.nights), "noon to noon, UTC"], ["Time", duration(me.hours * 3600), "of work in rounds"],
  ].map(([name, value, small]) => el("div", {}, el("dt", {}, name), el("dd", {}, value, el("small", {}, small))));
  tiles.push(el("div", {}, el("dt", {}, "Energy, an estimate"), energy));
  const rows = me.lines.map(([round, state, samples, why]) => [count(round), states[state] ?? state, count(samples), why || ""]);
  const lines = rows.length ? table("What the ledger says of your samples, the latest rounds first", [["Round", true], ["State", false], ["Samples", true], ["Why", false]], rows) : el("p", { class: "note" }, "None of your samples is in the ledger yet.");
  const focused = document.activeElement?.id === "watts";
  byId("me").replaceChildren(
    title(`Your part, ${me.name}`),
    me.banned ? el("p", { class: "error" }, `You are banned from this run: ${me.banned}.`) : "",
    el("p", {}, me.badges.map((name) => el("span", { class: "chip" }, name))),
    el("dl", { class: "tiles" }, tiles),
    el("form", { onsubmit: (event) => event.preventDefault() }, el("label", {}, "Watts that your machine draws while it trains", field)),
    el("p", { class: "note" }, "The energy is an estimate: hours of work times those watts, a number of yours that is neither measured here nor sent anywhere. “swarm join” shows what the graphics card itself says."),
    el("ul", {}, me.seats.map(seat)),
    lines,
    el("p", { class: "note" }, "The coordinator’s signed receipt for each of these rounds is on your machine: swarm receipts show RUN."),
  );
  if (focused) byId("watts").focus();
}

function seat(it) {
  const doing = it.live ? `is here: ${it.phase}${it.why ? `, ${it.why}` : ""}` : `is away${it.why ? `: ${it.why}` : ""}`;
  const weighs = it.probation ? `; its updates weigh nothing yet: ${it.probation}` : it.share < 1 ? `; each of its samples weighs ${Math.round(it.share * 100)} % of a full one` : "";
  return el("li", {}, el("code", {}, it.id), ` ${doing}${weighs}`);
}
