// The picture: stations with what waits at them, and decisions travelling between them.

import { $, age, element, say } from "./dom.js";

// Where each station stands, what it is, and which way its events go. Ids are those of /api/stations.
const STATIONS = [
  ["order", "order", "Order", "commands and reads over REST", "there"],
  ["order-outbox", "outbox", "Outbox", "event log and relay of Order", "there"],
  ["adapter", "adapter", "Adapter", "decides which events leave", ""],
  ["order-events", "topic", "order-events", "SNS topic", "there"],
  ["scm-adapter-order-event-queue", "queues", "scm-adapter-order-event-queue", "SQS, fulfilment", "there"],
  ["scm-demand-order-event-queue", "queues", "scm-demand-order-event-queue", "SQS, demand", "there"],
  ["scm", "scm", "SCM", "inventory, purchase, delivery, demand", "back"],
  ["scm-outbox", "outbox2", "Outbox", "event log and relay of SCM", "back"],
  ["scm-events", "topic2", "scm-events", "SNS topic", "back"],
  ["order-adapter-scm-event-queue", "inbox", "order-adapter-scm-event-queue", "SQS, SCM's answers", "back"],
];

const THERE = ["order", "order-outbox", "adapter", "order-events", "scm-adapter-order-event-queue", "scm"];
const DEMAND = ["order-events", "scm-demand-order-event-queue", "scm"];
const BACK = ["scm", "scm-outbox", "adapter", "scm-events", "order-adapter-scm-event-queue", "order"];
const STEP = 360;
const AT_ONCE = 80;

const shown = new Map();
let travelling = 0;

function made([id, , name, what, way]) {
  const station = element("button", { type: "button", class: `station ${way}`, data: { id, status: "unknown" } },
    element("span", { class: "state" }), element("span", { class: "name" }, name), element("span", { class: "what" }, what),
    element("span", { class: "figure" }, element("span", { class: "number" }, "–"), element("span", { class: "unit" })),
    element("span", { class: "more" }));
  shown.set(id, station);
  return station;
}

export function startWay() {
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
  new ResizeObserver(drawEdges).observe($("#stations"));
}

const place = (id) => {
  const frame = $("#way").getBoundingClientRect();
  const box = shown.get(id).getBoundingClientRect();
  return { left: box.left - frame.left, right: box.right - frame.left, top: box.top - frame.top, bottom: box.bottom - frame.top,
    x: (box.left + box.right) / 2 - frame.left, y: (box.top + box.bottom) / 2 - frame.top };
};

// An edge leaves at the side that faces its goal; tall stations are met at the height of the other end.
function edge(from, to, way) {
  const [a, b] = [place(from), place(to)];
  const forwards = a.x < b.x;
  const [x1, x2] = forwards ? [a.right, b.left] : [a.left, b.right];
  const level = (tall, other) => Math.min(Math.max(other.y, tall.top + 16), tall.bottom - 16);
  const [y1, y2] = [a.bottom - a.top > b.bottom - b.top ? level(a, b) : a.y, b.bottom - b.top > a.bottom - a.top ? level(b, a) : b.y];
  const middle = (x1 + x2) / 2;
  return { way, d: `M${x1} ${y1} C${middle} ${y1} ${middle} ${y2} ${x2 + (forwards ? -5 : 5)} ${y2}` };
}

const pairs = (ids) => ids.slice(1).map((id, index) => [ids[index], id]);

function drawEdges() {
  const svg = $("#edges");
  const drawn = [...pairs(THERE), ...pairs(DEMAND)].map(([a, b]) => edge(a, b, "there"))
    .concat(pairs(BACK).map(([a, b]) => edge(a, b, "back")));
  svg.replaceChildren();
  svg.insertAdjacentHTML("beforeend", `<defs>${["there", "back"].map((way) =>
    `<marker id="arrow-${way}" viewBox="0 0 8 8" refX="6" refY="4" markerWidth="7" markerHeight="7" orient="auto"><path d="M0 0L8 4L0 8z" fill="var(--${way})" stroke="none"/></marker>`).join("")}</defs>`);
  for (const { way, d } of drawn) {
    const path = document.createElementNS("http://www.w3.org/2000/svg", "path");
    path.setAttribute("d", d);
    path.setAttribute("class", way);
    path.setAttribute("marker-end", `url(#arrow-${way})`);
    svg.append(path);
  }
}
