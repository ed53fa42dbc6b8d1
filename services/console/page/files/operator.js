// The operator's token: asked for when it is needed, kept in this tab.

import { NeedsToken, token } from "./api.js";
import { $, say } from "./dom.js";

let resume = null;

function show() {
  say($("#operator"), token.get() ? "token set" : "none");
}

function askForToken() {
  $("#token-value").value = "";
  $("#token").showModal();
}

// Does what needs the token; when there is none, or it is refused, asks for one and tries again.
export async function asOperator(work) {
  try {
    return await work();
  } catch (error) {
    if (!(error instanceof NeedsToken)) throw error;
    token.forget();
    show();
    resume?.reject(new Error("nothing was done: it needs an operator's token"));
    const given = new Promise((resolve, reject) => { resume = { resolve, reject }; });
    askForToken();
    await given;
    return asOperator(work);
  }
}

export function startOperator() {
  show();
  $("#token-button").addEventListener("click", askForToken);
  $("#token-form").addEventListener("submit", () => {
    token.set($("#token-value").value.trim());
    show();
    resume?.resolve();
    resume = null;
    document.dispatchEvent(new Event("operator"));
  });
  $("#token").addEventListener("close", () => {
    resume?.reject(new Error("nothing was done: it needs an operator's token"));
    resume = null;
  });
}
