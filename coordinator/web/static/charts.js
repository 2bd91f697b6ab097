// Curves as SVG: lines with a band between their least and most, dots, and stacked bars. No library.

import { el, figure, table } from "./dom.js";

const HEIGHT = 200, LEFT = 46, RIGHT = 8, TOP = 8, BOTTOM = 22;

function shape(name, attributes, text) {
  const made = document.createElementNS("http://www.w3.org/2000/svg", name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  if (text !== undefined) made.textContent = text;
  return made;
}

// Round numbers for an axis, about `wanted` of them.
export function ticks(low, high, wanted) {
  const span = high - low || Math.abs(high) || 1;
  const rough = span / wanted, power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].map((many) => many * power).find((size) => size >= rough);
  const found = [];
  for (let at = Math.ceil(low / step) * step; at <= high + step / 1e6; at += step) found.push(Number(at.toPrecision(12)));
  return found;
}

function extent(lists) {
  const all = lists.flat().filter((value) => value !== null && value !== undefined);
  return all.length ? [all.reduce((a, b) => Math.min(a, b)), all.reduce((a, b) => Math.max(a, b))] : [0, 1];
}

// A frame with axes; gives the functions that place values in it.
function frame(width, [x0, x1], [y0, y1], say) {
  const svg = shape("svg", { viewBox: `0 0 ${width} ${HEIGHT}`, role: "img" });
  const x = (value) => LEFT + ((value - x0) / (x1 - x0 || 1)) * (width - LEFT - RIGHT);
  const y = (value) => HEIGHT - BOTTOM - ((value - y0) / (y1 - y0 || 1)) * (HEIGHT - TOP - BOTTOM);
  for (const tick of ticks(y0, y1, 4)) {
    svg.append(shape("line", { class: "axis", x1: LEFT, x2: width - RIGHT, y1: y(tick), y2: y(tick) }));
    svg.append(shape("text", { x: LEFT - 6, y: y(tick) + 4, "text-anchor": "end" }, say(tick)));
  }
  for (const tick of ticks(x0, x1, width > 500 ? 7 : 4).filter(Number.isInteger)) {
    svg.append(shape("text", { x: x(tick), y: HEIGHT - 6, "text-anchor": "middle" }, tick.toLocaleString("en-GB")));
  }
  return { svg, x, y };
}

function path(xs, ys, x, y) {
  let drawn = "", pen = "M";
  xs.forEach((value, at) => {
    if (ys[at] === null || ys[at] === undefined) { pen = "M"; return; }
    drawn += `${pen}${x(value).toFixed(1)} ${y(ys[at]).toFixed(1)}`;
    pen = "L";
  });
  return drawn;
}

function band(xs, low, high, x, y) {
  const there = xs.map((_, at) => at).filter((at) => low[at] !== null && low[at] !== undefined);
  const up = there.map((at) => `${x(xs[at]).toFixed(1)} ${y(high[at]).toFixed(1)}`);
  const down = there.map((at) => `${x(xs[at]).toFixed(1)} ${y(low[at]).toFixed(1)}`).reverse();
  return there.length > 1 ? `M${[...up, ...down].join("L")}Z` : "";
}

// The figures near the pointer, and the same as a table for those who do not see the curve.
function readable(figureElement, svg, xs, words, x, caption, columns) {
  const said = el("output", { "aria-hidden": "true" });
  const hair = shape("line", { class: "hair", y1: TOP, y2: HEIGHT - BOTTOM, visibility: "hidden" });
  svg.append(hair);
  svg.addEventListener("pointermove", (event) => {
    const box = svg.getBoundingClientRect(), at = ((event.clientX - box.left) / box.width) * svg.viewBox.baseVal.width;
    const nearest = xs.reduce((best, value, index) => (Math.abs(x(value) - at) < Math.abs(x(xs[best]) - at) ? index : best), 0);
    hair.setAttribute("x1", x(xs[nearest])); hair.setAttribute("x2", x(xs[nearest])); hair.setAttribute("visibility", "visible");
    said.textContent = `Round ${xs[nearest].toLocaleString("en-GB")}: ${words(nearest).join(", ")}`;
  });
  svg.addEventListener("pointerleave", () => { hair.setAttribute("visibility", "hidden"); said.textContent = ""; });
  const some = xs.length <= 12 ? xs.map((_, at) => at) : Array.from({ length: 12 }, (_, at) => Math.round((at * (xs.length - 1)) / 11));
  const rows = some.map((at) => [xs[at].toLocaleString("en-GB"), ...words(at)]);
  const open = figureElement.querySelector("details")?.open ?? false;
  const figures = el("details", { open }, el("summary", {}, "As figures"), table(caption, [["Round", true], ...columns.map((name) => [name, false])], rows));
  return [said, figures];
}

