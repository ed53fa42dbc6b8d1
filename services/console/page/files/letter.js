// One dead letter: its reason and body, and the buttons that redrive or discard it.

import { $, element, facts, moment, say } from "./dom.js";
import { operate, trouble } from "./operation.js";

// `moved` is called after it has left its queue.
export function showLetter(letter, moved) {
  const body = element("textarea", { value: pretty(letter.body), spellcheck: false });
  const status = element("p", { class: "said", role: "status" });
  const act = (name, path, extra) => {
    const button = element("button", { type: "button", class: path === "discard" ? "danger" : "" }, name);
    button.addEventListener("click", async () => {
      button.disabled = true;
      status.classList.remove("bad");
      say(status, "working …");
      try {
        const operation = await operate(`dead-letters/${path}`, { queue: letter.queue, selection: { ids: [letter.id] }, ...extra() });
        if (trouble(operation)) throw new Error(trouble(operation));
        $("#letter").close();
        moved();
      } catch (error) {
        status.classList.add("bad");
        say(status, error.message);
      }
      button.disabled = false;
    });
    return button;
  };
  $("#letter-body").replaceChildren(
    element("p", { class: "gap" }, letter.reason ?? "No reason recorded: SQS moved the message, because its consumer died each time."),
    facts([["Queue", letter.queue], ["Event", letter.type], ["Order", letter.orderId], ["Version", letter.version],
      ["Receives", letter.receiveCount], ["Dead since", moment(letter.sentAt)]]),
    element("label", {}, "Body. A corrected body is sent under the same ids.", body),
    element("p", { class: "actions" },
      act("Redrive", "redrive", () => (body.value === pretty(letter.body) ? {} : { body: body.value })),
      act("Discard", "discard", () => ({}))),
    status);
  $("#letter").showModal();
}

function pretty(body) {
  try {
    return JSON.stringify(JSON.parse(body), null, 2);
  } catch {
    return body;
  }
}
