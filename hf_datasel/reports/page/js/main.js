// Puts it together: first the columns, which is all the chart needs, then texts, tokens and pictures.

let ready = false;

function startTheme() {
  const system = matchMedia("(prefers-color-scheme: dark)");
  const button = byId("theme");
  const isDark = () => (document.documentElement.dataset.theme ? document.documentElement.dataset.theme === "dark" : system.matches);
  const show = () => {
    button.textContent = isDark() ? "Light" : "Dark";
    button.ariaLabel = isDark() ? "Switch to light" : "Switch to dark";
    chart?.redraw(false);
    curve?.redraw(false);
  };
  button.addEventListener("click", () => {
    document.documentElement.dataset.theme = isDark() ? "light" : "dark";
    show();
  });
  system.addEventListener("change", show);
  show();
}

function showLede() {
  const [, rule] = Object.entries(about.selections)[0] ?? [];
  const chosen = view.arm && pool.kept[view.arm];
  const scored = ranking().values.length;
  byId("lede").replaceChildren(
    about.about ? make("span", {}, `${about.about} `) : "",
    make("span", {}, chosen ? `${rowsOf(chosen.count)} of ${whole(pool.ids.length)} (${percent(chosen.count, pool.ids.length)}) were kept by ` : `${rowsOf(pool.ids.length)}, ${scored === pool.ids.length ? "all" : whole(scored)} scored; nothing was selected yet.`),
    // A long rule is written out where it is told how everything was made.
    chosen ? make("code", {}, rule.length > 100 ? `${rule.split("(")[0]}(\u2026)` : rule) : "", chosen ? "." : "",
  );
}

function footer() {
  const texts = pool.turns.filter(Boolean).length;
  const parts = ["Made by hf_datasel. Everything on this page is in this file; nothing is loaded from anywhere."];
  if (texts < pool.ids.length) parts.push(`Texts of ${whole(texts)} of ${rowsOf(pool.ids.length)} fit into it, those near the top, the bottom and the cut first.`);
  if (about.has_tokens && pool.tokens.size < texts) parts.push(`Utilities of tokens: of ${rowsOf(pool.tokens.size)}.`);
  if (about.has_pictures) parts.push(`Pictures: of ${rowsOf(pool.pictures.size)}.`);
  byId("footer").textContent = parts.join(" ");
}

async function start() {
  startTheme();
  await readColumns();
  startSummary();
  startChart();
  startCards();
  startRows();
  chooseScore(view.score);
  showLede();
  performance.mark("drawn"); // the chart answers; benchmarks/report_page.py reads both marks
  document.documentElement.dataset.state = "drawn";
  on("arrived", () => {
    measurePaint();
    showExamples();
    search();
  });
  await readRows();
  ready = true;
  tell("arrived");
  footer();
  performance.mark("ready"); // and every text, token and picture is there
  document.documentElement.dataset.state = "ready";
}

start().catch((error) => {
  byId("fault").hidden = false;
  byId("fault").textContent = `The page could not be drawn: ${error.message}. A browser from 2023 or later is needed.`;
  throw error;
});
