// Details of one station: status, counts by outcome, and the tab that acts on it.

import { $, age, element, facts, say } from "./dom.js";
import { open } from "./operate.js";

const KINDS = {
  service: "Service", relay: "Relay", adapter: "Adapter", topic: "Topic", queue: "Queue", dead_letters: "Dead letters", listener: "Listener",
};
const ACTS = {
  dead_letters: ["Show dead letters", "letters", ({ name }) => name],
  relay: ["Show parked events", "parked", ({ service }) => service],
  listener: ["Pause or resume", "listeners"],
  topic: ["Replay events", "replay"],
};

let parts = null;

// `partsNow` returns the stations shown there, from the live stream; it is called again at every change.
export function showStation(title, partsNow) {
  parts = partsNow;
  say($("#station-title"), title);
  const leads = new Map(parts().filter(({ kind }) => ACTS[kind]).map((part) => [part.kind, leading(part, ...ACTS[part.kind])]));
  if (parts().some(({ kind, counts }) => kind === "adapter" && counts?.failed)) leads.set("adapter", failedDecisions());
  $("#station-acts").replaceChildren(...leads.values());
  stationNews();
  $("#station").showModal();
}

export function stationNews() {
  if (parts) $("#station-body").replaceChildren(...parts().map(drawn));
}

function leading(part, text, tab, narrowed) {
  const button = element("button", { type: "button" }, text);
  button.addEventListener("click", () => {
    $("#station").close();
    const panel = open(tab);
    if (narrowed) panel.narrow(narrowed(part));
    $(`#tab-${tab}`).focus();
  });
  return button;
}

function failedDecisions() {
  const button = element("button", { type: "button" }, "Show failed decisions");
  button.addEventListener("click", () => {
    $("#station").close();
    $("#decision-filter").value = "failed";
    $("#decision-filter").dispatchEvent(new Event("change"));
    $("#decisions").focus();
  });
  return button;
}

function drawn(part) {
  const { kind, name, status, trouble, waiting, inFlight, oldestSeconds, parked, perMinute, counts } = part;
  const oldest = waiting && typeof oldestSeconds === "number" ? age(oldestSeconds) : null;
  const rules = (part.rules ?? []).map(({ rule, decision, count }) => [`${rule}, ${decision.replace("_", " ")}`, count]);
  return element("section", { class: "part" },
    element("h3", {}, `${KINDS[kind]} `, element("span", { class: "beside" }, name)),
    trouble && status !== "paused" ? element("p", { class: "gap" }, trouble) : null,
    facts([["Status", status], ["Waiting", waiting], ["In flight", inFlight], ["Oldest", oldest], ["Parked", parked],
      ["Last minute", perMinute], ...Object.entries(counts ?? {}).map(([outcome, count]) => [words(outcome), count])]),
    lines(Object.entries(part.handlers ?? {})), lines(rules), lines((part.instances ?? []).map(instance)));
}

const instance = ({ name, version, status, trouble }) => [`${name}, version ${version}`, status === "up" ? status : `${status}: ${trouble}`];

const words = (name) => (name[0].toUpperCase() + name.slice(1)).replace("_", " ");

function lines(pairs) {
  if (!pairs.length) return null;
  return element("ul", { class: "tallies" }, ...pairs.map(([left, right]) =>
    element("li", {}, element("span", {}, left), element("span", { class: "mono" }, String(right)))));
}

export function startStation() {
  $("#station").addEventListener("close", () => { parts = null; });
}
