// A row to read: who says what, pictures, and the utility of every token where it is known.

let paintScale = 0; // the utility that gets the full colour: 98 % of the tokens seen are below it

function measurePaint() {
  const sizes = [];
  for (const [, values] of pool.tokens.values()) {
    for (const value of values) if (value !== null) sizes.push(Math.abs(value));
    if (sizes.length > 50_000) break;
  }
  sizes.sort((a, b) => a - b);
  paintScale = sizes[Math.floor(0.98 * (sizes.length - 1))] || 0;
  byId("token-legend").replaceChildren(...(paintScale ? [
    make("span", { className: "key" }, `token utility: harms (dotted) \u2212${number(paintScale, 2)}`),
    make("span", { className: "key" }, make("span", { className: "ramp", ariaHidden: "true" },
      ...[-5, -3, -1, 1, 3, 5].map((step) => make("i", { className: `token ${step < 0 ? "harms" : "helps"} t${Math.abs(step)}` }))), `+${number(paintScale, 2)} helps`),
  ] : []));
}

function tokenElement(text, value) {
  if (value === null || !text) return text;
  const strength = Math.min(5, Math.round((5 * Math.abs(value)) / (paintScale || 1)));
  if (!strength) return make("span", { title: number(value) }, text);
  return make("span", { className: `token ${value < 0 ? "harms" : "helps"} t${strength}`, title: number(value) }, text);
}

// Tokens take the place of the answer's text where they are that text; what the scorer cut off follows in grey.
function paintedAnswer(text, [texts, values]) {
  const spans = texts.map((piece, place) => tokenElement(piece, values[place]));
  const joined = texts.join("");
  const rest = text.startsWith(joined) ? text.slice(joined.length) : "";
  return [...spans, rest ? make("span", { className: "unscored", title: "beyond the maximal length: not scored" }, rest) : null];
}

const ROLES = { gpt: "assistant", human: "user" };

function turnElement([role, text, answer, cut], tokens) {
  return make("div", { className: `turn ${answer ? "answer" : "asks"}` },
    make("div", { className: "role" }, ROLES[role] ?? role),
    make("div", { className: "said" }, ...(tokens ? paintedAnswer(text, tokens) : [text || "(empty)"]),
      cut ? make("span", { className: "unscored" }, ` \u2026 and ${whole(cut)} more characters`) : null));
}

function chatElement(row) {
  const turns = pool.turns[row];
  if (!turns) return make("p", { className: "empty" }, ready ? "The text of this row is not in this file: it went beyond the file\u2019s budget." : "Reading \u2026");
  if (!turns.length) return make("p", { className: "empty" }, "This row holds no text.");
  const tokens = pool.tokens.get(row);
  const answers = turns.filter((turn) => turn[2]);
  const inPlace = tokens && answers.length === 1;
  return make("div", { className: "chat" }, ...turns.map((turn) => turnElement(turn, inPlace && turn[2] ? tokens : null)),
    tokens && !inPlace ? turnElement(["target tokens", "", 1, 0], tokens) : null);
}

function picturesElement(row) {
  const found = pool.pictures.get(row);
  if (!found) return about.has_pictures && ready ? make("p", { className: "no-picture" }, "pictures of this row are not in this file") : null;
  if (!found.length) return null;
  return make("div", { className: "pictures" }, ...found.map(([source, words]) => (source
    ? make("figure", {}, make("img", { src: source, alt: words || "image of the row", loading: "lazy" }), words ? make("figcaption", {}, words) : null)
    : make("div", { className: "placeholder", role: "img", ariaLabel: words }, make("span", {}, words)))));
}

function chips(row) {
  const found = [];
  const coded = pool.status[view.score];
  const status = coded?.names[coded.codes[row]];
  if (status && status !== "ok") found.push(chip(status, "flag"));
  if (pool.copyOf.has(row)) found.push(chip(`${pool.copyOf.get(row).length} copies`, "flag"));
  if (view.arm && pool.kept[view.arm].mask[row]) found.push(chip(`in ${view.arm}`, "in"));
  if (view.group) found.push(chip(pool.groups[view.group].names[pool.groups[view.group].codes[row]]));
  return found;
}

