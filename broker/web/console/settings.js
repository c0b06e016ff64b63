// The console's view of the settings, to be read only: by their keys in the settings file, those
// that are not the default first.

import { ask, at, bytes, duration, make, row, show, whole } from "/assets/console/parts.js";

let settings = {};
let changed = new Set();

export function raiseSettings() {
  at("settings-search").addEventListener("input", showSettings);
  at("settings-changed").addEventListener("change", showSettings);
}

export async function refreshSettings() {
  try {
    const answer = await ask("/api/v1/settings");
    [settings, changed] = [answer.settings, new Set(answer.changed)];
    showSettings();
  } catch ({ message }) {
    at("settings-note").textContent = message;
  }
}

function showSettings() {
  const wanted = at("settings-search").value.trim().toLowerCase();
  const isShown = (key) => key.includes(wanted) && (changed.has(key) || !at("settings-changed").checked);
  const keys = Object.keys(settings).filter(isShown);
  keys.sort((one, other) => changed.has(other) - changed.has(one) || (one < other ? -1 : 1));
  show("settings", keys.map(rowOf));
  const none = at("settings-changed").checked && !wanted ? "All are the defaults." : "No setting is called so.";
  at("settings-note").textContent = keys.length ? "" : none;
}

function rowOf(key) {
  const cells = row(make("code", {}, key), valueOf(key, settings[key]), changed.has(key) ? "set" : "default");
  if (changed.has(key)) cells.dataset.changed = "";
  return cells;
}

function valueOf(key, value) {
  if (Array.isArray(value)) {
    if (!value.length) return "none";
    const lines = value.map((one) => make("li", {}, typeof one === "string" ? one : JSON.stringify(one)));
    return make("ul", {}, ...lines);
  }
  if (typeof value === "number") return `${whole.format(value)}${unitOf(key, value)}`;
  if (typeof value === "boolean") return value ? "yes" : "no";
  return value === "" || value === null ? "none" : String(value);
}

/** The number again as people say it. */
function unitOf(key, value) {
  if (/_bytes(_|$)/.test(key)) return value < 1024 ? " bytes" : ` bytes (${bytes(value)})`;
  if (key.endsWith("_ms")) return value < 1000 ? " ms" : ` ms (${value % 1000 ? `${value / 1000} s` : duration(value / 1000)})`;
  return "";
}
