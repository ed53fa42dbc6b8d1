// Diagram of the event path, laid out from what is registered: outboxes, adapter, topics, queues, consumers.

import { $, age, element, say } from "./dom.js";
import { onServices, service, tone } from "./services.js";

const COLUMNS = ["outbox", "adapter", "topic", "queue", "consumer"];
const STEP = 360;
const MAX_DOTS = 80;
const MAX_ROOMY = 4; // places of a column; with more, all places are small

let opened = () => {};
let travelling = 0;
let planned = "";
let waiting = false;
const known = new Map(); // stations
const shown = new Map(); // elements

// `onOpened` is called with a place's name and a function that returns the stations shown there.
export function startWay(onOpened) {
  opened = onOpened;
  for (const column of COLUMNS) $("#stations").append(element("div", { class: "column", data: { column } }));
  onServices(plan);
  new ResizeObserver(drawEdges).observe($("#stations"));
}

export function stationChanged(station) {
  known.set(station.id, station);
  plan();
}

// Shows the news of this moment together, in the next frame.
function plan() {
  if (waiting) return;
  waiting = true;
  setTimeout(() => {
    waiting = false;
    arrange();
    for (const [id, element] of shown) show(id, element);
    showHeld([...of("adapter")].flatMap(({ rules }) => rules ?? []));
  }, 30);
}

const of = (kind) => [...known.values()].filter((each) => each.kind === kind);
const listenerOf = (queue) => known.get(queue.id.replace("queue:", "listener:"));
const consumerOf = (queue) => listenerOf(queue)?.service;
const byName = (a, b) => a.name.localeCompare(b.name);

// Places by column, each with its id, name and description.
function places() {
  const topics = of("topic").sort(byName);
  const queues = topics.flatMap((topic) => topic.feeds.map((id) => known.get(id)).filter(Boolean).sort(byName));
  const consumers = [...new Set(queues.map(consumerOf).filter(Boolean))];
  return {
    outbox: of("relay").sort(byName).map(({ id, service: name }) => ({ id, name: `Outbox of ${name}`, what: "event log and relay", of: name })),
    adapter: of("adapter").sort(byName).map(({ id, name }) => ({ id, name, what: "decides which events leave" })),
    topic: topics.map(({ id, name }) => ({ id, name, what: "SNS topic" })),
    queue: [...new Set(queues)].map((queue) => ({ id: queue.id, name: queue.name, of: consumerOf(queue),
      what: queue.isForeign ? "SQS, to an unregistered consumer" : `SQS, to ${consumerOf(queue)}` })),
    consumer: consumers.map((name) => ({ id: `service:${name}`, name, what: "handlers and inbox", of: name })),
  };
}

function arrange() {
  const now = places();
  const next = JSON.stringify(now);
  if (next === planned) return;
  planned = next;
  $("#stations").dataset.dense = String(COLUMNS.some((column) => now[column].length > MAX_ROOMY));
  for (const column of COLUMNS) {
    const cell = $(`#stations [data-column=${column}]`);
    cell.replaceChildren(...now[column].map(made));
    if (column === "adapter" && now.adapter.length)
      cell.append(element("div", { id: "held" }, element("h3", {}, "Held back, by rule"), element("ul", { id: "held-rules" })));
  }
  const there = new Set(COLUMNS.flatMap((column) => now[column].map(({ id }) => id)));
  for (const id of shown.keys()) if (!there.has(id)) shown.delete(id);
  drawEdges();
}

function made({ id, name, what, of: owner }) {
  const station = element("button", { type: "button", class: `station ${owner ? tone(owner) : ""}`, data: { id, status: "unknown" } },
    element("span", { class: "state" }), element("span", { class: "name" }, name), element("span", { class: "what" }, what),
    element("span", { class: "figure" }, element("span", { class: "number" }, "–"), element("span", { class: "unit" })),
    element("span", { class: "more" }));
  station.addEventListener("click", () => opened(name, () => parts(id)));
  shown.set(id, station);
  return station;
}

// Pairs of places that an arrow joins.
function joined() {
  const pairs = [...known.values()].flatMap(({ id, feeds }) => feeds.map((next) => [id, next]));
  const consumed = of("queue").filter(consumerOf).map((queue) => [queue.id, `service:${consumerOf(queue)}`]);
  return [...pairs, ...consumed].filter((pair) => pair.every((id) => shown.has(id)));
}

const place = (id) => {
  const frame = $("#way").getBoundingClientRect();
  const box = shown.get(id).getBoundingClientRect();
  return { left: box.left - frame.left, right: box.right - frame.left, y: (box.top + box.bottom) / 2 - frame.top };
};

const edge = (from, to) => [{ x: place(from).right, y: place(from).y }, { x: place(to).left - 5, y: place(to).y }];

