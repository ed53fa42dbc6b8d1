// Demo orders and faults. The adapter has them in development only; elsewhere both sections stay hidden.

import { ask } from "./api.js";
import { $, element, say } from "./dom.js";
import { asOperator } from "./operator.js";

const DEMOS = [
  ["Place an order", "demo/orders", { count: 1 }, (answer) => `Order ${answer.orders[0]} is placed and paid.`],
  ["A burst of 50", "demo/orders", { count: 50 }, (answer) => `${answer.orders.length} orders are placed and paid.`],
  ["A bad message", "demo/bad-message", {}, (answer) => `A message that no handler can read is in ${answer.queue}.`],
];

async function press(button, work) {
  button.disabled = true;
  try {
    const said = await asOperator(work);
    $("#demo-said").className = "";
    say($("#demo-said"), said);
  } catch (error) {
    $("#demo-said").className = "bad";
    say($("#demo-said"), error.message);
  } finally {
    button.disabled = false;
  }
}

function showExperiments(experiments) {
  const list = $("#experiments");
  if (!list.children.length) list.append(...experiments.map(made));
  const running = experiments.some((each) => each.running);
  for (const [place, each] of experiments.entries()) {
    const item = list.children[place];
    $("button", item).disabled = running;
    const verdict = $(".verdict", item);
    verdict.className = `verdict ${each.verdict ? (each.verdict.asPredicted ? "good" : "wrong") : each.error ? "wrong" : ""}`;
    say(verdict, each.running ? `Running: ${each.running} …` : each.error ?? (each.verdict ? `Measured: ${each.verdict.said}.` : ""));
  }
  return running;
}

function made(experiment) {
  const button = element("button", { type: "button" }, "Do it and measure");
  button.setAttribute("aria-label", `Do it and measure: ${experiment.title}`);
  const item = element("li", { id: `experiment-${experiment.id}` },
    element("h3", {}, experiment.title), element("p", { class: "prediction" }, `Prediction: ${experiment.prediction}`), button,
    element("p", { class: "verdict", role: "status" }));
  button.addEventListener("click", async () => {
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

export async function startLaboratory() {
  let experiments;
  try {
    ({ experiments } = await ask("api/experiments"));
  } catch {
    return;
  }
  $("#try").hidden = $("#faults").hidden = $("#token-hint").hidden = false;
  for (const [name, path, body, told] of DEMOS) {
    const button = element("button", { type: "button" }, name);
    button.addEventListener("click", () => press(button, async () => told(await ask(`api/${path}`, { method: "POST", body }))));
    $("#demo-buttons").append(button);
  }
  if (showExperiments(experiments)) follow();
}
