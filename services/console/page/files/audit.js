// Audit: running operations, then the records of what operators did, newest first.

import { ask, token } from "./api.js";
import { element, moment, say } from "./dom.js";
import { stop } from "./operation.js";
import { asOperator } from "./operator.js";

const LIMIT = 200;

const EXPLAINED = "All operations on messages are recorded. To read the records, press “Refresh”; it requires an operator's token.";
const LOST = "outcome unknown: the console stopped first";

export function startAudit(panel) {
  const head = element("tr", {}, ...["When", "Who", "What"].map((text) => element("th", { class: text.toLowerCase() }, text)));
  const rows = element("tbody");
  const note = element("p", { class: "empty" }, EXPLAINED);
  const again = element("button", { type: "button" }, "Refresh");
  const table = element("table", {}, element("thead", {}, head), rows);
  panel.append(
    element("div", { class: "scroll", tabIndex: 0, role: "region", ariaLabel: "Audit records, newest first" }, table, note),
    element("div", { class: "plan" }, element("div", { class: "actions" }, again)));
  again.addEventListener("click", () => look(asOperator));

  async function look(by = (work) => work()) {
    if (!token.get() && by !== asOperator) return;
    try {
      const records = await by(() => ask(`api/audit?limit=${LIMIT}`));
      const running = (await ask("api/operations")).filter((each) => each.status === "running");
      const past = lines(records, new Set(running.map((each) => each.id)));
      rows.replaceChildren(...running.map(progress), ...past.map(line));
      say(note, past.length + running.length ? "" : "No operation yet.");
      if (running.length && panel.checkVisibility()) setTimeout(look, 1000);
    } catch (error) {
      say(note, error.message);
    }
  }

  return { look };
}

// The record of an end includes that of its beginning; a beginning is shown where the end is missing.
function lines(records, running) {
  const ended = new Set(records.filter((each) => each.step === "ended").map((each) => each.operation));
  const isLost = ({ step, operation }) => step === "begun" && operation && !ended.has(operation) && !running.has(operation);
  return records.filter((each) => each.step === "ended" || isLost(each));
}

function line(record) {
  const { at, who, what, on, service, selection, status, done, selected, failed, error, dryRun, step } = record;
  const isLost = step === "begun";
  const outcome = [dryRun ? `dry run of ${selected ?? 0}` : done === undefined ? null : `${done} done`, failed ? `${failed} failed` : null,
    status === "cancelled" ? "stopped" : null, isLost ? LOST : null, error].filter(Boolean).join(", ");
  const place = service && service !== on ? `${on} of ${service}` : on;
  return row(at, who, what, place, [chosen(selection), outcome].filter(Boolean).join(" · "), error || failed || isLost);
}

function progress(operation) {
  const { beganAt, who, what, on, done, selected } = operation;
  const stopping = element("button", { type: "button", class: "link" }, "Stop");
  stopping.addEventListener("click", () => stop(operation));
  return row(beganAt, who, what, on, `running: ${done} of ${selected} done`, false, stopping);
}

function row(at, who, what, place, about, isBad, ...more) {
  const time = element("td", { class: "time mono", title: new Date(at).toLocaleString() }, moment(at));
  const details = element("div", { class: isBad ? "beside bad" : "beside" }, about);
  return element("tr", {}, time, element("td", {}, who), element("td", {}, element("strong", {}, what), ` ${place ?? ""} `, ...more, details));
}

function chosen(selection) {
  if (!selection) return "";
  if (selection.all) return "all";
  const criteria = Object.entries(selection).filter(([, value]) => value);
  return criteria.map(([name, value]) => (name === "ids" ? `${value.length} by id` : `${name} ${value}`)).join(", ");
}
