// Client of the console's API. Errors are problem details; `ask` throws them as Error with their `detail`.

const TOKEN = "operator-token";
const OPERATOR = "operator-name";

export class NeedsToken extends Error {}

export const token = {
  get: () => sessionStorage.getItem(TOKEN),
  set(value) { sessionStorage.setItem(TOKEN, value); },
  forget() { sessionStorage.removeItem(TOKEN); },
};

export async function ask(path, { method = "GET", body, as = token.get() } = {}) {
  const headers = { accept: "application/json" };
  if (as) headers.authorization = `Bearer ${as}`;
  if (body !== undefined) headers["content-type"] = "application/json";
  let answer;
  try {
    answer = await fetch(path, { method, headers, body: body === undefined ? undefined : JSON.stringify(body) });
  } catch {
    throw new Error("the console does not answer");
  }
  const content = answer.status === 204 ? null : await answer.json().catch(() => ({}));
  if (answer.status === 401) throw new NeedsToken(content.detail);
  if (!answer.ok) throw new Error(content.detail ?? `the console answered ${answer.status}`);
  return content;
}
