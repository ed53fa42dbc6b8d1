// The picture: stations with their counts, and decisions moving between them.

import { $, age, element, say } from "./dom.js";

let opened = () => {};

// Id, grid area, name, description and direction of each. A queue and its listener are one station here.
const STATIONS = [
  ["order", "order", "Order", "commands and reads over REST", "there"],
  ["relay:order", "outbox", "Outbox of Order", "event log and relay", "there"],
  ["adapter", "adapter", "Adapter", "decides which events leave", ""],
  ["topic:order-events", "topic", "order-events", "SNS topic", "there"],
  ["queue:scm-adapter-order-event-queue", "queues", "scm-adapter-order-event-queue", "SQS, to fulfilment", "there"],
  ["queue:scm-demand-order-event-queue", "queues", "scm-demand-order-event-queue", "SQS, to demand", "there"],
  ["scm", "scm", "SCM", "inventory, purchase, delivery, demand", "back"],
  ["relay:scm", "outbox2", "Outbox of SCM", "event log and relay", "back"],
  ["topic:scm-events", "topic2", "scm-events", "SNS topic", "back"],
  ["queue:order-adapter-scm-event-queue", "inbox", "order-adapter-scm-event-queue", "SQS, to Order", "back"],
];

const FULFILMENT = "queue:scm-adapter-order-event-queue";
const ANSWERS = "queue:order-adapter-scm-event-queue";
const THERE = ["order", "relay:order", "adapter", "topic:order-events", FULFILMENT, "scm"];
const DEMAND = ["topic:order-events", "queue:scm-demand-order-event-queue", "scm"];
const BACK = ["scm", "relay:scm", "adapter", "topic:scm-events", ANSWERS, "order"];
const STEP = 360;
const MAX_DOTS = 80;

const shown = new Map();
let travelling = 0;

function made([id, , name, what, way]) {
  const station = element("button", { type: "button", class: `station ${way}`, data: { id, status: "unknown" } },
    element("span", { class: "state" }), element("span", { class: "name" }, name), element("span", { class: "what" }, what),
    element("span", { class: "figure" }, element("span", { class: "number" }, "–"), element("span", { class: "unit" })),
    element("span", { class: "more" }));
  station.addEventListener("click", () => opened(name, () => parts(id)));
  shown.set(id, station);
  return station;
}

// `onOpened` is called with a station's name and a function that returns the stations shown there.
export function startWay(onOpened) {
  opened = onOpened;
  const areas = new Map();
  for (const each of STATIONS) {
    const area = each[1];
    if (!areas.has(area)) {
      const tall = ["order", "adapter", "scm"].includes(area);
      const cell = element("div", { class: tall ? "tall" : area === "queues" ? "queues" : "" });
      cell.style.gridArea = area;
      areas.set(area, cell);
      $("#stations").append(cell);
    }
    areas.get(area).append(made(each));
  }
  areas.get("adapter").append(element("div", { id: "held" }, element("h3", {}, "Held back, by rule"), element("ul", { id: "held-rules" })));
  new ResizeObserver(() => {
    drawEdges();
    for (const id of shown.keys()) show(id);
  }).observe($("#stations"));
}

const place = (id) => {
  const frame = $("#way").getBoundingClientRect();
  const box = shown.get(id).getBoundingClientRect();
  return { left: box.left - frame.left, right: box.right - frame.left, top: box.top - frame.top, bottom: box.bottom - frame.top,
    x: (box.left + box.right) / 2 - frame.left, y: (box.top + box.bottom) / 2 - frame.top };
};

// An edge leaves at the side that faces its goal; tall stations are met at the height of the other end.
function edge(from, to) {
  const [a, b] = [place(from), place(to)];
  const forwards = a.x < b.x;
  const [x1, x2] = forwards ? [a.right, b.left] : [a.left, b.right];
  const level = (tall, other) => Math.min(Math.max(other.y, tall.top + 16), tall.bottom - 16);
  const isTaller = a.bottom - a.top > b.bottom - b.top;
  const [y1, y2] = a.bottom - a.top === b.bottom - b.top ? [a.y, b.y] : isTaller ? [level(a, b), b.y] : [a.y, level(b, a)];
  return [{ x: x1, y: y1 }, { x: x2 + (forwards ? -5 : 5), y: y2 }];
}

