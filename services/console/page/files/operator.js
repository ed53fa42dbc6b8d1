// The operator's token: requested when it is needed, kept in this tab.

import { ask, NeedsToken, token } from "./api.js";
import { $, say } from "./dom.js";

let resume = null;

function show() {
  say($("#operator"), token.get() ? "token set" : "none");
}

function requestToken() {
  $("#token-value").value = "";
  say($("#token-problem"), "");
  $("#token").showModal();
}

// Calls `work`. When the token is missing or rejected, requests one and calls it again.
export async function asOperator(work) {
  try {
    return await work();
  } catch (error) {
    if (!(error instanceof NeedsToken)) throw error;
    token.forget();
    show();
    resume?.reject(new Error("nothing was done: it requires an operator's token"));
    const given = new Promise((resolve, reject) => { resume = { resolve, reject }; });
    requestToken();
    await given;
    return asOperator(work);
  }
}

// Sets a token that the console accepts; says why it does not.
async function use(given) {
  say($("#token-problem"), "");
  try {
    await ask("api/operations?limit=1", { as: given });
  } catch (error) {
    say($("#token-problem"), error instanceof NeedsToken ? "The console does not accept this token." : error.message);
    return;
  }
  token.set(given);
  show();
  resume?.resolve();
  resume = null;
  $("#token").close();
  document.dispatchEvent(new Event("operator"));
}

// The token of this tab may have been replaced since.
async function check() {
  try {
    await ask("api/operations?limit=1");
  } catch (error) {
    if (error instanceof NeedsToken) token.forget();
  }
  show();
}

export function startOperator() {
  if (token.get()) check();
  $("#token-button").addEventListener("click", requestToken);
  $("#token-form").addEventListener("submit", (submit) => {
    submit.preventDefault();
    use($("#token-value").value.trim());
  });
  $("#token").addEventListener("close", () => {
    resume?.reject(new Error("nothing was done: it requires an operator's token"));
    resume = null;
  });
}
