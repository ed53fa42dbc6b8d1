// The registered services, from the live stream.

import { $, element, say } from "./dom.js";

const services = new Map();
const listeners = [];

// `listener` is called after each change.
export const onServices = (listener) => listeners.push(listener);

export const service = (name) => services.get(name);

// Names of the services that publish or consume events.
export const serviceNames = () => [...services.values()].filter((each) => !each.isAdapter).map(({ id }) => id).sort();

// A colour of four that a service has everywhere on the page.
export const tone = (name) => `tone-${Math.max(0, serviceNames().indexOf(name)) % 4}`;

export function serviceChanged(changed) {
  services.set(changed.id, changed);
  show(changed);
  for (const listener of listeners) listener();
}

function show({ id, status, trouble, instances }) {
  const item = $(`#services [data-service="${id}"]`) ?? made(id);
  item.dataset.state = status;
  item.title = [trouble, ...instances.map((each) => `${each.name}: ${each.status}`)].filter(Boolean).join("\n");
  const up = instances.filter((each) => each.status === "up").length;
  const many = instances.length > 1 ? `${up} of ${instances.length}` : "";
  say($(".status", item), status === "up" ? (up < instances.length ? many : "") : status);
}

function made(id) {
  const item = element("li", { data: { service: id } }, element("span", { class: "lamp" }), `${id} `, element("span", { class: "status" }));
  const after = [...$("#services").children].find((each) => each.dataset.service > id);
  $("#services").insertBefore(item, after ?? null);
  return item;
}