const pairs = (ids) => ids.slice(1).map((id, index) => [ids[index], id]);

function drawEdges() {
  const arrow = (way) => `<marker id="arrow-${way}" viewBox="0 0 8 8" refX="6" refY="4" markerWidth="7" markerHeight="7" orient="auto">
    <path d="M0 0L8 4L0 8z" fill="var(--${way})"/></marker>`;
  const line = (way) => ([from, to]) => {
    const [a, b] = edge(from, to);
    const middle = (a.x + b.x) / 2;
    return `<path class="${way}" d="M${a.x} ${a.y} C${middle} ${a.y} ${middle} ${b.y} ${b.x} ${b.y}" marker-end="url(#arrow-${way})"/>`;
  };
  $("#edges").innerHTML = [`<defs>${arrow("there")}${arrow("back")}</defs>`,
    ...[...pairs(THERE), ...pairs(DEMAND)].map(line("there")), ...pairs(BACK).map(line("back"))].join("");
}

// Moves a dot along the stations. Each edge takes a third of a second, to be visible; decisions
// of one batch start one after the other.
function travel(ids, kind, into = null) {
  if (travelling >= MAX_DOTS || document.hidden || matchMedia("(prefers-reduced-motion: reduce)").matches) return;
  const narrow = getComputedStyle($("#edges")).display === "none";
  const points = narrow ? ids.map(place).map(({ left, y }) => ({ x: left + 4, y })) : pairs(ids).flatMap(([from, to]) => edge(from, to));
  if (into) {
    const [frame, box] = [$("#way"), into].map((each) => each.getBoundingClientRect());
    points.push({ x: box.left - frame.left + 12, y: box.top - frame.top + 26 });
  }
  const dot = element("span", { class: `dot ${kind}` });
  $("#travellers").append(dot);
  travelling += 1;
  const duration = (STEP * points.length) / 2;
  dot.animate(points.map(({ x, y }) => ({ transform: `translate(${x}px, ${y}px)` })), { duration, delay: (travelling % 12) * 70, fill: "backwards" })
    .finished.catch(() => {}).finally(() => { dot.remove(); travelling -= 1; });
}

// A decision's event has come from its service; it goes on to the queue, or stays.
export function travelled(decision) {
  const way = decision.source === "scm" ? BACK : THERE;
  if (decision.decision !== "forwarded") travel(way.slice(0, 3), decision.decision, $("#held"));
  else travel(way.slice(0, -1), decision.source === "scm" ? "back" : "there");
}

// A message has been settled by its consumer.
export function settled({ queue, service, outcome }) {
  const id = `queue:${queue}`;
  if (!shown.has(id)) return;
  const bad = ["failed", "dead_letter", "lease_lost"].includes(outcome);
  travel([id, service], bad ? "failed" : service === "scm" ? "there" : "back");
}

const known = new Map();
const services = new Map();

export function stationChanged(station) {
  known.set(station.id, station);
  // A listener and the dead letters are shown with their queue.
  const id = { listener: `queue:${station.name}`, dead_letters: station.id.replace(/-dlq$/, "") }[station.kind] ?? station.id;
  if (shown.has(id)) show(id);
  for (const service of ["order", "scm"]) show(service);
  if (station.kind === "adapter") showHeld(station.rules ?? []);
}

export function serviceChanged(service) {
  services.set(service.id, service);
  const item = $(`#services [data-service=${service.id}]`);
  item.dataset.state = service.status;
  item.title = service.trouble ?? "";
  say($(".status", item), service.status === "up" ? "" : service.status);
  if (shown.has(service.id)) show(service.id);
}

