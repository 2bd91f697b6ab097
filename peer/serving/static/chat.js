// The page: one conversation, kept here and nowhere else. What the model says stays text.

import { answer } from "./api.js";

const byId = (id) => document.getElementById(id);
const STOPPED = { length: "It ended here because an answer may not be longer.", content_filter: "A filter of this model ended this answer." };

let about = {};
let messages = [];
let running = null;

function say(text, error = false) {
  byId("state").textContent = text;
  byId("state").classList.toggle("error", error);
}

function turn(role, text) {
  const whole = document.createElement("div");
  const [who, said] = [document.createElement("b"), document.createElement("p")];
  whole.className = `turn ${role}`;
  who.textContent = role === "user" ? "You" : byId("personality").value || about.title;
  said.textContent = text;
  whole.append(who, said);
  byId("log").append(whole);
  whole.scrollIntoView({ block: "end" });
  return said;
}

function remark(said, text) {
  const why = document.createElement("p");
  why.className = "why";
  why.textContent = text;
  said.after(why);
}

function busy(now) {
  byId("send").disabled = now;
  byId("stop").hidden = !now;
}

async function ask(text) {
  const conversation = messages;
  conversation.push({ role: "user", content: text });
  turn("user", text);
  const said = turn("assistant", "");
  const personality = byId("personality").value;
  const model = personality ? `${about.name}:${personality}` : about.name;
  running = new AbortController();
  busy(true);
  say("Answering …");
  try {
    for await (const part of answer(model, conversation, byId("key").value, running.signal)) {
      said.textContent += part.text;
      if (STOPPED[part.reason]) remark(said, STOPPED[part.reason]);
      said.parentElement.scrollIntoView({ block: "end" });
    }
    say("");
  } catch (error) {
    if (conversation === messages) say(error.name === "AbortError" ? "Stopped." : error.message, error.name !== "AbortError");
  }
  settle(said, conversation);
}

// An answer that never began leaves the question to be sent again.
function settle(said, conversation) {
  const text = said.textContent;
  if (text) conversation.push({ role: "assistant", content: text });
  else if (conversation === messages) {
    byId("text").value ||= conversation.pop().content;
    said.parentElement.previousElementSibling.remove();
    said.parentElement.remove();
  }
  running = null;
  busy(false);
  byId("text").focus();
}

function begin() {
  running?.abort();
  messages = [];
  byId("log").replaceChildren();
  say("");
  byId("text").focus();
}

function agreed() {
  try { return localStorage.getItem("agreed") === about.terms_digest; } catch { return false; }
}

function open(yes) {
  byId("terms").hidden = yes;
  byId("form").hidden = !yes;
}

function agree() {
  try { localStorage.setItem("agreed", about.terms_digest); } catch { /* asked again after a reload */ }
  open(true);
  byId("text").focus();
}

function show() {
  document.title = `${about.title} · Garage Swarm`;
  byId("title").textContent = about.title;
  const plugins = about.plugins.length ? ` It may call: ${about.plugins.join(", ")}.` : "";
  byId("facts").textContent = `${about.name} ${about.version}, ${about.license}.${plugins}`;
  byId("terms-text").replaceChildren(...about.terms.map((line) => Object.assign(document.createElement("p"), { textContent: line })));
  const names = ["", ...about.personalities];
  byId("personality").replaceChildren(...names.map((name) => new Option(name || "the model itself", name)));
  byId("personality-label").hidden = names.length === 1;
  byId("key-label").hidden = !about.needs_key;
  open(!about.terms.length || agreed());
}

byId("form").addEventListener("submit", (event) => {
  event.preventDefault();
  const text = byId("text").value;
  if (!text.trim() || running) return;
  byId("text").value = "";
  ask(text);
});
byId("text").addEventListener("keydown", (event) => {
  if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
  event.preventDefault();
  byId("form").requestSubmit();
});
byId("stop").addEventListener("click", () => running?.abort());
byId("new").addEventListener("click", begin);
byId("agree").addEventListener("click", agree);

try {
  about = await (await fetch("/about")).json();
  show();
} catch {
  say("The server does not answer. Reload the page when it runs again.", true);
}
