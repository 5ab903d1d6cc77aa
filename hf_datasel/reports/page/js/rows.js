// All rows: searched, filtered, ordered; only those in sight are in the document.

const HEIGHT = 64; // pixels of a row in the list, as page.css has it
const filter = { text: "", show: "all", value: "", status: "", order: "best" };
let found = [];
let current = -1; // place in `found`
let drawnFrom = -1;

const SHOW = {
  all: ["all rows", () => true],
  kept: ["kept at the line", (row) => isKept(row)],
  dropped: ["dropped at the line", (row) => !isKept(row)],
  chosen: ["in the selection", (row) => pool.kept[view.arm]?.mask[row]],
  changed: ["line and selection disagree", (row) => view.arm && Boolean(pool.kept[view.arm].mask[row]) !== isKept(row)],
  flagged: ["flagged", (row) => { const its = pool.status[view.score]; return its && its.names[its.codes[row]] !== "ok"; }],
  copies: ["copies", (row) => pool.copyOf.has(row)],
  unscored: ["not scored", (row) => Number.isNaN(ranking().scores[row])],
};

function ordered() {
  const { order, scores, place } = ranking();
  const missing = [];
  for (let row = 0; row < scores.length; row++) if (place[row] < 0) missing.push(row);
  if (filter.order === "pool") return scores.map((_, row) => row);
  if (filter.order === "worst") return [...order.slice().reverse(), ...missing];
  if (filter.order === "line") {
    const kept = keptCount() - 0.5;
    return [...order.slice().sort((a, b) => Math.abs(place[a] - kept) - Math.abs(place[b] - kept)), ...missing];
  }
  return [...order, ...missing];
}

function search() {
  const wanted = filter.text.trim().toLowerCase();
  const groups = filter.value === "" ? null : pool.groups[view.group].codes;
  const statuses = filter.status === "" ? null : pool.status[view.score]?.codes;
  const [, shows] = SHOW[filter.show];
  const [value, status] = [Number(filter.value), Number(filter.status)];
  const before = found[current];
  found = [];
  for (const row of ordered()) {
    if (groups && groups[row] !== value) continue;
    if (statuses && statuses[row] !== status) continue;
    if (!shows(row)) continue;
    if (wanted && !pool.haystack[row].includes(wanted)) continue;
    found.push(row);
  }
  byId("found").textContent = `${whole(found.length)} of ${rowsOf(pool.ids.length)}`;
  byId("spacer").style.height = `${Math.max(1, found.length) * HEIGHT}px`;
  current = before === undefined ? -1 : found.indexOf(before);
  drawnFrom = -1;
  drawList();
}

// What is around the match, or the start of the row.
function snippet(row) {
  const turns = pool.turns[row];
  if (!turns) return [make("span", { className: "empty" }, ready ? "text not in this file" : "reading \u2026")];
  const wanted = filter.text.trim().toLowerCase();
  const lines = turns.filter((turn) => turn[1]).map((turn) => turn[1].replace(/\s+/g, " "));
  const first = lines.length > 1 ? [lines[0], lines[lines.length - 1]] : [lines[0] ?? "(no text)"];
  if (!wanted) return first.map((text) => make("span", { className: "text" }, text.slice(0, 200)));
  const hit = lines.find((text) => text.toLowerCase().includes(wanted));
  if (!hit) return first.map((text) => make("span", { className: "text" }, text.slice(0, 200)));
  const at = hit.toLowerCase().indexOf(wanted);
  const from = Math.max(0, at - 24);
  const parts = [from ? "\u2026" : "", hit.slice(from, at), make("mark", {}, hit.slice(at, at + wanted.length)), hit.slice(at + wanted.length, at + 180)];
  return [make("span", { className: "text two" }, ...parts)];
}

function listItem(place) {
  const row = found[place];
  const { scores } = ranking();
  const coded = pool.status[view.score];
  const status = coded?.names[coded.codes[row]];
  const chosen = view.arm && pool.kept[view.arm].mask[row];
  const item = make("div", {
    role: "option", id: `row-${row}`, className: `item ${isKept(row) ? "kept" : ""}`, "aria-selected": String(place === current),
    "aria-setsize": found.length, "aria-posinset": place + 1,
  },
  make("span", { className: `score ${scores[row] < 0 && scoreNow().is_utility ? "harmful" : ""}` }, number(scores[row])),
  make("span", { className: "snippet" }, ...snippet(row)),
  make("span", { className: "marks" }, status && status !== "ok" ? chip(status, "flag") : null, pool.copyOf.has(row) ? chip("copy", "flag") : null,
    chosen ? make("span", { className: "dot", title: `in ${view.arm}` }, "\u25cf") : null));
  item.style.top = `${place * HEIGHT}px`;
  item.addEventListener("click", () => { pick(place); openSheet(); });
  return item;
}

