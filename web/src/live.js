// Whether the page is live, and bringing it up to date after an outage.
import htmx from "./libraries.js";

const SILENT_MS = 15_000; // the server says something every 5 s
const AGAIN_MS = 2_000;

/**
 * Show whether events come, and have all that is live read anew once they come again.
 * The stream itself resumes behind the last event that it has had: the browser's request names it.
 * @param {HTMLElement | null} stream the element with `hx-sse:connect`; null on views without one
 */
export function followStream(stream) {
  if (!stream) return;
  let connection = null;
  let heardAt = performance.now();
  const say = (text) => {
    const word = document.querySelector("[data-live-word]");
    if (word && word.textContent !== text) word.textContent = text;
  };
  const on = () => {
    const wasOff = document.body.dataset.live === "off";
    document.body.dataset.live = "on";
    say("Live");
    heardAt = performance.now();
    if (wasOff) htmx.trigger(stream, "catchup", {});
  };
  const off = () => {
    if (document.body.dataset.live !== "off") {
      const since = document.querySelector("[data-outage-since]");
      if (since) since.textContent = new Date().toLocaleTimeString();
    }
    document.body.dataset.live = "off";
    say("Not live");
  };
  const again = () => {
    off();
    setTimeout(() => htmx.trigger(stream, "again", {}), AGAIN_MS);
  };

  stream.addEventListener("htmx:sse:after:connection", (event) => {
    connection = event.detail.connection;
    if (connection.status === 200) on();
  });
  stream.addEventListener("htmx:sse:before:message", on);
  stream.addEventListener("htmx:sse:before:connection", (event) => event.detail.connection.attempt > 0 && off());
  stream.addEventListener("htmx:sse:error", off);
  stream.addEventListener("htmx:error", again); // the first connection, which the extension does not repeat
  document.body.addEventListener("htmx:response:error", (event) => {
    const { ctx } = event.detail;
    if (ctx.response.status === 401) location.reload(); // the login has ended
    else if (ctx.sourceElement === stream) again();
  });
  setInterval(() => {
    if (performance.now() - heardAt < SILENT_MS || document.hidden) return;
    off();
    connection?.reader?.cancel(); // the extension connects anew
    heardAt = performance.now();
  }, 1_000);
}
