// What an operation could not do, message by message.

import { $, counted, element, say } from "./dom.js";
import { orderLink } from "./lineage.js";

// Returns a button that shows the failures of an operation, or null if there are none.
export function failuresOf({ listed = [], failed = 0 }) {
  const failures = listed.filter((each) => each.error);
  if (!failures.length) return null;
  const total = Math.max(failed, failures.length);
  const button = element("button", { type: "button" }, `Show ${counted(total, "failure")}`);
  button.addEventListener("click", () => {
    say($("#failures-title"), total > failures.length ? `The first ${failures.length} of ${total} failures` : counted(total, "failure"));
    $("#failures-body").replaceChildren(element("table", {},
      element("thead", {}, element("tr", {}, ...["Event", "Order", "Reason"].map((text) => element("th", { scope: "col" }, text)))),
      element("tbody", {}, ...failures.map(({ type, orderId, error }) =>
        element("tr", {}, element("td", {}, type ?? "?"), element("td", {}, orderLink(orderId)), element("td", {}, error))))));
    $("#failures").showModal();
  });
  return button;
}
