// The live stream. The browser reconnects by itself and tells the last id, so that what was missed comes.

import { $, say } from "./dom.js";

function state(name, text) {
  $("#stream").dataset.state = name;
  say($("#stream .text"), text);
}

export function startStream(listeners) {
  const stream = new EventSource("api/live");
  stream.onopen = () => state("live", "live");
  stream.onerror = () => {
    if (stream.readyState === EventSource.CLOSED) {
      state("lost", "the stream was refused");
      setTimeout(() => startStream(listeners), 5000);
    } else {
      state("lost", "adapter away, reconnecting");
    }
  };
  for (const [name, listener] of Object.entries(listeners)) {
    stream.addEventListener(name, (event) => listener(JSON.parse(event.data)));
  }
}
