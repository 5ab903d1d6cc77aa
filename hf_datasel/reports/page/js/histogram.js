// The distribution of the score, and the line to drag.

const look = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
let chart = null;
let handle = null;
let axis = { low: 0, high: 1, edges: [], outside: [0, 0] };

// Ends of the axis: where tails are heavy, the middle 99 %; else all.
function axisOf({ values }, marks, zero) {
  const at = (share) => values[Math.min(values.length - 1, Math.max(0, Math.round((1 - share) * (values.length - 1))))];
  let [low, high] = [values[values.length - 1], values[0]];
  const [innerLow, innerHigh] = [at(0.005), at(0.995)];
  if (innerHigh > innerLow && high - low > 1.5 * (innerHigh - innerLow)) [low, high] = [innerLow, innerHigh];
  for (const mark of marks) {
    if (mark >= values[values.length - 1] && mark <= values[0]) [low, high] = [Math.min(low, mark), Math.max(high, mark)];
  }
  if (!(high - low > 1e-12 * Math.max(Math.abs(low), Math.abs(high)))) {
    const reach = Math.abs(low) / 10 || 0.5;
    [low, high] = [low - reach, high + reach];
  }
  const width = (2 * (at(0.75) - at(0.25))) / Math.cbrt(values.length);
  const bins = width > 0 ? Math.min(80, Math.max(values.length > 200 ? 24 : 9, Math.round((high - low) / width))) : 9;
  const step = (high - low) / bins;
  if (zero && low < 0 && high > 0) [low, high] = [-Math.ceil(-low / step) * step, Math.ceil(high / step) * step]; // no bar across zero
  const number = Math.round((high - low) / step);
  const edges = Array.from({ length: number + 1 }, (_, i) => low + step * i);
  return { low, high, edges, outside: [values.length - countFrom({ values }, low), values.findIndex((v) => v <= high)] };
}

function counted(rows, scores, { low, high, edges }) {
  const bins = edges.length - 1;
  const counts = new Array(bins).fill(0);
  for (const row of rows) {
    const value = scores[row];
    if (value >= low && value <= high) counts[Math.min(bins - 1, Math.floor(((value - low) / (high - low)) * bins))]++;
  }
  return counts;
}

// Whether the selection beside is not simply the best rows: then its outline is worth drawing.
function outlined() {
  if (!view.arm) return false;
  const { order } = ranking();
  const { mask, count } = pool.kept[view.arm];
  return count < order.length && order.slice(0, count).some((row) => !mask[row]);
}

function drawChart() {
  const its = ranking();
  const place = byId("chart");
  chart?.destroy();
  chart = null;
  if (!its.values.length) {
    place.replaceChildren(make("p", { className: "empty" }, "No row has this score, so there is nothing to draw and nothing to cut."));
    return;
  }
  axis = axisOf(its, [line(), ...(scoreNow().is_utility ? [0] : [])], scoreNow().is_utility);
  axis.totals = counted(its.order, its.scores, axis);
  const drawn = outlined();
  axis.chosen = drawn ? counted(its.order.filter((row) => pool.kept[view.arm].mask[row]), its.scores, axis) : null;
  place.replaceChildren();
  chart = new uPlot(chartOptions(place.clientWidth, drawn), bars(), place);
  addHandle();
  legend(drawn);
}

// What is kept stands at the foot of each bar, so that the bar under the line shows both parts in their true size.
function bars() {
  const { values } = ranking();
  const from = Math.max(line(), axis.low);
  const kept = axis.totals.map((total, bin) => {
    const [left, right] = [axis.edges[bin], axis.edges[bin + 1]];
    if (left >= from) return total;
    const isLast = bin === axis.totals.length - 1;
    if (right <= from && !isLast) return 0;
    const above = isLast ? values.findIndex((value) => value <= axis.high) : countFrom({ values }, right);
    return Math.min(total, Math.max(0, countFrom({ values }, from) - above));
  });
  const data = [axis.edges, [...axis.totals, null], [...kept, null]];
  if (axis.chosen) data.push([...axis.chosen, axis.chosen[axis.chosen.length - 1]]);
  return data;
}

function chartOptions(width, drawn) {
  const tick = { stroke: () => look("--faint"), font: "12px system-ui, sans-serif", ticks: { show: false } };
  const bar = { paths: uPlot.paths.bars({ size: [1, Infinity], align: 1, gap: 1 }), points: { show: false }, width: 0 };
  const series = [{}, { ...bar, fill: () => look("--dropped") }, { ...bar, fill: () => look("--kept") }];
  if (drawn) {
    series.push({ paths: uPlot.paths.stepped({ align: 1 }), points: { show: false }, width: 1.75, stroke: () => look("--ink") });
  }
  return {
    width, height: 260, padding: [18, 12, 0, 0], series, legend: { show: false }, cursor: { show: false },
    scales: { x: { time: false, range: () => [axis.low, axis.high] }, y: { range: (_, low, high) => [0, high * 1.06 || 1] } },
    axes: [
      { ...tick, grid: { show: false }, size: 30, values: (_, ticks) => ticks.map((value) => number(value, 2)) },
      { ...tick, grid: { stroke: () => look("--rule"), width: 1 }, size: 48, incrs: [1, 2, 5, 10, 20, 50, 100, 200, 500, 1e3, 2e3, 5e3, 1e4, 2e4, 5e4, 1e5, 1e6],
        values: (_, ticks) => ticks.map(whole) },
    ],
    hooks: { draw: [drawZero] },
  };
}

