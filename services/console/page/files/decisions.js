// The table of decisions, newest first.

import { $, clock, element, say } from "./dom.js";
import { orderLink } from "./lineage.js";
import { tone } from "./services.js";

const MAX_ROWS = 200;
const WORDS = { forwarded: "forwarded", held_back: "held back", failed: "failed" };
const times = [];

export function decided(decision) {
  times.push(Date.now());
  const filter = $("#decision-filter").value;
  const row = element("tr", { data: { decision: decision.decision }, hidden: Boolean(filter) && filter !== decision.decision },
    element("td", { class: "time mono" }, clock(decision.at)),
    element("td", {}, decision.type),
    element("td", {}, orderLink(decision.orderId)),
    element("td", { class: `decision ${decision.decision} ${tone(decision.source)}`, title: decision.topic ? `to ${decision.topic}` : "" },
      WORDS[decision.decision]),
    element("td", { class: "mono", title: decision.error ?? decision.rule ?? "" }, decision.error ?? decision.rule ?? ""));
  const rows = $("#decision-rows");
  rows.prepend(row);
  while (rows.children.length > MAX_ROWS) rows.lastChild.remove();
  $("#decisions-empty").hidden = true;
}

export function startDecisions() {
  $("#decision-filter").addEventListener("change", (change) => {
    for (const row of $("#decision-rows").children) {
      row.hidden = Boolean(change.target.value) && row.dataset.decision !== change.target.value;
    }
  });
  setInterval(() => {
    const since = Date.now() - 10_000;
    while (times.length && times[0] < since) times.shift();
    say($("#decision-rate"), times.length ? `${(times.length / 10).toFixed(1)} a second` : "");
  }, 1000);
}
