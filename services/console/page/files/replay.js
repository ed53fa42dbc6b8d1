// Replay: sends forwarded events again and proves that the consumers' state did not change.

import { counted, element, facts } from "./dom.js";
import { operate } from "./operation.js";
import { planning } from "./plan.js";
import { onServices, serviceNames } from "./services.js";

const TIME = { type: "datetime-local" };

export function startReplay(panel) {
  const service = element("select", { name: "service" });
  onServices(() => {
    const known = [...service.options].map(({ value }) => value);
    service.append(...serviceNames().filter((name) => !known.includes(name)).map((name) => element("option", {}, name)));
  });
  const perSecond = element("input", { type: "number", name: "perSecond", min: "0.1", max: "10000", step: "any", placeholder: "any" });
  const labelled = (text, field) => element("label", {}, text, field);
  const input = (text, name, more) => labelled(text, element("input", { name, autocomplete: "off", ...more }));
  const form = element("form", { class: "fields", ariaLabel: "Selection" },
    input("Type", "type"), input("Order", "orderId"), labelled("Event log of", service),
    input("From", "from", TIME), input("Before", "to", TIME), labelled("Per second", perSecond));
  const proof = element("div", { class: "proof scroll", tabIndex: 0, role: "region", ariaLabel: "Result" },
    element("p", { class: "empty" }, EXPLAINED));

  function command(isDryRun) {
    const given = [...new FormData(form)].map(([name, value]) => [name, value.trim()]).filter(([, value]) => value);
    const { service: log, perSecond: rate, ...criteria } = Object.fromEntries(given);
    for (const end of ["from", "to"]) if (criteria[end]) criteria[end] = new Date(criteria[end]).toISOString();
    const selection = Object.keys(criteria).length ? criteria : { all: true };
    return { service: log, selection, dryRun: isDryRun, ...(rate && { perSecond: Number(rate) }) };
  }

  const plan = planning([{
    name: "Replay", doing: "Replaying",
    async work(isDryRun, watch) {
      const operation = await operate("replay", command(isDryRun), (running) => { watch(running); show(running); });
      show(operation);
      return { ...operation, selected: operation.selected - (operation.proof?.heldBack ?? 0) };
    },
    stage: ({ proof: result }) => (typeof result?.outstanding === "number" ? `All sent; outstanding deliveries: ${result.outstanding}` : null),
    would: ({ selected, proof: result }) =>
      `${counted(selected, "event")} would be sent again${result?.heldBack ? `; the routes hold ${result.heldBack} back` : ""}.`,
    done: ({ done, proof: result }) => `${counted(done, "event")} sent again${result?.unchanged ? ", and nothing changed." : "."}`,
    trouble: ({ error, failed }) => error ?? (failed ? `${failed} failed.` : null),
  }]);

  function show({ proof: result }) {
    if (result) proof.replaceChildren(...drawn(result));
  }

  form.addEventListener("submit", (submit) => submit.preventDefault());
  form.addEventListener("input", () => plan.say(""));
  panel.append(form, proof, plan.place);
  return { look() {} };
}

const EXPLAINED = "Sends forwarded events of the log again, by the current routes. The consumers' inboxes recognise them, so their state must not change: "
  + "its checksums before and after are compared. Without a criterion, the whole log is replayed.";

function drawn({ tallies, states, absorbed, superseded, handled, unchanged }) {
  const counts = states.length ? facts([["Deliveries absorbed", absorbed], ["Superseded", superseded], ["Handled", handled]]) : null;
  return [verdict(unchanged), ...states.map(sums), counts, element("ul", { class: "tallies" }, ...tallies.map(tally))].filter(Boolean);
}

function verdict(unchanged) {
  if (unchanged === null) return null;
  const text = unchanged ? "Unchanged: the same checksum before and after." : "Changed.";
  return element("p", { class: `verdict ${unchanged ? "good" : "wrong"}` }, text);
}

function sums({ service, checksumBefore, checksumAfter, changed }) {
  const pair = (term, sum) => [element("dt", {}, term), element("dd", { class: "mono" }, sum ?? "pending")];
  return element("div", {}, element("h3", {}, `State of ${service}`),
    element("dl", { class: "sums" }, ...pair("before", checksumBefore), ...pair("after", checksumAfter)),
    ...changed.map(({ table, rowsBefore, rowsAfter }) =>
      element("p", { class: "beside bad" }, `${table}: ${rowsBefore} rows before, ${rowsAfter} after`)));
}

function tally({ type, decision, rule, events }) {
  const decided = element("span", { class: `decision ${decision}` }, decision.replace("_", " "));
  return element("li", {}, element("span", {}, `${type} `, decided, rule ? ` by ${rule}` : ""), element("span", {}, String(events)));
}
