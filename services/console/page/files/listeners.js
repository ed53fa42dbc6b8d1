// Listeners: status of each queue's listener, paused and resumed.

import { ask, token } from "./api.js";
import { element, moment, say } from "./dom.js";
import { asOperator } from "./operator.js";

const ABOUT = { up: "listening", down: "down", paused: "paused", unknown: "unknown" };

const EXPLAINED = "While a listener is paused, its messages wait in the queue, which keeps them for four days. "
  + "Messages already received are still handled.";

export function startListeners(panel) {
  const rows = new Map();
  const list = element("ul", { class: "lines" });
  panel.append(list, element("p", { class: "empty" }, EXPLAINED));

  function row(station) {
    const [about, error] = [element("span", { class: "beside" }), element("span", { class: "beside bad", role: "status" })];
    const made = { station, details: null, about, error, button: element("button", { type: "button" }) };
    made.button.addEventListener("click", () => press(made));
    rows.set(station.name, made);
    const item = element("li", { data: { queue: station.name } }, element("div", {}, element("strong", {}, station.name), about, error), made.button);
    const after = [...list.children].find((each) => each.dataset.queue > station.name);
    list.insertBefore(item, after ?? null);
    return made;
  }

  function show({ station, details, about, button }) {
    const isPaused = station.status === "paused";
    const by = isPaused && details?.pausedBy ? ` by ${details.pausedBy} since ${moment(details.pausedAt)}` : "";
    about.className = `beside ${station.status}`;
    say(about, `${station.service}, ${ABOUT[station.status]}${by}${station.trouble && !isPaused ? `: ${station.trouble}` : ""}`);
    say(button, isPaused ? "Resume" : "Pause");
    button.ariaLabel = `${button.textContent} ${station.name}`;
  }

  async function press(row) {
    if (row.button.ariaBusy === "true") return;
    row.button.ariaBusy = "true";
    say(row.error, "");
    try {
      const { service, name } = row.station;
      const change = row.station.status === "paused" ? "resume" : "pause";
      row.details = await asOperator(() => ask(`api/listeners/${service}/${name}/${change}`, { method: "POST" }));
      row.station = { ...row.station, status: row.details.status === "paused" ? "paused" : "up" };
      show(row);
    } catch (error) {
      say(row.error, error.message);
    }
    row.button.ariaBusy = "false";
  }

  // Reads which operator paused a listener; only operators may.
  async function look() {
    if (!token.get()) return;
    const { listeners } = await ask("api/listeners").catch(() => ({ listeners: [] }));
    for (const details of listeners) {
      const known = rows.get(details.queue);
      if (known) show(Object.assign(known, { details }));
    }
  }

  return { look, stationChanged(station) {
    if (station.kind !== "listener") return;
    const known = rows.get(station.name) ?? row(station);
    const isNews = known.station.status !== station.status;
    known.station = station;
    show(known);
    if (isNews && station.status === "paused") look();
  } };
}
