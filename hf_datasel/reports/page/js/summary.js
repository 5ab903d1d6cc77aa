// Figures of the cut, shares of groups, and what the run says of itself.

function sumOver(mask) {
  const { scores } = ranking();
  const found = { rows: 0, scored: 0, sum: 0, lowest: Infinity, harmful: 0 };
  for (let row = 0; row < scores.length; row++) {
    if (mask && !mask[row]) continue;
    found.rows++;
    if (Number.isNaN(scores[row])) continue;
    found.scored++;
    found.sum += scores[row];
    if (scores[row] < found.lowest) found.lowest = scores[row];
    if (scores[row] < 0) found.harmful++;
  }
  return found;
}

function atTheLine() {
  const { sums, values } = ranking();
  const kept = keptCount();
  const harmless = countFrom(ranking(), 0);
  return { rows: kept, scored: kept, sum: sums[kept], lowest: values[kept - 1], harmful: Math.max(0, kept - harmless) };
}

let beside = []; // of the selection and the whole pool: they do not move with the line

function measureBeside() {
  beside = view.arm ? [sumOver(pool.kept[view.arm].mask)] : [];
  beside.push(sumOver(null));
}

function showFigures() {
  if (!ranking().values.length) return;
  const { is_utility: gain, unit } = scoreNow();
  const columns = [atTheLine(), ...beside];
  const line = (name, value) => [name, ...columns.map(value)];
  const table = [
    line("Rows", (its) => whole(its.rows)),
    line("of the pool", (its) => percent(its.rows, pool.ids.length)),
    line(gain ? "Expected gain" : "Sum", (its) => number(its.sum)),
    line("Mean", (its) => number(its.sum / its.scored)),
    line("Lowest score", (its) => number(its.scored ? its.lowest : NaN)),
  ];
  if (gain) table.push(line("Below zero", (its) => whole(its.harmful)));
  fillTable(byId("figures"), "The rows kept at the line, beside those of the run", [unseen("figure"), "At the line", ...(view.arm ? [view.arm] : []), "All rows"], table);
  byId("gain-words").textContent = gain
    ? `Expected gain is the sum of the utilities of the kept rows${unit && `, in ${unit}`}: to first order, how far one step on each of them alone lowers the anchors\u2019 loss. Steps do not simply add up, and copies count twice, so compare cuts by it; it is no forecast.`
    : "Sum and mean are of this score. It is not a loss, so there is no expected gain to read off it.";
}

function showControls() {
  const kept = keptCount();
  for (const [id, value] of [["keep-count", kept], ["keep-from", Number(line().toPrecision(6))]]) {
    if (document.activeElement !== byId(id)) byId(id).value = value;
  }
  byId("keep-count").max = ranking().values.length;
}

function showShares() {
  const coded = pool.groups[view.group];
  if (!coded) return;
  const { scores } = ranking();
  const [all, kept, chosen] = [0, 0, 0].map(() => new Float64Array(coded.names.length));
  const mask = view.arm ? pool.kept[view.arm].mask : null;
  coded.codes.forEach((code, row) => {
    all[code]++;
    if (scores[row] >= line()) kept[code]++;
    if (mask?.[row]) chosen[code]++;
  });
  const [total, chosenTotal] = [keptCount(), view.arm ? pool.kept[view.arm].count : 0];
  const rows = coded.names.map((name, code) => [
    name || "(empty)", percent(all[code], pool.ids.length), ...(mask ? [percent(chosen[code], chosenTotal)] : []), percent(kept[code], total),
    shareBar(kept[code] / (total || 1), all[code] / pool.ids.length), `${whole(kept[code])} of ${whole(all[code])}`,
  ]);
  fillTable(byId("shares"), `Shares by ${view.group}`, [view.group, "Pool", ...(mask ? [view.arm] : []), "At the line", unseen("bar"), "Kept"], rows);
  byId("groups-note").textContent =
    "Shares are of the rows in each column\u2019s head. The bar is the share at the line; the mark in it, the share of the pool.";
}

