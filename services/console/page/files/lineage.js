// Lineage of one order through every station, as a waterfall of its hops.

import { ask, token } from "./api.js";
import { $, age, clock, element, facts, say } from "./dom.js";
import { tone } from "./services.js";

const BAD = new Set(["parked", "dead_letter", "failed"]);

export function orderLink(id) {
  if (!/^\d{20}$/.test(id ?? "")) return element("span", { class: "mono" }, id ?? "");
  const link = element("button", { type: "button", class: "link mono", title: "Show its lineage" }, id);
  link.addEventListener("click", () => showLineage(id));
  return link;
}

let shown = 0;

// What the services know comes at once; the dead letters of an order are found by browsing, which takes seconds.
export async function showLineage(id) {
  const mine = ++shown;
  const again = element("button", { type: "button" }, "Refresh");
  again.addEventListener("click", () => showLineage(id));
  const status = element("p", { class: "said", role: "status" });
  const show = (...content) => mine === shown && $("#lineage-body").replaceChildren(...content, status, element("p", { class: "actions" }, again));
  const read = async (deadLetters) => show(...drawn(await ask(`api/orders/${id}/lineage?deadLetters=${deadLetters}`)));

  say($("#lineage-title"), `Order ${id}`);
  say(status, "loading …");
  show();
  if (!$("#lineage").open) $("#lineage").showModal();
  try {
    await read(false);
    say(status, token.get() ? "looking for dead letters …" : "Dead letters are shown to operators only.");
    if (token.get()) {
      await read(true);
      say(status, "");
    }
  } catch (error) {
    status.classList.add("bad");
    say(status, error.message);
  }
}

function drawn(lineage) {
  const { states, totalMs } = lineage;
  const list = facts([...states.map(({ service, status, version }) => [service, `${status}, version ${version}`]),
    ["Invoice", states.map(({ invoiceId }) => invoiceId).find(Boolean) ?? "none yet"],
    ["First to last", totalMs === null || totalMs === undefined ? null : age(totalMs / 1000)]]);
  const gaps = lineage.gaps.map(({ service, reason }) =>
    element("p", { class: "gap" }, `${service} did not answer; its hops are missing: ${reason}`));
  return [list, ...gaps, waterfall(lineage.hops, Math.max(totalMs ?? 0, 1))];
}

function waterfall(hops, total) {
  const columns = ["Time", "Event", "Hop", "", "Since cause"];
  const publishers = new Map(hops.filter((hop) => hop.name === "published").map((hop) => [hop.eventId, hop.station]));
  const classes = ["at", "event", "hop", "bar-cell", "since"];
  return element("table", { class: "fall" },
    element("colgroup", {}, ...classes.map((name) => element("col", { class: name }))),
    element("thead", {}, element("tr", {}, ...columns.map((text, place) => element("th", { scope: "col", class: classes[place] }, text)))),
    element("tbody", {}, ...hops.map((hop) => row(hop, total, publishers.get(hop.eventId)))));
}

function row(hop, total, publisher) {
  const since = hop.msSinceParent ?? 0;
  const end = hop.msSinceStart ?? 0;
  const bar = element("i");
  bar.style.left = `${Math.min(99, (100 * Math.max(0, end - since)) / total)}%`;
  bar.style.width = `${Math.min(100, (100 * Math.max(0, since)) / total)}%`;
  const kind = BAD.has(hop.outcome) ? "bad" : hop.outcome === "held_back" ? "held_back" : tone(publisher);
  return element("tr", { class: kind },
    element("td", { class: "time mono" }, hop.at ? clock(hop.at) : "not yet"),
    element("td", {}, hop.type),
    element("td", {}, element("strong", {}, what(hop)), ` at ${hop.station.replace(/^\w+:/, "")}`, element("div", { class: "said" }, detail(hop))),
    element("td", { class: "bar-cell" }, element("div", { class: "bar" }, hop.at ? bar : null)),
    element("td", { class: "since mono" }, hop.at ? age(since / 1000) : ""));
}

const what = (hop) => (hop.outcome && hop.outcome !== hop.name ? `${hop.name}: ${hop.outcome.replace("_", " ")}` : hop.name);

function detail(hop) {
  return [hop.rule && `rule ${hop.rule}`, hop.topic && `to ${hop.topic}`, hop.messageId && `SNS ${hop.messageId}`,
    hop.receiveCount > 1 && `receive ${hop.receiveCount}`, hop.handler, hop.duplicates ? `${hop.duplicates} duplicates absorbed` : null,
    hop.attempts > 1 && `${hop.attempts} attempts`, hop.error].filter(Boolean).join(" · ");
}

export function startLineage() {
  $("#find").addEventListener("submit", (submit) => {
    submit.preventDefault();
    showLineage($("#find-order").value.trim());
  });
}