// The stations that one place of the picture stands for.
function parts(id) {
  if (id === "order" || id === "scm") return [{ kind: "service", name: id, ...services.get(id) }, ...[...known.values()].filter((each) => each.service === id)];
  const ids = id.startsWith("queue:") ? [id, `${id}-dlq`, id.replace("queue:", "listener:")] : [id];
  return ids.flatMap((each) => known.get(each) ?? []);
}

function show(id) {
  const facts = id === "order" || id === "scm" ? ofService(id) : id.startsWith("queue:") ? ofQueue(id) : ofStation(known.get(id));
  if (!facts) return;
  const station = shown.get(id);
  station.dataset.status = facts.status;
  say($(".state", station), ["up", "unknown"].includes(facts.status) ? "" : facts.status);
  say($(".number", station), facts.number === null || facts.number === undefined ? "–" : String(facts.number));
  say($(".unit", station), facts.unit);
  const more = [facts.bad, ...facts.more].filter(Boolean).join(station.parentElement.className === "tall" && innerWidth > 900 ? "\n" : " · ");
  if ($(".more", station).textContent !== more)
    $(".more", station).replaceChildren(element("span", { class: "bad" }, facts.bad ?? ""), more.slice(facts.bad?.length ?? 0));
  station.title = facts.trouble ?? "";
}

const perMinute = (value) => (value ? `${Math.round(value)}/min` : "");

function ofStation(station) {
  if (!station) return null;
  const { status, trouble, counts } = station;
  if (station.kind === "relay") {
    const parked = station.parked ? `${station.parked} parked` : "";
    const oldest = station.waiting ? `oldest ${age(station.oldestSeconds)}` : "";
    return { status, trouble, number: station.waiting, unit: "waiting", more: [oldest, perMinute(station.perMinute)], bad: parked };
  }
  if (station.kind === "adapter") {
    const failed = counts?.failed ? `${counts.failed} failed` : "";
    return { status, trouble, number: Math.round(station.perMinute ?? 0), unit: "events/min",
      more: [`${counts?.forwarded ?? 0} forwarded`, `${counts?.held_back ?? 0} held back`], bad: failed };
  }
  return { status, trouble, number: counts?.published ?? 0, unit: "published", more: [perMinute(station.perMinute)] };
}

function ofQueue(id) {
  const queue = known.get(id);
  if (!queue) return null;
  const listener = known.get(id.replace("queue:", "listener:"));
  const deadLetters = known.get(`${id}-dlq`)?.waiting;
  const dead = deadLetters ? `${deadLetters} dead` : "";
  const working = (queue.inFlight ?? 0) ? `${queue.inFlight} in flight` : "";
  const oldest = queue.oldestSeconds && queue.waiting ? `oldest ${age(queue.oldestSeconds)}` : "";
  const status = queue.status === "up" ? listener?.status ?? "up" : queue.status;
  return { status, trouble: queue.trouble ?? listener?.trouble, number: queue.waiting, unit: "waiting",
    more: [working, oldest, perMinute(listener?.perMinute)], bad: dead };
}

function ofService(id) {
  const { status = "unknown", trouble = null } = services.get(id) ?? {};
  const listeners = [...known.values()].filter((each) => each.kind === "listener" && each.service === id);
  const sum = (field) => listeners.reduce((total, each) => total + (each.counts?.[field] ?? 0), 0);
  const rate = id === "order" ? known.get("relay:order")?.perMinute : listeners.reduce((total, each) => total + (each.perMinute ?? 0), 0);
  const more = [`${sum("handled")} handled`, sum("duplicate") ? `${sum("duplicate")} duplicates absorbed` : "", sum("superseded") ? `${sum("superseded")} superseded` : ""];
  return { status, trouble, number: Math.round(rate ?? 0), unit: id === "order" ? "events/min" : "messages/min", more: listeners.length ? more : [] };
}

function showHeld(rules) {
  const held = rules.filter((each) => each.decision === "held_back").sort((a, b) => b.count - a.count).slice(0, 4);
  $("#held-rules").replaceChildren(...held.map(({ rule, count }) =>
    element("li", { title: rule }, element("span", {}, rule), element("span", {}, String(count)))));
}
