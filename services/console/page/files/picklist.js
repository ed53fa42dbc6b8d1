// A list with a filter above, a checkbox in each row, and buttons for the selected items below.

import { ask, token } from "./api.js";
import { counted, element, say } from "./dom.js";
import { settledAs, together } from "./operation.js";
import { asOperator } from "./operator.js";
import { planning } from "./plan.js";

const LIMIT = 200;
const FIELDS = [["type", "Type"], ["orderId", "Order"], ["error", "Reason contains"]];

// `list`: {name, path, field, groups, items(answer), note(answer), cells(item), empty, acts, beside}. `field` is
// the name of what the items are grouped by, one of `groups`: each act is for one group. An act is as a plan has it,
// with `past`, and its `work` is given a command.
export function pickList(panel, list) {
  const chosen = new Set();
  let items = [];
  let looks = 0;

  const group = element("select", { name: list.field, ariaLabel: list.field }, element("option", { value: "" }, `all ${list.field}s`));
  const fields = FIELDS.map(([name, label]) =>
    element("input", { name, placeholder: label, ariaLabel: label, autocomplete: "off", spellcheck: false }));
  const form = element("form", { class: "filter", ariaLabel: `Filter: ${list.name}s` }, group, ...fields, element("button", {}, "Refresh"));
  const all = element("input", { type: "checkbox", ariaLabel: "All that match", title: "All that match, also those that are not shown" });
  const head = element("tr", {}, element("th", { class: "pick" }, all), element("th", { class: "event" }, "Event, order"), element("th", {}, "Reason"));
  const rows = element("tbody");
  const note = element("p", { class: "empty" }, list.empty);
  const plan = planning(list.acts.map((act) => ({
    ...act,
    work: (isDryRun, watch) => work(act, isDryRun, watch),
    would: ({ selected }) => `${counted(selected, list.name)} would be ${act.past}.`,
    done: (outcome) => `${counted(outcome.done, list.name)} ${act.past}. ${settledAs(outcome)}`.trim(),
    trouble: ({ error }) => error,
  })), ...(list.beside ?? []));
  const table = element("table", {}, element("thead", {}, head), rows);
  panel.append(form, element("div", { class: "scroll", tabIndex: 0, role: "region", ariaLabel: `${list.name}s` }, table, note), plan.place);

  function filter() {
    const given = [...new FormData(form)].map(([name, value]) => [name, value.trim()]);
    return Object.fromEntries(given.filter(([, value]) => value));
  }

  function showGroups() {
    const known = [...group.options].map((option) => option.value);
    group.append(...list.groups().filter((name) => !known.includes(name)).map((name) => element("option", { value: name }, name)));
  }

  // Reads the list, if there is a token, or when `by` is asOperator, which requests one.
  async function look(by = (work) => work()) {
    showGroups();
    if (!token.get() && by !== asOperator) return;
    const mine = ++looks;
    try {
      const answer = await by(() => ask(`api/${list.path}?${new URLSearchParams({ ...filter(), limit: LIMIT })}`));
      if (mine !== looks) return;
      items = list.items(answer);
      rows.replaceChildren(...items.map(row));
      say(note, list.note(answer) || (items.length ? "" : Object.keys(filter()).length ? `No ${list.name} matches.` : list.empty));
      note.hidden = !note.textContent;
      choose(all.checked);
    } catch (error) {
      if (mine !== looks) return;
      note.hidden = false;
      say(note, error.message);
    }
  }

  function row(item) {
    const label = `${item.type ?? "unknown"}, order ${item.orderId ?? "unknown"}`;
    const box = element("input", { type: "checkbox", value: item.id, checked: chosen.has(item.id), ariaLabel: label });
    box.addEventListener("change", () => {
      if (box.checked) chosen.add(item.id);
      else chosen.delete(item.id);
      chose(false);
    });
    return element("tr", {}, element("td", { class: "pick" }, box), ...list.cells(item).map((cell) => element("td", {}, ...cell)));
  }

  function choose(everything) {
    all.checked = everything;
    const there = new Set(items.map((item) => item.id));
    for (const id of everything ? there : chosen) chosen[there.has(id) ? "add" : "delete"](id);
    for (const box of rows.querySelectorAll("input")) box.checked = chosen.has(box.value);
    all.indeterminate = !everything && chosen.size > 0;
    for (const each of plan.beginnings) each.ariaDisabled = String(!everything && !chosen.size);
  }

  function chose(everything) {
    choose(everything);
    plan.say(everything ? "All that match are selected." : chosen.size ? `${chosen.size} selected.` : "");
  }

  // Body of the request: for each shown group the criteria, or the ids.
  function selections() {
    const { [list.field]: _, ...criteria } = filter();
    const everything = Object.keys(criteria).length ? criteria : { all: true };
    const groups = Map.groupBy(items.filter((item) => chosen.has(item.id)), (item) => item[list.field]);
    return [...groups].map(([name, of]) => ({ [list.field]: name, selection: all.checked ? everything : { ids: of.map(({ id }) => id) } }));
  }

  // One group after the other; their numbers are added up.
  async function work(act, isDryRun, watch) {
    let total = {};
    for (const selection of selections()) {
      const before = total;
      total = together(before, await act.work({ ...selection, dryRun: isDryRun }, (one) => watch(together(before, one))));
      if (total.status === "cancelled") break;
    }
    if (!isDryRun) {
      chosen.clear();
      choose(false);
      look();
    }
    return total;
  }

  all.addEventListener("change", () => chose(all.checked));
  form.addEventListener("submit", (submit) => { submit.preventDefault(); look(asOperator); });
  form.addEventListener("input", () => plan.say(""));
  group.addEventListener("change", () => look());
  choose(false);
  return { look, narrow(to) { form.reset(); showGroups(); group.value = to; look(); }, note: (text) => { note.hidden = false; say(note, text); } };
}
