// The operator's token: requested when it is needed, kept in this tab.

import { NeedsToken, token } from "./api.js";
import { $, say } from "./dom.js";

let resume = null;

function show() {
  say($("#operator"), token.get() ? "token set" : "none");
}

function requestToken() {
  $("#token-value").value = "";
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

export function startOperator() {
  show();
  $("#token-button").addEventListener("click", requestToken);
  $("#token-form").addEventListener("submit", () => {
    token.set($("#token-value").value.trim());
    show();
    resume?.resolve();
    resume = null;
    document.dispatchEvent(new Event("operator"));
  });
  $("#token").addEventListener("close", () => {
    resume?.reject(new Error("nothing was done: it requires an operator's token"));
    resume = null;
  });
}
