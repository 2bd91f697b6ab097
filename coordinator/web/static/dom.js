// Small words for making elements and for saying amounts. Nothing here takes HTML: what members chose stays text.

export function el(name, attributes = {}, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (key.startsWith("on")) made.addEventListener(key.slice(2), value);
    else if (value === true) made.setAttribute(key, "");
    else if (value !== false && value !== null && value !== undefined) made.setAttribute(key, value);
  }
  made.append(...children.flat().filter((child) => child !== null && child !== undefined && child !== false));
  return made;
}

export const byId = (id) => document.getElementById(id);

export function fill(id, ...children) {
  byId(id).replaceChildren(...children.flat().filter(Boolean));
}

// Columns: [heading, is it a number]; rows of texts or elements. A table that may scroll can be reached by keyboard.
export function table(caption, columns, rows) {
  const head = el("tr", {}, columns.map(([name, numeric]) => el("th", { scope: "col", class: numeric ? "n" : null }, name)));
  const body = rows.map((row) => el("tr", {}, row.map((cell, at) => el("td", { class: columns[at][1] ? "n" : null }, cell))));
  const whole = el("table", {}, el("caption", {}, caption), el("thead", {}, head), el("tbody", {}, body));
  return el("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": caption }, whole);
}

export const count = (value) => Math.round(Number(value)).toLocaleString("en-GB");

export function figure(value, digits = 3) {
  if (value === null || value === undefined) return "–";
  const number = Number(value);
  return Math.abs(number) >= 1000 ? count(number) : String(Number(number.toPrecision(digits)));
}

export function bytes(value) {
  for (const [unit, name] of [[1e12, "TB"], [1e9, "GB"], [1e6, "MB"]]) {
    if (value >= unit) return `${figure(value / unit)} ${name}`;
  }
  return `${figure(value / 1e3)} kB`;
}

export function duration(seconds) {
  const whole = Math.max(0, Math.round(seconds));
  if (whole < 60) return `${whole} s`;
  if (whole < 3600) return `${Math.floor(whole / 60)} min`;
  if (whole < 172800) return `${Math.floor(whole / 3600)} h ${Math.floor((whole % 3600) / 60)} min`;
  return `${Math.floor(whole / 86400)} days`;
}

export function when(unix) {
  if (!unix) return "at the start";
  const date = new Date(unix * 1000);
  const options = { day: "numeric", month: "short", hour: "2-digit", minute: "2-digit" };
  return el("time", { datetime: date.toISOString() }, date.toLocaleString("en-GB", options));
}

export const clock = (unix) => new Date(unix * 1000).toLocaleTimeString("en-GB");
