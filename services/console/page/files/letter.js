// One dead letter: why it died and what is in it; put right, redriven or discarded.

import { $, element, facts, moment, say } from "./dom.js";
import { operate, trouble } from "./operation.js";

// `moved` is called when it is no longer there.
export function showLetter(letter, moved) {
  const body = element("textarea", { value: pretty(letter.body), spellcheck: false });
  const said = element("p", { class: "said", role: "status" });
  const act = (name, path, extra) => {
    const button = element("button", { type: "button", class: path === "discard" ? "danger" : "" }, name);
    button.addEventListener("click", async () => {
      button.disabled = true;
      said.classList.remove("bad");
      say(said, "working …");
      try {
        const operation = await operate(`dead-letters/${path}`, { queue: letter.queue, selection: { ids: [letter.id] }, ...extra() });
        if (trouble(operation)) throw new Error(trouble(operation));
        $("#letter").close();
        moved();
      } catch (error) {
        said.classList.add("bad");
        say(said, error.message);
      }
      button.disabled = false;
    });
    return button;
  };
  $("#letter-body").replaceChildren(
    element("p", { class: "gap" }, letter.reason ?? "No reason was written down: SQS moved it by itself, because its consumer died each time."),
    facts([["Queue", letter.queue], ["Event", letter.type], ["Order", letter.orderId], ["Version", letter.version],
      ["Given to its handler", letter.receiveCount && `${letter.receiveCount} ${letter.receiveCount === 1 ? "time" : "times"}`], ["Dead since", moment(letter.sentAt)]]),
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
