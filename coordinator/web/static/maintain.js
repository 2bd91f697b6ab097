// For maintainers: who takes part and how far each is trusted, and what may be done. Every action is one of the calls
// that the command line makes, and the coordinator writes it into its audit log.

import { byId, count, el, figure, table, when } from "./dom.js";

const EVERY_MS = 15_000;
const COURSES = [["Pause the run", "paused", "why"], ["Let it go on", "on", "why?"], ["Finish the run now", "finished", "why"]];

let csrf = "", begins = "", timer = 0;

export async function showMaintaining() {
  const answer = await fetch("/api/session").catch(() => null);
  const session = answer?.ok ? await answer.json() : null;
  if (session?.csrf) await enter(session);
  else drawLogin();
}

async function enter(session) {
  ({ csrf, begins } = session);
  await refresh();
}

function drawLogin(why = "") {
  clearTimeout(timer);
  const field = el("input", { type: "password", class: "long", id: "maintainer-invite", autocomplete: "off", required: true });
  const form = el("form", { onsubmit: (event) => { event.preventDefault(); login(field.value); } }, el("label", {}, "A maintainer’s invite", field), el("button", {}, "Log in"));
  byId("maintain").replaceChildren(
    el("details", { open: Boolean(why) }, el("summary", {}, "Log in"), form,
      el("p", { class: "error", role: "alert", id: "maintain-error" }, why),
      el("p", { class: "note" }, "On the coordinator’s machine it is the file maintainer-invite in the run’s folder; swarm invite new --role maintainer makes another. It is kept nowhere in this browser.")),
  );
}

async function login(invite) {
  const answer = await post("/api/login", { invite });
  if (answer.ok) await enter(answer.found);
  else drawLogin(`${answer.found.what} ${answer.found.remedy}`);
}

async function post(path, values) {
  try {
    const answer = await fetch(path, { method: "POST", headers: { "content-type": "application/json", "x-csrf-token": csrf }, body: JSON.stringify(values) });
    return { ok: answer.ok, status: answer.status, found: await answer.json() };
  } catch {
    return { ok: false, status: 0, found: { what: "The coordinator did not answer.", remedy: "Try again." } };
  }
}

const call = (name, values = {}) => post(`/api/maintain/${name}`, values);

async function refresh() {
  clearTimeout(timer);
  const checkpoints = fetch("/api/run").then((answer) => answer.json()).then((run) => run.checkpoints, () => []);
  const [peers, invites, kept] = await Promise.all([call("ListPeers"), call("ListInvites"), checkpoints]);
  if (peers.status === 401 || peers.status === 403) return drawLogin(`${peers.found.what} ${peers.found.remedy}`);
  if (peers.ok && invites.ok && !document.querySelector("#maintain dialog[open], #maintain input:focus, #maintain select:focus")) draw(peers.found.peers, invites.found.invites, kept);
  timer = setTimeout(refresh, EVERY_MS);
}

function draw(peers, invites, checkpoints) {
  const said = byId("maintain-error")?.textContent ?? "";
  byId("maintain").replaceChildren(
    el("form", { onsubmit: (event) => event.preventDefault() }, COURSES.map(([label, course, asks]) => action(label, "SteerRun", { course }, asks)),
      el("button", { class: "quiet", type: "button", onclick: leave }, "Log out")),
    el("p", { class: "error", role: "alert", id: "maintain-error" }, said),
    el("h3", {}, "Members"),
    table("Everybody who ever took part", [["Member", false], ["Rounds", true], ["Counted", true], ["Rejected", false], ["State", false], ["Trust", false], ["Came with", false], ["Actions", false]], peers.map(peer)),
    el("h3", {}, "Checkpoints"),
    table("An approved one is kept for good", [["Round", true], ["Digest", false], ["Actions", false]], checkpoints.map(checkpoint)),
    el("h3", {}, "Invites"),
    inviteForm(),
    table("All invites of the run", [["Id", false], ["For a", false], ["State", false], ["Members", true], ["Note", false], ["Actions", false]], invites.map(invited)),
    el("h3", {}, "Another coordinator"),
    handOverForm(),
  );
}

function peer(it) {
  const state = it.banned_at ? `banned: ${it.banned_why}` : it.live ? "here" : `away${it.why ? `: ${it.why}` : ""}`;
  const checks = it.trust?.checks ? `, ${it.trust.clean} of ${it.trust.checks} checks clean in a row` : "";
  const trusted = Boolean(it.trust?.trusted_by), weighs = `weighs ${figure(it.share * 100)} %${checks}${trusted ? ", trusted" : ""}${it.probation ? `; ${it.probation}` : ""}`;
  const buttons = [
    it.banned_at ? action("Let in again", "Unban", { member: it.member_id }) : action("Ban", "Ban", { member: it.member_id }, "why", "bad"),
    trusted ? action("Trust no more", "Trust", { member: it.member_id, revoke: true }) : action("Trust", "Trust", { member: it.member_id }, "why?"),
  ];
  const name = el("span", {}, it.name, el("br"), el("code", {}, it.member_id));
  return [name, count(it.rounds), count(it.counted_samples), `${count(it.rejected_samples)}${it.rejected_why ? `: ${it.rejected_why}` : ""}`, state, weighs, `${it.role} ${it.invite}${it.invite_note ? ` (${it.invite_note})` : ""}`, el("span", {}, buttons)];
}

