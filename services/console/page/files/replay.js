// Replay: published events are sent once more, and it is proven that this changed nothing.

import { counted, element, facts } from "./dom.js";
import { operate } from "./operation.js";
import { planning } from "./plan.js";

const TIME = { type: "datetime-local" };

export function startReplay(panel) {
  const service = element("select", { name: "service" }, ...["order", "scm"].map((name) => element("option", {}, name)));
  const perSecond = element("input", { type: "number", name: "perSecond", min: "0.1", max: "10000", step: "any", placeholder: "any" });
  const labelled = (text, field) => element("label", {}, text, field);
  const input = (text, name, more) => labelled(text, element("input", { name, autocomplete: "off", ...more }));
  const form = element("form", { class: "fields", ariaLabel: "What is to be replayed" },
    input("Type", "type"), input("Order", "orderId"), labelled("Event log of", service),
    input("From", "from", TIME), input("Before", "to", TIME), labelled("At most a second", perSecond));
  const proof = element("div", { class: "proof scroll", tabIndex: 0, role: "region", ariaLabel: "What came of it" },
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
    stage: ({ proof: told }) => (typeof told?.outstanding === "number" ? `All are sent; deliveries awaited: ${told.outstanding}` : null),
    would: ({ selected, proof: told }) =>
      `${counted(selected, "event")} would be sent again${told?.heldBack ? `; the routes hold ${told.heldBack} back` : ""}.`,
    done: ({ done, proof: told }) => `${counted(done, "event")} sent again${told?.unchanged ? ", and nothing changed." : "."}`,
    trouble: ({ error, failed }) => error ?? (failed ? `${failed} failed.` : null),
  }]);

  function show({ proof: told }) {
    if (told) proof.replaceChildren(...drawn(told));
  }

  form.addEventListener("submit", (submit) => submit.preventDefault());
  form.addEventListener("input", () => plan.say(""));
  panel.append(form, proof, plan.place);
  return { look() {} };
}

const EXPLAINED = "Sends forwarded events of the log again, as the routes of now decide. The consumers' inboxes recognise them, so nothing may change: "
  + "the state of the consumers is summed up before and after. Without a criterion, the whole log is meant.";

function drawn({ tallies, states, absorbed, superseded, handled, unchanged }) {
  const counts = states.length ? facts([["Deliveries absorbed", absorbed], ["Superseded", superseded], ["Handled anew", handled]]) : null;
  return [verdict(unchanged), ...states.map(sums), counts, element("ul", { class: "tallies" }, ...tallies.map(tally))].filter(Boolean);
}

function verdict(unchanged) {
  if (unchanged === null) return null;
  const said = unchanged ? "Unchanged: the same checksum before and after." : "Changed.";
  return element("p", { class: `verdict ${unchanged ? "good" : "wrong"}` }, said);
}

function sums({ service, checksumBefore, checksumAfter, changed }) {
  const pair = (term, sum) => [element("dt", {}, term), element("dd", { class: "mono" }, sum ?? "not yet")];
  return element("div", {}, element("h3", {}, `State of ${service}`),
    element("dl", { class: "sums" }, ...pair("before", checksumBefore), ...pair("after", checksumAfter)),
    ...changed.map(({ table, rowsBefore, rowsAfter }) =>
      element("p", { class: "beside bad" }, `${table}: ${rowsBefore} rows before, ${rowsAfter} after`)));
}

function tally({ type, decision, rule, events }) {
  const decided = element("span", { class: `decision ${decision}` }, decision.replace("_", " "));
  return element("li", {}, element("span", {}, `${type} `, decided, rule ? ` by ${rule}` : ""), element("span", {}, String(events)));
}
