// Demo orders and experiments. The console has them in development only; elsewhere their sections stay hidden.

import { ask } from "./api.js";
import { $, element, say } from "./dom.js";
import { asOperator } from "./operator.js";

const DEMOS = {
  "buy-one": ["demo/orders", { count: 1 }, (answer) => `Order ${answer.orders[0]} is placed and paid.`],
  "buy-many": ["demo/orders", { count: 50 }, (answer) => `${answer.orders.length} orders are placed and paid.`],
  "send-bad": ["demo/bad-message", {}, (answer) => `A message that cannot be decoded was sent to ${answer.queue}.`],
};

// A button that works is busy, not disabled: it keeps the focus, and ignores a second press.
async function press(button, work) {
  if (button.ariaBusy === "true") return;
  button.ariaBusy = "true";
  try {
    const summary = await asOperator(work);
    $("#demo-said").className = "";
    say($("#demo-said"), summary);
  } catch (error) {
    $("#demo-said").className = "bad";
    say($("#demo-said"), error.message);
  } finally {
    button.ariaBusy = "false";
  }
}

function showExperiments(experiments) {
  const list = $("#experiments");
  if (!list.children.length) list.append(...experiments.map(made));
  const running = experiments.some((each) => each.running);
  for (const [place, each] of experiments.entries()) {
    const item = list.children[place];
    $("button", item).ariaDisabled = String(running);
    const verdict = $(".verdict", item);
    verdict.className = `verdict ${each.verdict ? (each.verdict.asPredicted ? "good" : "wrong") : each.error ? "wrong" : ""}`;
    say(verdict, each.running ? `Running: ${each.running} …` : each.error ?? (each.verdict ? `Measured: ${each.verdict.said}.` : ""));
  }
  return running;
}

function made(experiment) {
  const button = element("button", { type: "button" }, "Run and measure");
  button.setAttribute("aria-label", `Run and measure: ${experiment.title}`);
  const item = element("li", { id: `experiment-${experiment.id}` },
    element("h3", {}, experiment.title), element("p", { class: "prediction" }, `Prediction: ${experiment.prediction}`), button,
    element("p", { class: "verdict", role: "status" }));
  button.addEventListener("click", async () => {
    if (button.ariaDisabled === "true") return;
    try {
      await asOperator(() => ask(`api/experiments/${experiment.id}`, { method: "POST" }));
      follow();
    } catch (error) {
      $(".verdict", item).className = "verdict wrong";
      say($(".verdict", item), error.message);
    }
  });
  return item;
}

async function follow() {
  try {
    const { experiments } = await ask("api/experiments");
    if (showExperiments(experiments)) setTimeout(follow, 700);
  } catch {
    setTimeout(follow, 2000);
  }
}

export function startLaboratory() {
  if ($("#try").hidden) return;
  for (const [id, [path, body, summary]] of Object.entries(DEMOS)) {
    const button = $(`#${id}`);
    button.addEventListener("click", () => press(button, async () => summary(await ask(`api/${path}`, { method: "POST", body }))));
  }
  follow();
}