function shareBar(share, ofPool) {
  const [fill, mark] = [make("i", { className: "fill" }), make("i", { className: "mark" })];
  fill.style.width = `${100 * share}%`;
  mark.style.left = `${100 * ofPool}%`;
  return make("div", { className: "bar", ariaHidden: "true" }, fill, mark);
}

function showFlags() {
  const coded = pool.status[view.score];
  const lines = (coded?.names ?? []).map((name, code) => ({ name, code, count: 0 }));
  coded?.codes.forEach((code) => lines[code].count++);
  const link = (text, filter) => {
    const button = make("button", { type: "button", className: "link" }, text);
    button.addEventListener("click", () => showRows(filter));
    return button;
  };
  const table = lines.map(({ name, code, count }) => [
    make("span", {}, name === "ok" ? "ok" : link(name, { show: "all", status: String(code) }), make("small", {}, STATUSES[name.split(":")[0]] ?? "")),
    whole(count), percent(count, pool.ids.length),
  ]);
  const copied = pool.copies.reduce((sum, rows) => sum + rows.length, 0);
  table.push([
    make("span", {}, copied ? link("copies", { show: "copies" }) : "copies", make("small", {}, copied
      ? `rows that train on the same content as another, in ${whole(pool.copies.length)} ${pool.copies.length === 1 ? "group" : "groups"}`
      : "no two rows train on the same content")),
    whole(copied), percent(copied, pool.ids.length),
  ]);
  byId("flag-body").replaceChildren(fillTable(make("table"), "Statuses of rows", ["Status", "Rows", "Share"], table));
}

function showConstraints() {
  const wishes = about.build?.constraints ?? [];
  byId("constraints").hidden = !wishes.length;
  if (!wishes.length) return;
  const mark = (met) => make("span", { className: met ? "met" : "unmet" }, met ? "\u2713 met" : "\u2717 unmet");
  const table = wishes.map((its) => [
    make("span", {}, its.name, its.note ? make("small", {}, its.note) : null), whole(its.required), whole(its.achieved), mark(its.met),
  ]);
  const unmet = wishes.filter((its) => !its.met).length;
  const stages = Object.entries(about.build.stages ?? {}).map(([name, count]) => `${name} ${whole(count)}`).join(", ");
  const drift = Object.entries(about.build.divergence ?? {}).filter(([, bits]) => bits !== null).map(([name, bits]) => `${name} ${number(bits, 2)}`).join(", ");
  byId("constraint-body").replaceChildren(
    make("p", { className: "words" }, unmet ? `${whole(unmet)} of ${whole(wishes.length)} are not met by the run\u2019s selection.` : `All ${whole(wishes.length)} are met by the run\u2019s selection.`),
    fillTable(make("table"), "Constraints", ["Constraint", "Asked", "Got", unseen("met")], table),
    make("p", { className: "note" }, [stages && `Rows by stage: ${stages}.`, drift && `Divergence from the pool, 0 alike to 1 apart: ${drift}.`].filter(Boolean).join(" ")),
  );
}

function showResults() {
  const arms = about.results?.arms ?? [];
  byId("results").hidden = !arms.length;
  if (!arms.length) return;
  const best = Math.min(...arms.map((arm) => arm.heldout_loss.mean));
  const answers = about.results.has_answers;
  const table = arms.map((arm) => {
    const { mean, low, high, seeds: count } = arm.heldout_loss;
    const figure = make("span", { className: mean === best ? "strong" : "" }, number(mean, 4));
    return [arm.arm, whole(arm.rows), figure, count > 1 ? `${number(low, 4)} to ${number(high, 4)}` : "", ...(answers ? [percent(arm.answer_accuracy ?? 0, 1)] : [])];
  });
  byId("result-body").replaceChildren(
    make("p", { className: "words" }, "Held-out loss in nats per token, mean over seeds; lower is better. ", about.results.verdict.replaceAll("**", "")),
    make("div", { className: "scroll-x" }, fillTable(make("table"), "Results", ["Trained on", "Rows", "Loss", "Seeds, low to high", ...(answers ? ["Answers right"] : [])], table)),
    about.results.card?.limits ? make("p", { className: "note" }, about.results.card.limits) : null,
  );
}

