// Functions that build the page. Text is always set as text: nothing from a message becomes markup.

export const $ = (selector, within = document) => within.querySelector(selector);

export function element(name, properties = {}, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(properties)) {
    if (key === "data") Object.assign(made.dataset, value);
    else if (key === "class") made.className = value;
    else if (key in made) made[key] = value;
    else made.setAttribute(key, value);
  }
  made.append(...children.filter((child) => child !== null && child !== undefined));
  return made;
}

// Sets text only where it differs, so that screen readers and selections are not disturbed.
export function say(target, text) {
  if (target.textContent !== text) target.textContent = text;
}

export const clock = (at) => new Date(at).toLocaleTimeString("en-GB", { hour12: false }) + "." + String(new Date(at).getMilliseconds()).padStart(3, "0");

// For what may be older than today.
export function moment(at) {
  const [date, now] = [new Date(at), new Date()];
  const time = date.toLocaleTimeString("en-GB");
  return date.toDateString() === now.toDateString() ? time : `${date.toLocaleDateString("en-GB", { day: "numeric", month: "short" })} ${time}`;
}

export const counted = (count, name) => `${count} ${name}${count === 1 ? "" : "s"}`;

export function age(seconds) {
  if (seconds === null || seconds === undefined) return "";
  if (seconds < 1) return `${Math.round(seconds * 1000)} ms`;
  if (seconds < 90) return `${seconds.toFixed(seconds < 10 ? 1 : 0)} s`;
  if (seconds < 5400) return `${Math.round(seconds / 60)} min`;
  return `${Math.round(seconds / 3600)} h`;
}

// A list of terms with what they are; those without are left out.
export const facts = (pairs) => element("dl", { class: "facts" }, ...pairs.filter(([, text]) => text !== null && text !== undefined).map(([term, text]) =>
  element("div", {}, element("dt", {}, term), element("dd", {}, String(text)))));

// A click closes what it opened; so does Escape, which <dialog> does by itself.
for (const close of document.querySelectorAll("dialog .close")) {
  close.addEventListener("click", () => close.closest("dialog").close());
}
