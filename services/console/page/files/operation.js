// Operations: what takes long goes on at the adapter, and is followed to its end.

import { ask } from "./api.js";
import { asOperator } from "./operator.js";

const PAUSE = 300;
const NUMBERS = ["expected", "lookedAt", "selected", "done", "failed"];

// Begins one and tells `watch` how far it is, again and again. Returns it when it has ended.
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

// Why not everything was done, or null.
export const trouble = ({ error, listed }) => error ?? listed.find((each) => each.error)?.error ?? null;

// An operation with the numbers of those that were done before it.
export function together(before, operation) {
  const sums = NUMBERS.map((name) => [name, (before[name] ?? 0) + (operation[name] ?? 0)]);
  return { ...operation, ...Object.fromEntries(sums), error: before.error ?? operation.error };
}
