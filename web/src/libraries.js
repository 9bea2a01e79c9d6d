// htmx first: its extensions register themselves with it.
import htmx from "htmx.org/dist/htmx.esm.js";
import "htmx.org/dist/ext/hx-csp.js";
import "htmx.org/dist/ext/hx-sse.js";

htmx.registerExtension("page", {
  // What a person has opened stays open when the view is brought up to date.
  htmx_before_morph_attr: (element, { attrName }) => !(attrName === "open" && element.tagName === "DETAILS"),
  // A login that has ended is shown as a page of its own, not within this one.
  htmx_after_request: (_, { ctx }) => {
    if (!ctx.response.raw.redirected || new URL(ctx.response.raw.url).pathname !== "/login") return true;
    location.reload();
    return false;
  },
});

export default htmx;