function checkpoint(it) {
  const button = it.approved ? action("Approve no more", "ApproveCheckpoint", { round: it.round, revoke: true }) : action("Approve", "ApproveCheckpoint", { round: it.round }, "why?");
  return [count(it.round), el("code", {}, it.digest.slice(0, 16)), button];
}

function invited(it) {
  const state = Number(it.revoked_at) ? "revoked" : Number(it.expires_at) ? el("span", {}, it.expires_at * 1000 < Date.now() ? "expired " : "until ", when(it.expires_at)) : "valid without an end";
  const of = Number(it.slots) ? ` of ${it.slots}` : "";
  return [el("code", {}, it.id), it.role, state, `${count(it.members)}${of}`, it.note, Number(it.revoked_at) ? "" : action("Revoke", "RevokeInvite", { id: it.id }, "Who came with it is out within seconds.", "bad")];
}

function inviteForm() {
  const role = el("select", {}, ["volunteer", "validator", "maintainer"].map((name) => el("option", {}, name)));
  const days = el("input", { type: "number", min: 0, max: 3650, value: 7, step: "any" }), note = el("input", { maxlength: 100 });
  const made = el("p", { class: "note", "aria-live": "polite" });
  const make = async (event) => {
    event.preventDefault();
    const answer = await call("MakeInvite", { role: role.value, days: Number(days.value), note: note.value });
    if (!answer.ok) return fail(answer.found);
    made.replaceChildren("The invite, shown once: ", el("code", {}, `${begins}${answer.found.token}`));
    clearTimeout(timer);
    timer = setTimeout(refresh, 120_000);
    return null;
  };
  return el("div", {}, el("form", { onsubmit: make }, el("label", {}, "For a", role), el("label", {}, "Days, 0 for no end", days), el("label", {}, "Note", note), el("button", {}, "Make an invite")), made);
}

function handOverForm() {
  const host = el("input", { required: true, maxlength: 253, autocomplete: "off" }), port = el("input", { type: "number", min: 1, max: 65535, value: 7700, required: true });
  const button = el("button", { class: "bad" }, "Hand over");
  const sure = (event) => {
    event.preventDefault();
    ask(button, "Hand over", "HandOver", { host: host.value, port: Number(port.value) }, "This coordinator stops leading the run at once; members follow to the new address.");
  };
  return el("form", { onsubmit: sure }, el("label", {}, "Host where it will be led", host), el("label", {}, "Port", port), button);
}

function drawHandedOver({ host, port }) {
  clearTimeout(timer);
  const to = `${host.includes(":") ? `[${host}]` : host}:${port}`;
  byId("maintain").replaceChildren(
    el("p", {}, `The run is not led from here any more, but at ${to} as soon as it is launched there. Leave this coordinator running until all have followed: it tells them the address.`),
    el("p", {}, "Now make the copy that goes there, on this machine; it says the rest: ", el("code", {}, `swarm handover --to ${to} --copy run.tar`)),
  );
}

// A button; `asks`: "why" and "why?" want a reason first, any other sentence a second press.
function action(label, name, values, asks = "", kind = "quiet") {
  return el("button", { class: kind, type: "button", onclick: (event) => (asks ? ask(event.target, label, name, values, asks) : act(name, values)) }, label);
}

function ask(button, label, name, values, asks) {
  const field = asks.startsWith("why") ? el("input", { class: "long", required: asks === "why", maxlength: 200 }) : null;
  const dialog = el("dialog", { "aria-label": label },
    el("form", { onsubmit: (event) => { event.preventDefault(); dialog.remove(); act(name, { ...values, ...(field ? { why: field.value } : {}) }); } },
      field ? el("label", {}, asks === "why" ? "Why? Whom it concerns is told" : "Why? (may stay empty)", field) : el("p", {}, asks),
      el("button", { class: "bad" }, label), el("button", { class: "quiet", type: "button", onclick: () => { dialog.remove(); button.focus(); } }, "Cancel")));
  byId("maintain").append(dialog);
  dialog.showModal();
}

async function act(name, values) {
  const answer = await call(name, values);
  if (answer.ok && name === "HandOver") return drawHandedOver(values);
  fail(answer.ok ? { what: "", remedy: "" } : answer.found);
  return refresh();
}

function fail({ what, remedy }) {
  byId("maintain-error").textContent = `${what} ${remedy}`.trim();
  return null;
}

async function leave() {
  await post("/api/logout", {});
  csrf = "";
  drawLogin();
}
