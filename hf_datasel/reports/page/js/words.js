// Numbers and names as people read them, and elements made of them.

function make(tag, properties = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (name in element) element[name] = value;
    else element.setAttribute(name, value);
  }
  element.append(...children.filter((child) => child !== null && child !== undefined));
  return element;
}

const byId = (id) => document.getElementById(id);
const whole = new Intl.NumberFormat("en-US").format;
const minus = (text) => text.replace("-", "\u2212");
const raised = (power) => String(power).replace(/./g, (digit) => "\u2070\u00b9\u00b2\u00b3\u2074\u2075\u2076\u2077\u2078\u2079\u207b"["0123456789-".indexOf(digit)]);

function number(value, digits = 3) {
  if (value === null || value === undefined || Number.isNaN(value)) return "\u2013";
  if (Number.isInteger(value) && Math.abs(value) < 1e9) return minus(whole(value));
  const size = Math.abs(value);
  if (size >= 1e6 || size < 1e-4) {
    const [mantissa, power] = value.toExponential(digits - 1).split("e");
    return `${minus(mantissa)}\u00d710${raised(Number(power))}`;
  }
  const decimals = Math.max(0, digits - 1 - Math.floor(Math.log10(size)));
  return minus(value.toLocaleString("en-US", { minimumFractionDigits: decimals, maximumFractionDigits: decimals }));
}

function percent(part, all) {
  if (!all) return "\u2013";
  const share = (100 * part) / all;
  if (share > 0 && share < 0.1) return "<\u20090.1\u2009%";
  if (share < 100 && share > 99.9) return ">\u200999.9\u2009%";
  return `${share.toFixed(1)}\u2009%`;
}

const rowsOf = (count) => (count === 1 ? "1 row" : `${whole(count)} rows`);

function seconds(value) {
  if (value === null || value === undefined) return "\u2013";
  if (value < 90) return `${value.toFixed(1)} s`;
  if (value < 5400) return `${(value / 60).toFixed(1)} min`;
  return `${(value / 3600).toFixed(1)} h`;
}

const STATUSES = {
  ok: "scored",
  truncated: "cut at the maximal length; scored on what is left",
  no_targets: "nothing to learn from: no target tokens",
  no_image: "an image is missing",
  unreadable_image: "an image cannot be read",
  unreadable_video: "a video cannot be read",
  image_cut_by_truncation: "the maximal length cuts through an image",
  not_in_pool: "not among the rows that were learnt from",
  no_answer: "no answer to measure",
};

// A table from texts and elements; columns after the first are numbers, and end together.
function fillTable(table, caption, head, lines) {
  const kind = (place) => ({ className: place ? "number" : "" });
  table.replaceChildren(
    make("caption", { className: "unseen" }, caption),
    make("thead", {}, make("tr", {}, ...head.map((content, place) => make("th", { scope: "col", ...kind(place) }, content)))),
    make("tbody", {}, ...lines.map((line) =>
      make("tr", {}, ...line.map((content, place) => make(place ? "td" : "th", place ? kind(place) : { scope: "row" }, content))))),
  );
  return table;
}

function option(value, text, selected = false) {
  return make("option", { value, selected }, text);
}

const chip = (text, kind = "") => make("span", { className: `chip ${kind}` }, text);
const unseen = (text) => make("span", { className: "unseen" }, text); // for those who hear the page
