// A plan: what would be done to many is tried first. The dry run says how many, and a button does it.

import { element, say } from "./dom.js";
import { stop } from "./operation.js";

// An act: {name, doing, isDangerous, work(isDryRun, watch), would(outcome), done(outcome), trouble(outcome)}.
// `work` returns an outcome, of which `selected` says how many it is about; the others make sentences of it, and
// `trouble` null where there is none. `stage(operation)` may say how far it is, instead of the numbers. `idle` are
// controls beside the acts, while nothing is planned. What is offered after a dry run is withdrawn by `say`, which
// is to be called when what it is about changes.
export function planning(acts, ...idle) {
  const said = element("p", { class: "said", role: "status" });
  const meter = element("progress", { hidden: true, ariaLabel: "How far it is" });
  const controls = element("div", { class: "actions" });
  let isBusy = false;
  const beginnings = acts.map((act) => button(`${act.name} …`, () => attempt(act), act.isDangerous));

  function show(text, { isBad = false, buttons = [...beginnings, ...idle] } = {}) {
    said.classList.toggle("bad", isBad);
    say(said, text);
    if (buttons.length === controls.children.length && buttons.every((each, place) => each === controls.children[place])) return;
    const hadFocus = controls.contains(document.activeElement);
    controls.replaceChildren(...buttons);
    if (hadFocus) buttons[0].focus();
  }

  // A dry run, or, when it is known how many it is about, the deed.
  async function attempt(act, most = null) {
    const stopping = button("Stop");
    const doing = most === null ? "Dry run" : act.doing;
    isBusy = true;
    meter.hidden = false;
    meter.removeAttribute("value");
    show(`${doing} …`, { buttons: [stopping] });
    try {
      const outcome = await act.work(most === null, (operation) => {
        stopping.onclick = () => stop(operation);
        const [now, end] = most === null ? [operation.lookedAt, operation.expected] : [operation.done + operation.failed, most];
        if (end) Object.assign(meter, { max: Math.max(now, end), value: now });
        show(act.stage?.(operation) ?? (now ? `${doing}: ${now} of ${Math.max(now, end)}` : `${doing} …`), { buttons: [stopping] });
      });
      const stopped = outcome.status === "cancelled" ? "Stopped." : null;
      if (most !== null) show(sentences(act.done(outcome), stopped, act.trouble(outcome)), { isBad: Boolean(act.trouble(outcome)) });
      else if (stopped) show(stopped);
      else if (outcome.selected) offer(act, outcome);
      else show(act.trouble(outcome) ?? "Dry run: nothing fits.");
    } catch (error) {
      show(error.message, { isBad: true });
    }
    isBusy = false;
    meter.hidden = true;
  }

  function offer(act, outcome) {
    const doIt = button(`${act.name} ${outcome.selected}`, () => attempt(act, outcome.selected), act.isDangerous);
    show(sentences(`Dry run: ${act.would(outcome)}`, act.trouble(outcome)), { buttons: [doIt, button("Leave it", () => show(""))] });
  }

  show("");
  return { place: element("div", { class: "plan" }, said, meter, controls), beginnings, say: (text) => isBusy || show(text) };
}

const sentences = (...said) => said.filter(Boolean).join(" ");

function button(name, work, isDangerous = false) {
  const made = element("button", { type: "button", class: isDangerous ? "danger" : "" }, name);
  if (work) made.addEventListener("click", () => made.ariaDisabled === "true" || work());
  return made;
}