function drawZero(plot) {
  if (!scoreNow().is_utility || axis.low >= 0 || axis.high <= 0) return;
  const { ctx, bbox } = plot;
  const at = Math.round(plot.valToPos(0, "x", true));
  ctx.save();
  ctx.strokeStyle = look("--harm");
  ctx.lineWidth = devicePixelRatio;
  ctx.setLineDash([4 * devicePixelRatio, 3 * devicePixelRatio]);
  ctx.beginPath();
  ctx.moveTo(at, bbox.top);
  ctx.lineTo(at, bbox.top + bbox.height);
  ctx.stroke();
  ctx.restore();
}

function legend(drawn) {
  const item = (kind, text) => make("span", { className: "key" }, make("i", { className: `swatch ${kind}` }), text);
  const items = [item("kept", "kept at the line"), item("dropped", "dropped")];
  if (drawn) items.push(item("outline", `kept by ${view.arm}`));
  if (scoreNow().is_utility && axis.low < 0 && axis.high > 0) items.push(item("zero", "zero: to its left a row does harm"));
  byId("chart-legend").replaceChildren(...items);
  const [below, above] = axis.outside;
  const missing = pool.ids.length - ranking().values.length;
  const notes = [];
  if (below || above) notes.push(`Beyond the axis: ${rowsOf(below)} to the left, ${whole(above)} to the right.`);
  if (missing) notes.push(`${rowsOf(missing)} ${missing === 1 ? "has" : "have"} no score and cannot be kept.`);
  const { unit } = scoreNow();
  byId("chart-note").textContent = [`Across: ${view.score}${unit && `, ${unit}`}; higher means keep. Upwards: rows.`, ...notes].join(" ");
}

function addHandle() {
  handle = make("div", {
    id: "line", role: "slider", tabIndex: 0, "aria-label": "Threshold: rows that score this or more are kept",
    "aria-orientation": "horizontal",
  }, make("span", { className: "grip" }), make("output", {}));
  chart.over.append(handle);
  const follow = (event) => moveLine(chart.posToVal(event.clientX - chart.over.getBoundingClientRect().left, "x"));
  chart.over.addEventListener("pointerdown", (event) => {
    if (event.button) return;
    event.preventDefault();
    handle.focus({ preventScroll: true });
    chart.over.setPointerCapture(event.pointerId);
    chart.over.addEventListener("pointermove", follow);
    follow(event);
  });
  const release = () => chart.over.removeEventListener("pointermove", follow);
  for (const end of ["pointerup", "pointercancel", "lostpointercapture"]) chart.over.addEventListener(end, release);
  handle.addEventListener("keydown", pressed);
}

function pressed(event) {
  const step = (axis.high - axis.low) / 100;
  const way = { ArrowRight: 1, ArrowUp: 1, ArrowLeft: -1, ArrowDown: -1, PageUp: 10, PageDown: -10 }[event.key];
  const { values } = ranking();
  if (event.key === "Home") moveLine(values[values.length - 1]);
  else if (event.key === "End") moveLine(values[0]);
  else if (way && event.shiftKey) keepBest(rowByRow(way));
  else if (way) moveLine(line() + way * step);
  else return;
  event.preventDefault();
}

// Upwards the last row falls out, downwards the next comes in; rows that score the same go together.
function rowByRow(way) {
  const { values } = ranking();
  const kept = keptCount();
  if (way < 0) return kept + 1;
  let above = kept;
  while (above > 0 && values[above - 1] === values[kept - 1]) above--;
  return Math.max(1, above);
}

function showLine() {
  if (!chart) return;
  chart.setData(bars(), false);
  chart.redraw();
  const width = chart.over.clientWidth;
  const at = Math.min(width, Math.max(0, chart.valToPos(line(), "x")));
  handle.style.transform = `translateX(${at}px)`;
  const label = handle.lastChild;
  label.textContent = `\u2265 ${number(line())}`;
  label.className = at > width - 64 ? "left" : at < 64 ? "right" : "";
  const kept = keptCount();
  const { values } = ranking();
  handle.setAttribute("aria-valuemin", values[values.length - 1]);
  handle.setAttribute("aria-valuemax", values[0]);
  handle.setAttribute("aria-valuenow", line());
  handle.setAttribute("aria-valuetext", `${number(line())}: ${rowsOf(kept)} kept, ${percent(kept, pool.ids.length)} of the pool`);
}

function startChart() {
  on("view", () => { drawChart(); drawCurve(); });
  on("line", () => { showLine(); curve?.redraw(false); });
  let width = 0;
  new ResizeObserver(() => {
    if (!chart || byId("chart").clientWidth === width) return;
    width = byId("chart").clientWidth;
    chart.setSize({ width, height: 260 });
    curve?.setSize({ width: byId("gain-chart").clientWidth, height: 130 });
    showLine();
  }).observe(byId("chart"));
}
