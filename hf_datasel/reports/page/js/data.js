// The data inside the page. Whatever rows hold reaches the document as text nodes and never as HTML.

const about = JSON.parse(document.getElementById("about").textContent);

const pool = {
  ids: [], scores: {}, status: {}, groups: {}, kept: {}, copies: [],
  copyOf: new Map(), // row -> its list in `copies`
  turns: [], facts: [], tokens: new Map(), pictures: new Map(),
  haystack: [], // lower-case text and id of each row, for the search
};

function bytesOf(base64) {
  if (Uint8Array.fromBase64) return Uint8Array.fromBase64(base64);
  const letters = atob(base64);
  const bytes = new Uint8Array(letters.length);
  for (let i = 0; i < letters.length; i++) bytes[i] = letters.charCodeAt(i);
  return bytes;
}

async function unpacked(element) {
  const bytes = bytesOf(element.textContent);
  element.remove(); // the packed copy is of no more use, and holds memory
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
  return new Response(stream).json();
}

function blocks(part) {
  return document.querySelectorAll(`script[data-part="${part}"]`);
}

async function readColumns() {
  const table = await unpacked(blocks("columns")[0]);
  for (const [name, values] of Object.entries(table.scores)) {
    pool.scores[name] = Float64Array.from(values, (value) => (value === null ? NaN : value));
  }
  Object.assign(pool, { ids: table.ids, status: table.status, groups: table.groups, copies: table.copies });
  for (const [name, rows] of Object.entries(table.kept)) {
    const mask = new Uint8Array(table.ids.length);
    for (const row of rows) mask[row] = 1;
    pool.kept[name] = { mask, count: rows.length };
  }
  for (const rows of table.copies) for (const row of rows) pool.copyOf.set(row, rows);
  pool.haystack = table.ids.map((id) => id.toLowerCase());
}

// Blocks of one kind in order; while one is read, the next is unpacked beside it.
async function eachBlock(part, read) {
  const elements = [...blocks(part)];
  let next = elements.length ? unpacked(elements[0]) : null;
  for (let i = 0; i < elements.length; i++) {
    const { rows, values } = await next;
    if (i + 1 < elements.length) next = unpacked(elements[i + 1]);
    rows.forEach((row, place) => read(row, values[place]));
    if (!i) tell("arrived");
  }
}

// They come block by block, so that the page answers while they do; what is looked at first comes first.
async function readRows() {
  for (const part of ["tokens", "pictures"]) await eachBlock(part, (row, value) => pool[part].set(row, value));
  await eachBlock("texts", (row, [turns, facts]) => {
    pool.turns[row] = turns;
    pool.facts[row] = facts;
    pool.haystack[row] = `${turns.map((turn) => turn[1]).join("\n")}\n${pool.ids[row]}`.toLowerCase();
  });
}

// A ranking of the rows that have a score: best first, with sums, so that any cut is answered at once.
const rankings = {};
function rankingOf(name) {
  if (rankings[name]) return rankings[name];
  const scores = pool.scores[name];
  const order = [];
  for (let row = 0; row < scores.length; row++) if (!Number.isNaN(scores[row])) order.push(row);
  order.sort((a, b) => scores[b] - scores[a] || a - b);
  const values = Float64Array.from(order, (row) => scores[row]);
  const sums = new Float64Array(values.length + 1);
  for (let i = 0; i < values.length; i++) sums[i + 1] = sums[i] + values[i];
  const place = new Int32Array(scores.length).fill(-1);
  order.forEach((row, rank) => (place[row] = rank));
  return (rankings[name] = { name, scores, order, values, sums, place });
}

// How many rows score `threshold` or more.
function countFrom(ranking, threshold) {
  let low = 0;
  let high = ranking.values.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (ranking.values[middle] >= threshold) low = middle + 1;
    else high = middle;
  }
  return low;
}
