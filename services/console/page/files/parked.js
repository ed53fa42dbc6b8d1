// Parked events: relayed too often without success; operators resubmit them.

import { ask } from "./api.js";
import { element, moment } from "./dom.js";
import { orderLink } from "./lineage.js";
import { asOperator } from "./operator.js";
import { pickList } from "./picklist.js";
import { serviceNames } from "./services.js";

export function startParked(panel) {
  const resubmit = { name: "Resubmit", doing: "Resubmitting", past: "resubmitted", async work(command) {
    const { ids } = await asOperator(() => ask("api/parked/resubmit", { method: "POST", body: command }));
    return { selected: ids.length, done: ids.length };
  } };
  return pickList(panel, {
    name: "parked event", path: "parked", field: "service", groups: serviceNames,
    items: (answer) => answer.events.map((event) => ({ ...event, orderId: event.subject })),
    note: (answer) => answer.gaps.map(({ service, reason }) => `${service} did not answer; its events are missing: ${reason}`).join("; "),
    cells: ({ type, subject, lastError, service, attempts, parkedAt }) => [
      [element("div", {}, type), orderLink(subject)],
      [element("div", { class: "reason" }, lastError), element("div", { class: "beside" }, `${service} · ${attempts} attempts · ${moment(parkedAt)}`)],
    ],
    empty: "No parked events. Events that the adapter failed on too often are listed here, with the error.",
    acts: [resubmit],
  });
}
