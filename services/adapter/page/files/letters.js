// Dead letters: looked at without consuming them, redriven, corrected or discarded, one by one.

import { ask, token } from "./api.js";
import { $, clock, element, say } from "./dom.js";
import { orderLink } from "./lineage.js";
import { asOperator } from "./operator.js";
import { deadLetters } from "./way.js";

let counted = 0;

// Called whenever the picture changes: the list follows the count when there is a token to read it with.
export function lettersCounted() {
  const count = deadLetters();
  if (count === counted) return;
  counted = count;
  say($("#letter-count"), count ? `${count}` : "");
  if (token.get()) look();
  else if (count) {
    $("#letter-rows").replaceChildren();
    $("#letters-empty").hidden = false;
    say($("#letters-empty"), `${count} dead letter${count > 1 ? "s" : ""}. To read what is in them, press “Look again”: it needs an operator's token.`);
  }
}

async function look() {
  try {
    const { letters, queues } = await ask("api/dead-letters?limit=100");
    $("#letter-rows").replaceChildren(...letters.map(row));
    $("#letters-empty").hidden = letters.length > 0;
    const trouble = queues.map((queue) => queue.incomplete).filter(Boolean).join("; ");
    say($("#letters-empty"), trouble || "No dead letters. A message that can never be handled would wait here, with the reason.");
  } catch (error) {
    $("#letters-empty").hidden = false;
    say($("#letters-empty"), error.message);
  }
}

function row(letter) {
  const open = element("button", { type: "button", class: "link" }, letter.reason ?? "no reason was given");
  open.addEventListener("click", () => show(letter));
  return element("tr", {}, element("td", {}, letter.queue.replace(/-dlq$/, "")), element("td", {}, letter.type ?? "?"),
    element("td", {}, orderLink(letter.orderId)), element("td", {}, open));
}

// Begins an operation and follows it to its end. Raises what kept it from being done.
async function done(path, body) {
  let operation = await asOperator(() => ask(`api/dead-letters/${path}`, { method: "POST", body }));
  while (operation.status === "running") {
    await new Promise((resolve) => setTimeout(resolve, 300));
    operation = await ask(`api/operations/${operation.id}`);
  }
  const error = operation.error ?? operation.listed.find((each) => each.error)?.error;
  if (error) throw new Error(error);
  return operation;
}

function show(letter) {
  const body = element("textarea", { value: pretty(letter.body), spellcheck: false });
  const said = element("p", { class: "said", role: "status" });
  const act = (name, path, extra) => {
    const button = element("button", { type: "button", class: path === "discard" ? "danger" : "" }, name);
    button.addEventListener("click", async () => {
      button.disabled = true;
      said.classList.remove("bad");
      say(said, "working …");
      try {
        await done(path, { queue: letter.queue, selection: { ids: [letter.id] }, ...extra() });
        $("#letter").close();
        await look();
      } catch (error) {
        said.classList.add("bad");
        say(said, error.message);
      }
      button.disabled = false;
    });
    return button;
  };
  const facts = [["Queue", letter.queue], ["Event", letter.type], ["Order", letter.orderId], ["Version", letter.version],
    ["Given to its handler", letter.receiveCount && `${letter.receiveCount} times`], ["Dead since", clock(letter.sentAt)]];
  $("#letter-body").replaceChildren(
    element("p", { class: "gap" }, letter.reason ?? "No reason was written down: SQS moved it by itself, because its consumer died each time."),
    element("dl", { class: "facts" }, ...facts.filter(([, text]) => text).map(([term, text]) =>
      element("div", {}, element("dt", {}, term), element("dd", {}, String(text))))),
    element("label", {}, "Body. Corrected here, it is sent under the same ids.", body),
    element("p", { class: "actions" },
      act("Redrive", "redrive", () => (body.value === pretty(letter.body) ? {} : { body: body.value })),
      act("Discard", "discard", () => ({}))),
    said);
  $("#letter").showModal();
}

function pretty(body) {
  try {
    return JSON.stringify(JSON.parse(body), null, 2);
  } catch {
    return body;
  }
}

export function startLetters() {
  $("#letters-refresh").addEventListener("click", async () => {
    try {
      await asOperator(() => ask("api/dead-letters?limit=1"));
      await look();
    } catch (error) {
      $("#letters-empty").hidden = false;
      say($("#letters-empty"), error.message);
    }
  });
}
