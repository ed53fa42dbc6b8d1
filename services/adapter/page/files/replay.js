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
    input("Type", "type"), input("Order", "orderId"), labelled("Event log of", service), input("From", "from", TIME), input("Before", "to", TIME), labelled("At most a second", perSecond));
  const proof = element("div", { class: "proof scroll", tabIndex: 0, role: "region", ariaLabel: "What came of it" }, element("p", { class: "empty" }, EXPLAINED));

  function command(isDryRun) {
    const given = Object.fromEntries([...new FormData(form)].map(([name, value]) => [name, value.trim()]).filter(([, value]) => value));
    const { service: log, perSecond: rate, from, to, ...criteria } = given;
    const selection = { ...criteria, ...(from && { from: new Date(from).toISOString() }), ...(to && { to: new Date(to).toISOString() }) };
    return { service: log, selection: Object.keys(selection).length ? selection : { all: true }, dryRun: isDryRun, ...(rate && { perSecond: Number(rate) }) };
  }

  const plan = planning([{
    name: "Replay", doing: "Replaying",
    async work(isDryRun, watch) {
      const operation = await operate("replay", command(isDryRun), (running) => { watch(running); show(running); });
      show(operation);
      return { ...operation, selected: operation.selected - (operation.proof?.heldBack ?? 0) };
    },
    stage: ({ proof: told }) => (told?.outstanding === null || told?.outstanding === undefined ? null : `All are sent; deliveries awaited: ${told.outstanding}`),
    would: ({ selected, proof: told }) => `${counted(selected, "event")} would be sent again${told?.heldBack ? `; the routes hold ${told.heldBack} back` : ""}.`,
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
  const verdict = unchanged === true ? element("p", { class: "verdict good" }, "Unchanged: the same checksum before and after.")
    : unchanged === false ? element("p", { class: "verdict wrong" }, "Changed.") : null;
  const sums = states.map(({ service, checksumBefore, checksumAfter, changed }) => element("div", {},
    element("h3", {}, `State of ${service}`),
    element("dl", { class: "sums" }, element("dt", {}, "before"), element("dd", { class: "mono" }, checksumBefore),
      element("dt", {}, "after"), element("dd", { class: "mono" }, checksumAfter ?? "not yet")),
    ...changed.map(({ table, rowsBefore, rowsAfter }) => element("p", { class: "beside bad" }, `${table}: ${rowsBefore} rows before, ${rowsAfter} after`))));
  return [verdict, ...sums,
    states.length ? facts([["Deliveries absorbed", absorbed], ["Superseded", superseded], ["Handled anew", handled]]) : null,
    element("ul", { class: "tallies" }, ...tallies.map(({ type, decision, rule, events }) => element("li", {},
      element("span", {}, `${type} `, element("span", { class: `decision ${decision}` }, decision.replace("_", " ")), rule ? ` by ${rule}` : ""), element("span", {}, String(events)))))].filter(Boolean);
}
