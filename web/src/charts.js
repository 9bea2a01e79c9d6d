// Charts, drawn from the tables beside them: each `figure[data-chart]` has a table whose rows carry the numbers.
//
//   <figure data-chart="line" data-unit="USDC"><div class="plot"></div> … <table>
//     <thead><tr><th>time</th><th data-series>balance</th><th data-series data-dashed>threshold</th></tr></thead>
//     <tbody><tr data-x="1764374400" data-mark="granted"><td>…</td><td data-y="0.3">0.30</td><td data-y="0.01">…
//
// `line` connects readings, `steps` holds each until the next, `bars` piles the series up.
import uPlot from "uplot/dist/uPlot.esm.js";

const COLOURS = ["--accent", "--warn-mark", "--good-mark", "--bad-mark"];
const HEIGHT = 210;
const ALONE_S = 5_400; // on each side of a point that is alone
const drawn = new Map();

const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

/** The numbers of a figure's table. */
function read(figure) {
  const heads = [...figure.querySelectorAll("thead th[data-series]")];
  const rows = [...figure.querySelectorAll("tbody tr[data-x]")];
  const columns = heads.map((head) => [...head.parentElement.children].indexOf(head));
  const numbers = columns.map((column) =>
    rows.map((row) => {
      const text = row.children[column]?.dataset.y;
      return text === undefined || text === "" ? null : Number(text);
    }),
  );
  return {
    series: heads.map((head) => ({ label: head.textContent.trim(), isDashed: "dashed" in head.dataset })),
    data: [rows.map((row) => Number(row.dataset.x)), ...numbers],
    marks: rows.filter((row) => row.dataset.mark).map((row) => ({ x: Number(row.dataset.x), text: row.dataset.mark })),
  };
}

/** Each series on top of those before it; the last one is drawn first, so that the others cover it. */
function pile([xs, ...columns]) {
  const piled = [];
  columns.forEach((column, i) => piled.push(column.map((y, row) => (y ?? 0) + (i ? piled[i - 1][row] : 0))));
  return [xs, ...piled.reverse()];
}

function lines(kind, { label, isDashed }, i, count, points) {
  const stroke = colour(COLOURS[kind === "bars" ? count - 1 - i : i] ?? COLOURS[0]);
  if (kind === "bars") return { label, stroke, fill: stroke, width: 0, points: { show: false }, paths: uPlot.paths.bars({ size: [0.7, 48] }) };
  const paths = kind === "steps" || isDashed ? uPlot.paths.stepped({ align: 1 }) : uPlot.paths.linear();
  return { label, stroke, width: isDashed ? 1.25 : 2, dash: isDashed ? [6, 4] : undefined, spanGaps: true, points: { show: points < 40 && !isDashed, size: 5, fill: stroke }, paths };
}

function drawMarks(plot, marks) {
  const { ctx, bbox } = plot;
  ctx.save();
  ctx.strokeStyle = colour("--line-strong");
  ctx.fillStyle = colour("--muted");
  ctx.textAlign = "left";
  ctx.setLineDash([2, 3]);
  ctx.font = `${11 * devicePixelRatio}px system-ui, sans-serif`;
  let free = -Infinity;
  for (const { x, text } of marks) {
    const at = Math.round(plot.valToPos(x, "x", true)) + 0.5;
    if (at < bbox.left || at > bbox.left + bbox.width) continue;
    ctx.beginPath();
    ctx.moveTo(at, bbox.top);
    ctx.lineTo(at, bbox.top + bbox.height);
    ctx.stroke();
    const width = ctx.measureText(text).width + 8;
    if (at >= free && at + width < bbox.left + bbox.width) {
      ctx.fillText(text, at + 4, bbox.top + 11 * devicePixelRatio);
      free = at + width;
    }
  }
  ctx.restore();
}

function options(figure, { series, data, marks }) {
  const kind = figure.dataset.chart;
  const axis = { stroke: colour("--muted"), grid: { stroke: colour("--line"), width: 1 }, ticks: { show: false }, font: "12px system-ui, sans-serif" };
  const shown = kind === "bars" ? [...series].reverse() : series;
  return {
    width: figure.querySelector(".plot").clientWidth,
    height: HEIGHT,
    tzDate: (seconds) => uPlot.tzDate(new Date(seconds * 1000), "Etc/UTC"),
    cursor: { y: false, drag: { x: false, y: false } },
    legend: { show: false },
    scales: { x: { time: true, range: kind === "steps" ? undefined : widened }, y: { range: (_, _least, most) => [0, most > 0 ? most * 1.15 : 1] } },
    axes: [{ ...axis, space: 64, values: times }, { ...axis, size: 64, values: (_, values) => values.map((value) => value.toLocaleString("en", { maximumFractionDigits: 6 })) }],
    series: [{}, ...shown.map((each, i) => lines(kind, each, i, shown.length, data[0].length))],
    hooks: { draw: [(plot) => drawMarks(plot, marks)] },
  };
}

/** Half a step on each side, so that bars are whole; a point alone stands in the middle. */
function widened(plot) {
  const xs = plot.data[0];
  const last = xs[xs.length - 1];
  const half = xs.length > 1 ? (last - xs[0]) / (xs.length - 1) / 2 : ALONE_S;
  return [xs[0] - half, last + half];
}

/** Hours and minutes within a day, days beyond. */
function times(_, values, __, ___, step) {
  return values.map((value) => {
    const at = new Date(value * 1000).toISOString();
    if (step >= 86_400) return new Date(value * 1000).toLocaleDateString("en-GB", { day: "numeric", month: "short", timeZone: "UTC" });
    return step >= 60 ? at.slice(11, 16) : at.slice(11, 19);
  });
}

function draw(figure) {
  const found = read(figure);
  drawn.get(figure)?.destroy();
  drawn.delete(figure);
  const plot = figure.querySelector(".plot");
  if (!plot || found.data[0].length === 0 || plot.clientWidth === 0) return;
  const data = figure.dataset.chart === "bars" ? pile(found.data) : found.data;
  drawn.set(figure, new uPlot(options(figure, found), data, plot));
  plot.firstElementChild?.setAttribute("aria-hidden", "true");
}

function drawAll() {
  for (const figure of drawn.keys()) if (!figure.isConnected) (drawn.get(figure).destroy(), drawn.delete(figure));
  document.querySelectorAll("figure[data-chart]").forEach(draw);
}

/** Draw every chart, and again when the numbers, the width or the colours change. */
export function drawCharts() {
  drawAll();
  document.addEventListener("htmx:after:swap", drawAll);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", drawAll);
  let width = innerWidth;
  addEventListener("resize", () => {
    if (innerWidth !== width) drawAll();
    width = innerWidth;
  });
}