function showCosts() {
  const known = about.costs.filter((its) => its.seconds !== null);
  byId("costs").hidden = !known.length;
  if (!known.length) return;
  const total = known.reduce((sum, its) => sum + its.seconds, 0);
  const table = known.map((its) => [its.what, its.rows ? whole(its.rows) : "\u2013", seconds(its.seconds), percent(its.seconds, total)]);
  table.push([make("strong", {}, "Together"), "", make("strong", {}, seconds(total)), ""]);
  byId("cost-body").replaceChildren(
    fillTable(make("table"), "Cost", ["Stage", "Rows", "Time", "Share"], table),
    make("p", { className: "note" }, "Wall time on the machine of the run, as it measured it; what was taken from an earlier run counts as it did then."),
  );
}

function showMade() {
  const { scorers = [], versions = {}, data = {} } = about.made;
  byId("made").hidden = !scorers.length && !Object.keys(about.selections).length;
  const rules = Object.entries(about.selections).map(([name, rule]) => [name, make("code", {}, rule)]);
  const details = (title, value) => make("details", {}, make("summary", {}, title), make("pre", { tabIndex: 0 }, JSON.stringify(value, null, 1)));
  byId("made-body").replaceChildren(
    make("dl", {}, ...rules.flatMap(([name, rule]) => [make("dt", {}, name), make("dd", {}, rule)])),
    ...scorers.map((spec) => details(`Scorer ${spec.scorer ?? ""}`, spec)),
    details("Versions and fingerprints", { versions, data }),
  );
}

function startSummary() {
  on("view", () => {
    measureBeside();
    byId("score-words").textContent = [scoreNow().words, "Higher means keep."].filter((text, place) => text && (!place || !/higher means keep/i.test(scoreNow().words))).join(" ");
    for (const id of ["controls", "keys"]) byId(id).hidden = !ranking().values.length;
    byId("keep-positive").hidden = !scoreNow().is_utility;
    byId("keep-as-run").textContent = view.arm ? `As many as ${view.arm}` : "The better half";
    showFlags();
  });
  on("line", () => {
    showFigures();
    showControls();
    showShares();
  });
  showConstraints();
  showResults();
  showCosts();
  showMade();
  const score = byId("score");
  score.replaceChildren(...about.scores.map(({ name }) => option(name, name)));
  score.addEventListener("change", () => chooseScore(score.value));
  byId("score-choice").hidden = about.scores.length < 2;
  const arm = byId("arm");
  const arms = Object.keys(about.selections);
  byId("arm-choice").hidden = arms.length < 2;
  arm.replaceChildren(...arms.map((name) => option(name, name)));
  arm.addEventListener("change", () => {
    view.arm = arm.value;
    tell("view");
    tell("line");
  });
  const group = byId("group");
  byId("groups").hidden = !about.groups.length;
  group.replaceChildren(...about.groups.map((name) => option(name, name)));
  byId("group-choice").hidden = about.groups.length < 2;
  group.addEventListener("change", () => {
    view.group = group.value;
    showShares();
    tell("rows");
  });
  byId("keep-count").addEventListener("input", (event) => keepBest(event.target.valueAsNumber));
  byId("keep-from").addEventListener("input", (event) => moveLine(event.target.valueAsNumber));
  byId("keep-as-run").addEventListener("click", () => moveLine(firstLine(ranking())));
  byId("keep-positive").addEventListener("click", () => {
    const { values } = ranking();
    const positive = values.findIndex((value) => !(value > 0));
    keepBest(positive === -1 ? values.length : positive || 1);
  });
}
