// Audit: what runs now, and who did what to the messages, newest first.

import { ask, token } from "./api.js";
import { element, moment, say } from "./dom.js";
import { stop } from "./operation.js";
import { asOperator } from "./operator.js";

const MOST = 200;

export function startAudit(panel) {
  const rows = element("tbody");
  const note = element("p", { class: "empty" }, "Whatever an operator does to messages is written down. To read it, press “Look”: it needs an operator's token.");
  const again = element("button", { type: "button" }, "Look");
  panel.append(
    element("div", { class: "scroll", tabIndex: 0, role: "region", ariaLabel: "What was done, newest first" },
      element("table", {}, element("thead", {}, element("tr", {}, ...["When", "Who", "What"].map((text) => element("th", { class: text.toLowerCase() }, text)))), rows), note),
    element("div", { class: "plan" }, element("div", { class: "actions" }, again)));
  again.addEventListener("click", () => look(asOperator));

  async function look(by = (work) => work()) {
    if (!token.get() && by !== asOperator) return;
    try {
      const records = await by(() => ask(`api/audit?limit=${MOST}`));
      const running = (await ask("api/operations")).filter((each) => each.status === "running");
      const told = lines(records, new Set(running.map((each) => each.id)));
      rows.replaceChildren(...running.map(progress), ...told.map(line));
      say(note, told.length + running.length ? "" : "Nothing was done yet.");
      if (running.length && panel.checkVisibility()) setTimeout(look, 1000);
    } catch (error) {
      say(note, error.message);
    }
  }

  return { look };
}

// An end says all that its beginning did; a beginning is told where its end is missing.
function lines(records, running) {
  const ended = new Set(records.filter((each) => each.step === "ended").map((each) => each.operation));
  return records.filter((each) => each.step === "ended" || (each.step === "begun" && each.operation && !ended.has(each.operation) && !running.has(each.operation)));
}

function line(record) {
  const { status, done, selected, failed, error, dryRun, step } = record;
  const outcome = [dryRun ? `dry run of ${selected ?? 0}` : done === undefined ? "" : `${done} done`, failed ? `${failed} failed` : "",
    step === "begun" ? "its end is not known: the adapter ended first" : "", status === "cancelled" ? "stopped" : "", error ?? ""].filter(Boolean).join(", ");
  return row(record.at, record.who, record.what, record.service && record.what !== "resubmit" ? `${record.on} of ${record.service}` : record.on, [chosen(record.selection), outcome].filter(Boolean).join(" · "), error || failed || step === "begun");
}

function progress(operation) {
  const stopping = element("button", { type: "button", class: "link" }, "Stop");
  stopping.addEventListener("click", () => stop(operation));
  return row(operation.beganAt, operation.who, operation.what, operation.on, `runs: ${operation.done} of ${operation.selected} done`, false, stopping);
}

const row = (at, who, what, on, about, isBad, ...more) => element("tr", {},
  element("td", { class: "time mono", title: new Date(at).toLocaleString() }, moment(at)), element("td", {}, who),
  element("td", {}, element("strong", {}, what), ` ${on ?? ""} `, ...more, element("div", { class: isBad ? "beside bad" : "beside" }, about)));

function chosen(selection) {
  if (!selection) return "";
  if (selection.all) return "all";
  return Object.entries(selection).filter(([, value]) => value).map(([name, value]) => (name === "ids" ? `${value.length} by id` : `${name} ${value}`)).join(", ");
}
