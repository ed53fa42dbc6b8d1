// A plan: bulk operations start with a dry run, which shows the number of affected items; a second button executes them.

import { element, say } from "./dom.js";
import { failuresOf } from "./failures.js";
import { stop } from "./operation.js";

// An act: {name, doing, isDangerous, work(isDryRun, watch), would(outcome), done(outcome), trouble(outcome)}.
// `work` returns an outcome, of which `selected` is the number of items; the others make sentences of it, and
// `trouble` null where there is none. `stage(operation)` may describe the progress, instead of the numbers. `idle` are
// controls beside the acts, while nothing is planned. What is offered after a dry run is withdrawn by `say`, which
// is to be called when what it is about changes.
export function planning(acts, ...idle) {
  const status = element("p", { class: "said", role: "status" });
  const meter = element("progress", { hidden: true, ariaLabel: "Progress" });
  const controls = element("div", { class: "actions" });
  let isBusy = false;
  const beginnings = acts.map((act) => button(`${act.name} …`, () => attempt(act), act.isDangerous));

  function show(text, { isBad = false, buttons = [...beginnings, ...idle] } = {}) {
    status.classList.toggle("bad", isBad);
    say(status, text);
    if (buttons.length === controls.children.length && buttons.every((each, place) => each === controls.children[place])) return;
    const hadFocus = controls.contains(document.activeElement);
    controls.replaceChildren(...buttons);
    if (hadFocus) buttons[0].focus();
  }

  // A dry run, or, when the number of items is known, the execution.
  async function attempt(act, limit = null) {
    const stopping = button("Stop");
    const doing = limit === null ? "Dry run" : act.doing;
    isBusy = true;
    meter.hidden = false;
    meter.removeAttribute("value");
    show(`${doing} …`, { buttons: [stopping] });
    try {
      const outcome = await act.work(limit === null, (operation) => {
        stopping.onclick = () => stop(operation);
        const [now, end] = limit === null ? [operation.lookedAt, operation.expected] : [operation.done + operation.failed, limit];
        if (end) Object.assign(meter, { max: Math.max(now, end), value: now });
        show(act.stage?.(operation) ?? (now ? `${doing}: ${now} of ${Math.max(now, end)}` : `${doing} …`), { buttons: [stopping] });
      });
      const stopped = outcome.status === "cancelled" ? "Stopped." : null;
      if (limit !== null) {
        const details = failuresOf(outcome);
        const buttons = details ? [details, ...beginnings, ...idle] : undefined;
        show(sentences(act.done(outcome), stopped, act.trouble(outcome)), { isBad: Boolean(act.trouble(outcome)), buttons });
      }
      else if (stopped) show(stopped);
      else if (outcome.selected) offer(act, outcome);
      else show(act.trouble(outcome) ?? "Dry run: nothing matches.");
    } catch (error) {
      show(error.message, { isBad: true });
    }
    isBusy = false;
    meter.hidden = true;
  }

  function offer(act, outcome) {
    const doIt = button(`${act.name} ${outcome.selected}`, () => attempt(act, outcome.selected), act.isDangerous);
    show(sentences(`Dry run: ${act.would(outcome)}`, act.trouble(outcome)), { buttons: [doIt, button("Cancel", () => show(""))] });
  }

  show("");
  return { place: element("div", { class: "plan" }, status, meter, controls), beginnings, say: (text) => isBusy || show(text) };
}

const sentences = (...parts) => parts.filter(Boolean).join(" ");

function button(name, work, isDangerous = false) {
  const made = element("button", { type: "button", class: isDangerous ? "danger" : "" }, name);
  if (work) made.addEventListener("click", () => made.ariaDisabled === "true" || work());
  return made;
}
