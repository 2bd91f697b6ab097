// What volunteers measured and provoked, and what people found by hand.

import { count, el, figure, fill, table, when } from "./dom.js";

export function drawTrials(trials) {
  fill("trials-body", going(trials.open), ...[measured(trials.ended)].flat(), findings(trials));
}

function going(open) {
  if (!open.length) return null;
  const rows = open.map((it) => [it.id, it.suite, count(it.round), `${count(it.settled)} of ${count(it.units)}`, when(it.since)]);
  return table("Campaigns that go on; each unit is computed twice and compared: swarm join INVITE --work trials", [["Campaign", false], ["Suite", false], ["Round", true], ["Units settled", true], ["Since", false]], rows);
}

function measured(ended) {
  const rows = ended.flatMap((it) => it.figures.map((one) => [it.id, it.suite, count(it.round), one.metric, figure(one.value, 4), count(one.samples), count(one.answers)]));
  const lost = ended.filter((it) => it.failed.length).map((it) => el("p", { class: "note" }, `${it.id}, not resisted: ${it.failed.join(", ")}`));
  const none = el("p", { class: "note" }, "No campaign has ended with a figure yet.");
  if (!rows.length) return none;
  return [table("What campaigns found, and how many members found the same", [["Campaign", false], ["Suite", false], ["Round", true], ["Figure", false], ["Value", true], ["Items", true], ["Answers", true]], rows), ...lost];
}

function findings(trials) {
  const how = (it) => (it.hidden_until ? ["told on ", when(it.hidden_until)] : "told");
  const rows = trials.findings.map((it) => [it.id, el("span", { class: "chip" }, it.severity), it.state, `${it.category}: ${it.title}`, when(it.at), how(it)]);
  if (!rows.length) return el("p", { class: "note" }, "Nobody has reported anything yet. Found something? swarm redteam report INVITE");
  const caption = trials.findings_ever > rows.length ? `${count(trials.findings_ever)} findings; the newest ${count(rows.length)} are shown` : "What people found by hand; swarm redteam findings INVITE tells how, and proves that none is missing";
  return table(caption, [["Finding", false], ["Severity", false], ["State", false], ["What", false], ["Reported", false], ["How", false]], rows);
}
