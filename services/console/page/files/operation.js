// Operations run in the console; the page polls them until they end.

import { ask } from "./api.js";
import { asOperator } from "./operator.js";

const PAUSE = 300;
const NUMBERS = ["expected", "lookedAt", "selected", "done", "failed"];

// Starts one, calls `watch` with its progress, and returns it when it has ended.
export async function operate(path, body, watch = () => {}) {
  return follow(await asOperator(() => ask(`api/${path}`, { method: "POST", body })), watch);
}

async function follow(operation, watch) {
  while (operation.status === "running") {
    watch(operation);
    await new Promise((resolve) => setTimeout(resolve, PAUSE));
    operation = await ask(`api/operations/${operation.id}`);
  }
  return operation;
}

export const stop = ({ id }) => ask(`api/operations/${id}/cancel`, { method: "POST" });

// Reason why not everything was done, or null.
export const trouble = ({ error, listed }) => error ?? listed.find((each) => each.error)?.error ?? null;

const WORDS = { dead_letter: "dead letters again", not_settled: "not settled yet" };

// What the consumers did with redriven messages.
export const settledAs = ({ outcomes }) => {
  const words = Object.entries(outcomes ?? {}).map(([outcome, count]) => `${count} ${WORDS[outcome] ?? outcome}`);
  return words.length ? `Outcomes: ${words.join(", ")}.` : "";
};

// An operation whose numbers include those of the operations before it.
export function together(before, operation) {
  const sums = NUMBERS.map((name) => [name, (before[name] ?? 0) + (operation[name] ?? 0)]);
  const outcomes = { ...before.outcomes };
  for (const [outcome, count] of Object.entries(operation.outcomes ?? {})) outcomes[outcome] = (outcomes[outcome] ?? 0) + count;
  const listed = [...(before.listed ?? []), ...(operation.listed ?? [])];
  return { ...operation, ...Object.fromEntries(sums), outcomes, listed, error: before.error ?? operation.error };
}
