// The expected gain over how many of the best rows are kept: where it flattens, more rows add little; where it falls, they cost.

const POINTS = 300;
let curve = null;

function drawCurve() {
  curve?.destroy();
  curve = null;
  const { values, sums } = ranking();
  byId("gain").hidden = !scoreNow().is_utility || values.length < 2;
  if (byId("gain").hidden) return;
  const step = Math.max(1, Math.floor(values.length / POINTS));
  const counts = [];
  for (let count = 0; count < values.length; count += step) counts.push(count);
  counts.push(values.length);
  const peak = countFrom({ values }, Number.MIN_VALUE);
  byId("gain-title").textContent = `Expected gain by rows kept; it peaks at ${rowsOf(peak)}, all above zero.`;
  const tick = { stroke: () => look("--faint"), font: "12px system-ui, sans-serif", ticks: { show: false } };
  const place = byId("gain-chart");
  curve = new uPlot({
    width: place.clientWidth, height: 130, padding: [10, 12, 0, 0], legend: { show: false }, cursor: { show: false },
    scales: { x: { time: false }, y: { range: (_, low, high) => [Math.min(0, low), Math.max(high, 0) * 1.08 || 1] } },
    series: [{}, { stroke: () => look("--kept"), width: 2, points: { show: false } }],
    axes: [
      { ...tick, grid: { show: false }, size: 28, space: 70, values: (_, ticks) => ticks.map(whole) },
      { ...tick, grid: { stroke: () => look("--rule"), width: 1 }, size: 58, space: 32, values: (_, ticks) => ticks.map((value) => number(value, 2)) },
    ],
    hooks: { draw: [drawPoint] },
  }, [counts, counts.map((count) => sums[count])], place);
}

function drawPoint(plot) {
  const { ctx } = plot;
  const kept = keptCount();
  ctx.save();
  ctx.beginPath();
  ctx.arc(plot.valToPos(kept, "x", true), plot.valToPos(ranking().sums[kept], "y", true), 5 * devicePixelRatio, 0, 2 * Math.PI);
  ctx.fillStyle = look("--ink");
  ctx.strokeStyle = look("--surface");
  ctx.lineWidth = 2 * devicePixelRatio;
  ctx.fill();
  ctx.stroke();
  ctx.restore();
}