function drawEdges() {
  const arrow = `<marker id="arrow" viewBox="0 0 8 8" refX="6" refY="4" markerWidth="7" markerHeight="7" orient="auto">
    <path d="M0 0L8 4L0 8z" fill="var(--muted)"/></marker>`;
  const lines = joined().map(([from, to]) => {
    const [a, b] = edge(from, to);
    const middle = (a.x + b.x) / 2;
    return `<path d="M${a.x} ${a.y} C${middle} ${a.y} ${middle} ${b.y} ${b.x} ${b.y}" marker-end="url(#arrow)"/>`;
  });
  $("#edges").innerHTML = `<defs>${arrow}</defs>${lines.join("")}`;
}

// Moves a dot along places. Each edge takes a third of a second, to be visible; those of one batch start
// one after the other.
function travel(ids, kind, into = null) {
  if (!ids.every((id) => shown.has(id)) || travelling >= MAX_DOTS || document.hidden) return;
  if (matchMedia("(prefers-reduced-motion: reduce)").matches) return;
  const narrow = getComputedStyle($("#edges")).display === "none";
  const points = narrow ? ids.map(place).map(({ left, y }) => ({ x: left + 4, y }))
    : ids.slice(1).flatMap((id, index) => edge(ids[index], id));
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

// A decision's event has come from its service's outbox; it goes on to its topic, or stays.
export function travelled({ source, decision, topic }) {
  const way = [`relay:${source}`, ...of("adapter").slice(0, 1).map(({ id }) => id)];
  if (decision === "forwarded") travel([...way, `topic:${topic}`], tone(source));
  else travel(way, decision, $("#held"));
}

// A message has come from its topic, and its consumer has settled it.
export function settled({ queue, service: consumer, outcome }) {
  const topic = of("topic").find(({ feeds }) => feeds.includes(`queue:${queue}`));
  const kind = ["failed", "dead_letter", "lease_lost"].includes(outcome) ? "failed" : tone(consumer);
  travel([...(topic ? [topic.id] : []), `queue:${queue}`, `service:${consumer}`], kind);
}

// The stations that one place of the diagram stands for.
function parts(id) {
  if (!id.startsWith("service:")) {
    const ids = id.startsWith("queue:") ? [id, ...deadLettersOf(id), id.replace("queue:", "listener:")] : [id];
    return ids.flatMap((each) => known.get(each) ?? []);
  }
  const name = id.replace("service:", "");
  return [{ kind: "service", name, ...service(name) }, ...[...known.values()].filter((each) => each.service === name)];
}

const deadLettersOf = (id) => (known.get(id)?.feeds ?? []).filter((next) => known.get(next)?.kind === "dead_letters");

function show(id, station) {
  const facts = id.startsWith("service:") ? ofService(id.replace("service:", "")) : id.startsWith("queue:") ? ofQueue(id) : ofStation(known.get(id));
  if (!facts) return;
  station.dataset.status = facts.status;
  say($(".state", station), ["up", "unknown"].includes(facts.status) ? "" : facts.status);
  say($(".number", station), facts.number === null || facts.number === undefined ? "–" : String(facts.number));
  say($(".unit", station), facts.unit);
  const more = [facts.bad, ...facts.more].filter(Boolean).join(" · ");
  if ($(".more", station).textContent !== more)
    $(".more", station).replaceChildren(element("span", { class: "bad" }, facts.bad ?? ""), more.slice(facts.bad?.length ?? 0));
  station.title = facts.trouble ?? more;
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
  const listener = listenerOf(queue);
  const deadLetters = deadLettersOf(id).reduce((total, each) => total + (known.get(each).waiting ?? 0), 0);
  const working = (queue.inFlight ?? 0) ? `${queue.inFlight} in flight` : "";
  const oldest = queue.oldestSeconds && queue.waiting ? `oldest ${age(queue.oldestSeconds)}` : "";
  const status = queue.status === "up" ? listener?.status ?? "up" : queue.status;
  return { status, trouble: queue.trouble ?? listener?.trouble, number: queue.waiting, unit: "waiting",
    more: [working, oldest, perMinute(listener?.perMinute)], bad: deadLetters ? `${deadLetters} dead` : "" };
}

function ofService(name) {
  const { status = "unknown", trouble = null } = service(name) ?? {};
  const listeners = of("listener").filter((each) => each.service === name);
  const sum = (count) => listeners.reduce((total, each) => total + (count(each) ?? 0), 0);
  const outcome = (word, counted) => (sum(({ counts }) => counts?.[counted]) ? `${sum(({ counts }) => counts?.[counted])} ${word}` : "");
  return { status, trouble, number: Math.round(sum((each) => each.perMinute)), unit: "messages/min",
    more: [`${sum(({ counts }) => counts?.handled)} handled`, outcome("duplicates", "duplicate"), outcome("superseded", "superseded")] };
}

function showHeld(rules) {
  const held = rules.filter((each) => each.decision === "held_back").sort((a, b) => b.count - a.count).slice(0, 4);
  $("#held-rules")?.replaceChildren(...held.map(({ rule, count }) =>
    element("li", { title: rule }, element("span", {}, rule), element("span", {}, String(count)))));
}