function drawList() {
  const list = byId("list");
  const from = Math.max(0, Math.floor(list.scrollTop / HEIGHT) - 6);
  if (from === drawnFrom) return;
  drawnFrom = from;
  const to = Math.min(found.length, from + Math.ceil(list.clientHeight / HEIGHT) + 12);
  const items = [];
  for (let place = from; place < to; place++) items.push(listItem(place));
  byId("spacer").replaceChildren(...(found.length ? items : [make("p", { className: "empty" }, "No row is like that. Widen the search or the filters.")]));
  if (current >= 0) list.setAttribute("aria-activedescendant", `row-${found[current]}`);
  else list.removeAttribute("aria-activedescendant");
}

const narrow = matchMedia("(max-width: 900px)");

function pick(place) {
  if (!found.length) return;
  current = Math.min(Math.max(place, 0), found.length - 1);
  const list = byId("list");
  const top = current * HEIGHT;
  if (top < list.scrollTop) list.scrollTop = top;
  else if (top + HEIGHT > list.scrollTop + list.clientHeight) list.scrollTop = top + HEIGHT - list.clientHeight;
  drawnFrom = -1;
  drawList();
  showDetail();
}

function showDetail() {
  const row = found[current];
  const place = narrow.matches ? byId("sheet").lastElementChild : byId("detail");
  place.replaceChildren(row === undefined ? make("p", { className: "empty" }, "Pick a row to read all of it.") : detailElement(row));
}

function openSheet() {
  if (narrow.matches && !byId("sheet").open) byId("sheet").showModal();
}

// From elsewhere on the page: filters are dropped, the list shows what was asked for.
function showRows(change) {
  Object.assign(filter, { text: "", show: "all", value: "", status: "" }, change);
  for (const name of ["show", "value", "status"]) byId(name).value = filter[name];
  byId("search").value = filter.text;
  search();
  byId("list").scrollTop = 0;
  byId("rows").scrollIntoView({ behavior: matchMedia("(prefers-reduced-motion: reduce)").matches ? "auto" : "smooth" });
  byId("list").focus({ preventScroll: true });
}

function openRow(row) {
  showRows({});
  pick(found.indexOf(row));
  openSheet();
}

function fillFilters() {
  const coded = pool.groups[view.group];
  byId("show").replaceChildren(...Object.entries(SHOW).filter(([name]) => view.arm || !["chosen", "changed"].includes(name)).map(([name, [words]]) => option(name, words, name === filter.show)));
  byId("in-group").hidden = !coded;
  byId("in-group").firstElementChild.textContent = view.group ?? "Group";
  byId("value").replaceChildren(option("", "any"), ...(coded?.names ?? []).map((name, code) => option(String(code), name || "(empty)")));
  const statuses = pool.status[view.score]?.names ?? [];
  byId("with-status").hidden = statuses.length < 2;
  byId("status").replaceChildren(option("", "any"), ...statuses.map((name, code) => option(String(code), name)));
  byId("order").replaceChildren(...[["best", "best first"], ["worst", "worst first"], ["line", "nearest the line"], ["pool", "as in the pool"]].map(([name, words]) => option(name, words, name === filter.order)));
  filter.value = filter.status = "";
  byId("list-note").textContent = `An edge in blue: kept at the line.${view.arm ? ` A dot: in ${view.arm}.` : ""} Arrow keys walk the list once it has the focus.`;
}

function startRows() {
  on("view", () => { fillFilters(); search(); showDetail(); });
  on("rows", () => { fillFilters(); search(); });
  on("settled", () => { search(); if (current >= 0) showDetail(); });
  for (const [id, name] of [["search", "text"], ["show", "show"], ["value", "value"], ["status", "status"], ["order", "order"]]) {
    byId(id).addEventListener(id === "search" ? "input" : "change", (event) => {
      filter[name] = event.target.value;
      byId("list").scrollTop = 0;
      search();
    });
  }
  const list = byId("list");
  // As high as a short pool needs; the same for every search, so that nothing jumps while somebody types.
  document.documentElement.style.setProperty("--list", `${Math.max(260, pool.ids.length * HEIGHT)}px`);
  list.addEventListener("scroll", drawList, { passive: true });
  list.addEventListener("keydown", (event) => {
    const page = Math.max(1, Math.floor(list.clientHeight / HEIGHT) - 1);
    const to = { ArrowDown: current + 1, ArrowUp: current - 1, PageDown: current + page, PageUp: current - page, Home: 0, End: found.length - 1 }[event.key];
    if (event.key === "Enter" && current >= 0) openSheet();
    else if (to === undefined) return;
    else pick(to);
    event.preventDefault();
  });
  narrow.addEventListener("change", () => { byId("sheet").close(); showDetail(); });
  new ResizeObserver(() => { drawnFrom = -1; drawList(); }).observe(list);
}
