// Relative times ("12 s ago") that stay true while nothing else changes.

const SIZES = [["d", 86_400], ["h", 3_600], ["m", 60]];

/** The largest two units, as the server writes them. */
function span(seconds) {
  let left = Math.max(0, Math.round(seconds));
  const parts = [];
  for (const [unit, size] of SIZES) {
    const count = Math.floor(left / size);
    left %= size;
    if (count) parts.push(`${count} ${unit}`);
  }
  if (left || parts.length === 0) parts.push(`${left} s`);
  return parts.slice(0, 2).join(" ");
}

function update() {
  for (const element of document.querySelectorAll("time[data-relative]")) {
    const seconds = (Date.now() - Date.parse(element.dateTime)) / 1000;
    const text = Math.abs(seconds) < 1 ? "now" : seconds > 0 ? `${span(seconds)} ago` : `in ${span(-seconds)}`;
    if (element.textContent !== text) element.textContent = text;
  }
}

/** Keep them current, once a second. */
export function keepTimesCurrent() {
  setInterval(update, 1_000);
}