function put(figureElement, title, keys, children) {
  const marks = keys.map(([name, kind]) => el("span", { class: `key ${kind}` }, name));
  figureElement.replaceChildren(el("figcaption", {}, title, ...marks), ...children);
}

const widthOf = (element) => Math.max(280, Math.round(element.clientWidth || 600));

// `one`: {name, y, low, high, say}; `dots`: [[x, y], …] of a second kind, with the name `dotted`.
export function curve(element, { title, xs, one, dots = [], dotted = "", floor = false }) {
  if (!xs.length && !dots.length) {
    put(element, title, [], [el("p", { class: "note" }, "There is nothing to draw yet: it begins with the first round.")]);
    return;
  }
  const [y0, y1] = extent([one.y, one.low ?? [], one.high ?? [], dots.map((dot) => dot[1])]);
  const spare = (y1 - y0) * 0.06 || Math.abs(y1) * 0.1 || 1;
  const across = extent([xs, dots.map((dot) => dot[0])]);
  const { svg, x, y } = frame(widthOf(element), across, [floor ? 0 : y0 - spare, y1 + spare], one.say);
  if (one.low) svg.append(shape("path", { class: "band", d: band(xs, one.low, one.high, x, y) }));
  svg.append(shape("path", { class: "line", d: path(xs, one.y, x, y) }));
  if (dots.length) svg.append(shape("path", { class: "line two", d: path(dots.map((dot) => dot[0]), dots.map((dot) => dot[1]), x, y) }));
  if (dots.length <= 60) for (const [dx, dy] of dots) if (dy !== null) svg.append(shape("circle", { class: "dot", cx: x(dx), cy: y(dy), r: 3 }));
  const heldout = (at) => { const near = dots.filter((dot) => dot[0] <= xs[at]).at(-1); return near ? one.say(near[1]) : "–"; };
  const words = (at) => [`${one.say(one.y[at])}${one.low && one.low[at] !== one.high[at] ? ` (${one.say(one.low[at])} to ${one.say(one.high[at])})` : ""}`, ...(dots.length ? [`${dotted} ${heldout(at)}`] : [])];
  svg.setAttribute("aria-label", `${title}: ${xs.length ? words(xs.length - 1).join(", ") : one.say(dots.at(-1)[1])} in the latest round.`);
  const keys = dots.length ? [[one.name, ""], [dotted, "two"]] : [];
  const more = xs.length ? readable(element, svg, xs, words, x, title, dots.length ? [one.name, dotted] : [one.name]) : [];
  put(element, title, keys, [svg, ...more]);
}

// One bar for each of the last rounds: seconds of computing, and of the exchange above them.
export function bars(element, title, rounds, [below, above]) {
  if (!rounds.length) {
    put(element, title, [], [el("p", { class: "note" }, "No round is finished yet.")]);
    return;
  }
  const xs = rounds.map((round) => round[0]);
  const most = extent([rounds.map((round) => (round[5] ?? 0) + (round[6] ?? 0))])[1] || 1;
  const width = widthOf(element), say = (value) => `${figure(value)} s`;
  const { svg, x, y } = frame(width, [xs[0] - 0.6, Math.max(xs.at(-1), xs[0] + 8) + 0.6], [0, most * 1.05], say);
  const wide = Math.max(2, Math.min(22, ((width - LEFT - RIGHT) / Math.max(10, rounds.length)) * 0.7));
  for (const round of rounds) {
    const compute = round[5] ?? 0, exchange = round[6] ?? 0, at = x(round[0]) - wide / 2;
    svg.append(shape("rect", { class: "bar", x: at, width: wide, y: y(compute), height: Math.max(0, y(0) - y(compute)) }));
    svg.append(shape("rect", { class: "bar two", x: at, width: wide, y: y(compute + exchange), height: Math.max(0, y(compute) - y(compute + exchange)) }));
  }
  const words = (at) => [`${figure(rounds[at][5])} s ${below}`, `${figure(rounds[at][6])} s ${above}`];
  svg.setAttribute("aria-label", `${title}: ${words(rounds.length - 1).join(", ")} in the latest one.`);
  put(element, title, [[below, ""], [above, "two"]], [svg, ...readable(element, svg, xs, words, x, title, [below, above])]);
}