function rowHead(row) {
  const { scores, place, order } = ranking();
  const rank = place[row];
  return make("header", { className: "row-head" },
    make("span", { className: `score ${scores[row] < 0 && scoreNow().is_utility ? "harmful" : ""}` }, number(scores[row])),
    make("span", { className: "rank" }, rank < 0 ? "not scored" : `rank ${whole(rank + 1)} of ${whole(order.length)}`));
}

function cardElement(row) {
  const body = make("div", { className: "card-body" }, picturesElement(row), chatElement(row));
  const card = make("article", { className: "card" }, rowHead(row), make("p", { className: "chips" }, ...chips(row)), body);
  const open = make("button", { type: "button", className: "link" }, "Open in the list");
  open.addEventListener("click", () => openRow(row));
  const all = make("button", { type: "button", className: "link", hidden: true }, "Read all");
  all.addEventListener("click", () => {
    body.className = "card-body whole";
    all.hidden = true;
    open.focus({ preventScroll: true });
  });
  card.append(make("p", { className: "card-links" }, all, open));
  return card;
}

// Only what is cut off fades out, and offers to be read.
function markCut() {
  for (const body of document.querySelectorAll(".card-body:not(.whole)")) {
    const cut = body.scrollHeight > body.clientHeight + 4;
    body.classList.toggle("more-below", cut);
    body.parentElement.querySelector(".card-links .link").hidden = !cut;
  }
}

function factsElement(row) {
  const facts = (pool.facts[row] ?? []).map((value, place) => [about.facts[place], value]).filter(([, value]) => value !== null);
  const scores = about.scores.filter(({ name }) => name !== view.score).map(({ name }) => [name, pool.scores[name][row]]);
  const text = (value) => (typeof value === "number" ? number(value, 4) : value === true ? "yes" : value === false ? "no" : String(value));
  return make("dl", { className: "facts" }, ...[["row_id", pool.ids[row]], ...scores, ...facts].flatMap(([name, value]) => [make("dt", {}, name), make("dd", {}, text(value))]));
}

function detailElement(row) {
  const twins = (pool.copyOf.get(row) ?? []).filter((other) => other !== row);
  const links = twins.slice(0, 8).map((other) => {
    const button = make("button", { type: "button", className: "link" }, pool.ids[other]);
    button.addEventListener("click", () => openRow(other));
    return button;
  });
  return make("article", { className: "detail-row" }, rowHead(row), make("p", { className: "chips" }, ...chips(row)), picturesElement(row), chatElement(row),
    links.length ? make("p", { className: "note" }, "Same content: ", ...links.flatMap((button) => [button, " "])) : null, factsElement(row));
}

const shown = { best: 3, borderline: 3, worst: 3 };

function nearestToLine(count) {
  const { order } = ranking();
  const kept = keptCount();
  const from = Math.max(0, Math.min(kept - Math.ceil(count / 2), order.length - count));
  return order.slice(from, from + count);
}

// Of few rows each is shown once: the better half as best, the other as worst.
function pickedExamples() {
  const { order } = ranking();
  if (order.length < 9) {
    const half = Math.ceil(order.length / 2);
    return { best: order.slice(0, half), borderline: [], worst: order.slice(half).reverse() };
  }
  return { best: order.slice(0, shown.best), borderline: nearestToLine(shown.borderline), worst: order.slice(-shown.worst).reverse() };
}

const drawnRows = {};

// With `changed`, only columns that hold other rows than before: a card somebody is reading stays as it is.
function showExamples({ changed = false } = {}) {
  const { order } = ranking();
  byId("examples").hidden = !order.length;
  for (const [name, rows] of Object.entries(pickedExamples())) {
    if (changed && String(rows) === drawnRows[name]) continue;
    drawnRows[name] = String(rows);
    byId(name).hidden = !rows.length;
    byId(name).querySelector(".cards").replaceChildren(...rows.map(cardElement));
    byId(name).querySelector(".more").hidden = order.length < 9 || rows.length >= order.length || rows.length < shown[name];
  }
  markCut();
}

function startCards() {
  on("view", () => showExamples());
  on("settled", () => showExamples({ changed: true }));
  for (const name of Object.keys(shown)) {
    byId(name).querySelector(".more").addEventListener("click", () => {
      shown[name] += 3;
      showExamples();
    });
  }
}
