// Dead letters: browsed without consuming them, redriven or discarded.

import { token } from "./api.js";
import { counted, element, moment } from "./dom.js";
import { showLetter } from "./letter.js";
import { orderLink } from "./lineage.js";
import { operate, trouble } from "./operation.js";
import { pickList } from "./picklist.js";

const EMPTY = "No dead letters. Messages that cannot be handled are listed here, with the reason.";
const NEEDS_TOKEN = "To read them, press “Refresh”; it requires an operator's token.";

const queues = new Map();

export function startLetters(panel) {
  const perSecond = element("input", { type: "number", min: "0.1", max: "1000", step: "any", placeholder: "any", ariaLabel: "Maximum rate per second" });
  const act = (name, doing, past, path, isDangerous) => ({ name, doing, past, isDangerous, async work(command, watch) {
    const rate = perSecond.valueAsNumber > 0 ? { perSecond: perSecond.valueAsNumber } : {};
    const operation = await operate(`dead-letters/${path}`, { ...command, ...rate }, watch);
    return { ...operation, error: trouble(operation) };
  } });
  const list = pickList(panel, {
    name: "dead letter", path: "dead-letters", field: "queue", empty: EMPTY,
    groups: () => [...queues.keys()].sort(),
    items: (answer) => answer.letters,
    note: (answer) => answer.queues.map(unseen).filter(Boolean).join("; "),
    cells: (letter) => [
      [element("div", {}, letter.type ?? "?"), orderLink(letter.orderId)],
      [opened(letter), element("div", { class: "beside" }, `${letter.queue.replace(/-dlq$/, "")} · ${moment(letter.sentAt)}`)],
    ],
    acts: [act("Redrive", "Redriving", "redriven", "redrive"), act("Discard", "Discarding", "discarded", "discard", true)],
    beside: [element("label", { class: "rate" }, "at most ", perSecond, " per second")],
  });

  function opened(letter) {
    const open = element("button", { type: "button", class: "link reason" }, letter.reason ?? "no reason recorded");
    open.addEventListener("click", () => showLetter(letter, list.look));
    return open;
  }

  let known = 0;
  // The list follows the count when there is a token to read it with; but browsing is a receive, so only while the tab is open.
  list.stationChanged = (station) => {
    if (station.kind !== "dead_letters") return;
    queues.set(station.name, station.waiting);
    const count = [...queues.values()].reduce((sum, each) => sum + (each ?? 0), 0);
    if (count === known) return;
    known = count;
    if (!token.get()) list.note(count ? `${counted(count, "dead letter")}. ${NEEDS_TOKEN}` : EMPTY);
    else if (!panel.hidden) list.look();
  };
  return list;
}

const unseen = ({ operation, incomplete }) => (operation ? "An operation on this queue is running." : incomplete);
