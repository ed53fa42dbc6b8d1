// A list to choose from: a filter above it, a box in each row, and below it what can be done with the chosen.

import { ask, token } from "./api.js";
import { counted, element, say } from "./dom.js";
import { asOperator } from "./operator.js";
import { planning } from "./plan.js";

const MOST = 200;
const FIELDS = [["type", "Type"], ["orderId", "Order"], ["error", "Reason has"]];

// `list`: {name, path, field, groups, items(answer), note(answer), cells(item), empty, acts, beside}. `field` is
// the name of what the items are grouped by, because each act is for one of the `groups`.
export function pickList(panel, list) {
  const chosen = new Set();
  let items = [];
  let looks = 0;

  const group = element("select", { name: list.field, ariaLabel: list.field }, element("option", { value: "" }, `every ${list.field}`));
  const fields = FIELDS.map(([name, label]) => element("input", { name, placeholder: label, ariaLabel: label, autocomplete: "off", spellcheck: false }));
  const form = element("form", { class: "filter", ariaLabel: `Filter: ${list.name}s` }, group, ...fields, element("button", {}, "Look"));
  const all = element("input", { type: "checkbox", ariaLabel: "All that fit", title: "All that fit, also those that are not shown" });
  const rows = element("tbody");
  const note = element("p", { class: "empty" }, list.empty);
  const plan = planning(list.acts.map((act) => ({ ...act, work: (isDryRun, watch) => work(act, isDryRun, watch), done: (outcome) => done(act, outcome),
    would: (outcome) => would(act, outcome), trouble: (outcome) => outcome.error })), ...(list.beside ?? []));
  panel.append(form,
    element("div", { class: "scroll", tabIndex: 0, role: "region", ariaLabel: `${list.name}s` },
      element("table", {}, element("thead", {}, element("tr", {}, element("th", { class: "pick" }, all), element("th", { class: "event" }, "Event, order"), element("th", {}, "Reason"))), rows), note),
    plan.place);
  showGroups();

  const filter = () => Object.fromEntries([...new FormData(form)].filter(([, value]) => value.trim()).map(([name, value]) => [name, value.trim()]));

  function showGroups() {
    const known = [...group.options].map((option) => option.value);
    group.append(...list.groups().filter((name) => !known.includes(name)).map((name) => element("option", { value: name }, name)));
  }

  // Reads the list. Without a token it says that one is needed, or asks for it when `work` is asOperator.
  async function look(by = (work) => work()) {
    showGroups();
    if (!token.get() && by !== asOperator) return;
    const mine = ++looks;
    try {
      const answer = await by(() => ask(`api/${list.path}?${new URLSearchParams({ ...filter(), limit: MOST })}`));
      if (mine !== looks) return;
      items = list.items(answer);
      rows.replaceChildren(...items.map(row));
      say(note, list.note(answer) || (items.length ? "" : Object.keys(filter()).length ? `No ${list.name} fits.` : list.empty));
      note.hidden = !note.textContent;
      choose(all.checked);
    } catch (error) {
      if (mine !== looks) return;
      note.hidden = false;
      say(note, error.message);
    }
  }

  function row(item) {
    const box = element("input", { type: "checkbox", value: item.id, checked: chosen.has(item.id), ariaLabel: `${item.type ?? "unknown"}, order ${item.orderId ?? "unknown"}` });
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
    plan.say(everything ? "All that fit are chosen." : chosen.size ? `${chosen.size} chosen.` : "");
  }

  // What is chosen, as the API wants it: for each group the criteria, or the ids.
  function selections() {
    if (!all.checked) {
      const groups = Map.groupBy(items.filter((item) => chosen.has(item.id)), (item) => item[list.field]);
      return [...groups].map(([name, of]) => ({ [list.field]: name, selection: { ids: of.map((item) => item.id) } }));
    }
    const { [list.field]: only, ...criteria } = filter();
    const selection = Object.keys(criteria).length ? criteria : { all: true };
    return (only ? [only] : list.groups()).map((name) => ({ [list.field]: name, selection }));
  }

  async function work(act, isDryRun, watch) {
    const total = { selected: 0, done: 0, failed: 0, lookedAt: 0, expected: 0, error: null };
    for (const selection of selections()) {
      const sum = (one) => Object.fromEntries(Object.entries(total).map(([name, before]) => [name, name === "error" ? before ?? one.error : before + (one[name] ?? 0)]));
      Object.assign(total, sum(await act.work({ ...selection, dryRun: isDryRun }, (one) => watch({ ...sum(one), id: one.id }))));
    }
    if (!isDryRun) {
      chosen.clear();
      choose(false);
      look();
    }
    return total;
  }

  const would = (act, { selected }) => `${counted(selected, list.name)} would be ${act.past}.`;
  const done = (act, outcome) => `${counted(outcome.done, list.name)} ${act.past}.`;

  all.addEventListener("change", () => chose(all.checked));
  form.addEventListener("submit", (submit) => { submit.preventDefault(); look(asOperator); });
  form.addEventListener("input", () => plan.say(""));
  group.addEventListener("change", () => look());
  choose(false);
  return { look, narrow(to) { form.reset(); group.value = to; look(); }, tell: (text) => { note.hidden = false; say(note, text); } };
}
