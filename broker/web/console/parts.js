// What the parts of the console share: elements, numbers as people read them, tables that keep the
// focus, and questions to the API with the key of this tab.

const KEY = "altavoz-key";
const SVG = "http://www.w3.org/2000/svg";
const SPARK = { width: 90, height: 18 };

/**
 * What the page itself subscribes to. Who follows it must ask for the same: subscriptions of a client
 * to one topic share their options.
 */
export const OWN = { topic: "$SYS/broker", options: { last: true } };

export const at = (id) => document.getElementById(id);

export function make(tag, properties = {}, ...children) {
  const element = Object.assign(document.createElement(tag), properties);
  element.append(...children);
  return element;
}

export const whole = new Intl.NumberFormat("en", { maximumFractionDigits: 0 });
export const short = new Intl.NumberFormat("en", { notation: "compact", maximumFractionDigits: 1 });

export function bytes(n) {
  const power = Math.min(4, Math.floor(Math.log2(Math.max(n, 1)) / 10));
  return `${(n / 1024 ** power).toFixed(power ? 1 : 0)} ${["B", "KiB", "MiB", "GiB", "TiB"][power]}`;
}

export function duration(seconds) {
  const [days, hours, minutes] = [seconds / 86_400, (seconds / 3600) % 24, (seconds / 60) % 60].map(Math.floor);
  if (days) return `${days} d ${hours} h`;
  if (hours) return `${hours} h ${minutes} min`;
  return minutes ? `${minutes} min ${Math.floor(seconds % 60)} s` : `${Math.floor(seconds)} s`;
}

export const clock = (ms) => new Date(ms).toLocaleTimeString([], { hour12: false });

// ---- tables ----

export const row = (...cells) => make("tr", {}, ...cells.map((cell) => make("td", {}, cell)));

/** Puts rows into a table without taking the focus from who moves through it by key. */
export function show(id, rows) {
  const body = at(id);
  const index = [...body.querySelectorAll("button")].indexOf(document.activeElement);
  body.replaceChildren(...rows);
  if (index >= 0) body.querySelectorAll("button")[index]?.focus();
}

/** A line of these numbers, the newest at the right, `count` of which fill it. */
export function sparkline(numbers, count) {
  const picture = document.createElementNS(SVG, "svg");
  picture.setAttribute("viewBox", `0 0 ${SPARK.width} ${SPARK.height}`);
  picture.setAttribute("class", "spark");
  picture.setAttribute("aria-hidden", "true");
  const line = document.createElementNS(SVG, "polyline");
  const top = Math.max(...numbers, 1);
  const points = numbers.map((number, index) => {
    const x = SPARK.width * (1 - (numbers.length - 1 - index) / (count - 1));
    return `${x.toFixed(1)},${(SPARK.height - 1 - (number / top) * (SPARK.height - 2)).toFixed(1)}`;
  });
  line.setAttribute("points", points.join(" "));
  picture.append(line);
  return picture;
}

/** Waits until nobody has typed for a moment. */
export function afterTyping(act) {
  let timer;
  return () => {
    clearTimeout(timer);
    timer = setTimeout(act, 200);
  };
}

// ---- questions to the API ----

/** The key or token, which stays in this tab. */
export const access = { key: sessionStorage.getItem(KEY) ?? "" };

export function useKey(key) {
  access.key = key;
  sessionStorage.setItem(KEY, key);
}

/** What the API answers; an error with its own words where it refuses. */
export async function ask(path, options = {}) {
  const headers = access.key ? { authorization: `Bearer ${access.key}` } : {};
  const response = await fetch(path, { ...options, headers });
  const answer = await response.json().catch(() => null);
  if (response.ok) return answer;
  throw new Error(answer?.error?.message ?? `${path}: ${response.status}`);
}
