// Operate: the operations on messages, in tabs with counts.

import { startAudit } from "./audit.js";
import { $, say } from "./dom.js";
import { startLetters } from "./letters.js";
import { startListeners } from "./listeners.js";
import { startParked } from "./parked.js";
import { startReplay } from "./replay.js";

const STARTS = { letters: startLetters, parked: startParked, listeners: startListeners, replay: startReplay, audit: startAudit };
// Tab and count for a station of this kind.
const COUNTED = {
  dead_letters: ["letters", (station) => station.waiting],
  relay: ["parked", (station) => station.parked],
  listener: ["listeners", (station) => (station.status === "paused" ? 1 : 0)],
};

const tabs = [...document.querySelectorAll("#operate [role=tab]")];
const panels = {};
const counts = new Map();

export function open(name) {
  for (const tab of tabs) {
    const isOpen = tab.getAttribute("aria-controls") === name;
    tab.ariaSelected = String(isOpen);
    tab.tabIndex = isOpen ? 0 : -1;
    $(`#${tab.getAttribute("aria-controls")}`).hidden = !isOpen;
  }
  panels[name].look();
  return panels[name];
}

const isOpen = (tab) => tab.ariaSelected === "true";

// Called when a station has changed.
export function counted(station) {
  for (const panel of Object.values(panels)) panel.stationChanged?.(station);
  const [name, count] = COUNTED[station.kind] ?? [];
  if (!name) return;
  const before = total(name);
  counts.set(`${name} ${station.id}`, count(station) ?? 0);
  const now = total(name);
  const tab = tabs.find((each) => each.getAttribute("aria-controls") === name);
  say($(".count", tab), now > 99 ? "99+" : now ? String(now) : "");
  tab.title = now > 99 ? String(now) : "";
  if (now !== before && name === "parked" && isOpen(tab)) panels.parked.look();
}

const total = (name) => [...counts].reduce((sum, [key, count]) => sum + (key.startsWith(`${name} `) ? count : 0), 0);

export function startOperate() {
  for (const [name, start] of Object.entries(STARTS)) panels[name] = start($(`#${name}`));
  for (const [place, tab] of tabs.entries()) {
    tab.addEventListener("click", () => open(tab.getAttribute("aria-controls")));
    tab.addEventListener("keydown", (press) => {
      const to = { ArrowRight: place + 1, ArrowLeft: place - 1, Home: 0, End: -1 }[press.key];
      if (to === undefined) return;
      press.preventDefault();
      const next = tabs.at(to % tabs.length);
      next.focus();
      next.click();
    });
  }
  // With a token more can be read.
  document.addEventListener("operator", () => panels[tabs.find(isOpen).getAttribute("aria-controls")].look());
}
