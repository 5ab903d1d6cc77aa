// The line: one number that everything on the page looks at. Every score keeps a line of its own.

const view = { score: about.scores[0].name, arm: Object.keys(about.selections)[0] ?? null, group: about.groups[0] ?? null };
const lines = {};
const listeners = { line: [], settled: [], view: [], rows: [], arrived: [] };
let settling = 0;

const on = (what, listener) => listeners[what].push(listener);
const tell = (what) => listeners[what].forEach((listener) => listener());
const ranking = () => rankingOf(view.score);
const scoreNow = () => about.scores.find((score) => score.name === view.score);
const line = () => lines[view.score];
const keptCount = () => countFrom(ranking(), line());
const isKept = (row) => ranking().scores[row] >= line();

// The line that keeps as many rows as the selection beside, or the better half.
function firstLine(its) {
  const count = view.arm ? pool.kept[view.arm].count : Math.ceil(its.values.length / 2);
  return its.values[Math.min(Math.max(count, 1), its.values.length) - 1];
}

function chooseScore(name) {
  view.score = name;
  const its = ranking();
  if (!(name in lines)) lines[name] = its.values.length ? firstLine(its) : 0;
  tell("view");
  tell("line"); // all is drawn anew already: nothing has to follow when the hand rests
}

function moveLine(value) {
  const { values } = ranking();
  if (!values.length || Number.isNaN(value)) return;
  lines[view.score] = Math.min(Math.max(value, values[values.length - 1]), values[0]);
  tell("line");
  clearTimeout(settling);
  settling = setTimeout(() => tell("settled"), 150); // cards and lists follow when the hand rests
}

function keepBest(count) {
  const { values } = ranking();
  if (values.length && count >= 1) moveLine(values[Math.min(Math.floor(count), values.length) - 1]);
}
