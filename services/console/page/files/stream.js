// The live stream. The browser reconnects by itself with the last id, and receives what it missed.

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
      state("lost", "stream rejected");
      setTimeout(() => startStream(listeners), 5000);
    } else {
      state("lost", "disconnected, reconnecting");
    }
  };
  for (const [name, listener] of Object.entries(listeners)) {
    stream.addEventListener(name, (event) => listener(JSON.parse(event.data)));
  }
}
