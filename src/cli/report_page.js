// The page: its data, how text and elements are made, what stands where. Texts of the data reach the page through
// textContent and canvases only. Charts: report_charts.js, which follows in the same function.

const report = JSON.parse(document.getElementById("data").textContent);
const models = report.comparison.models;
const darkPage = window.matchMedia("(prefers-color-scheme: dark)");

// ---- text

const compactFormat = new Intl.NumberFormat("en", {notation: "compact", maximumFractionDigits: 1});
const compact = (value) => compactFormat.format(value);
const whole = (value) => value.toLocaleString("en");
const fixed = (value, digits) => (value == null ? "–" : value.toFixed(digits));
const percent = (part, all) => (all > 0 ? `${(100 * part / all).toFixed(1)} %` : "–");

function seconds(value) {
  if (value < 60) return `${value.toFixed(1)} s`;
  const minutes = Math.round(value / 60);
  return minutes < 60 ? `${minutes} min` : `${Math.floor(minutes / 60)} h ${minutes % 60} min`;
}

// Bins of a day or more by date, shorter ones with the hour; UTC.
function timeLabels(beginMs) {
  const days = beginMs.length < 2 || beginMs[1] - beginMs[0] >= 86400000;
  return beginMs.map((ms) => {
    const text = new Date(ms).toISOString();
    return days ? text.slice(0, 10) : `${text.slice(5, 10)} ${text.slice(11, 16)}`;
  });
}

// ---- elements

function add(parent, name, text, className) {
  const child = parent.appendChild(document.createElement(name));
  if (text != null) child.textContent = text;
  if (className) child.className = className;
  return child;
}

function addTable(parent, head, rows) {
  const table = add(add(parent, "div", null, "scroll"), "table");
  const headRow = add(add(table, "thead"), "tr");
  head.forEach((text) => { add(headRow, "th", text).scope = "col"; });
  const body = add(table, "tbody");
  return rows.map((cells) => {
    const row = add(body, "tr");
    cells.forEach((text) => add(row, "td", text));
    return row;
  });
}

// A section of several charts shows its notes at the first.
const noted = new Set();

function addNotes(parent, section) {
  if (noted.has(section)) return;
  noted.add(section);
  report.notes.filter((note) => note.sections.includes(section))
    .forEach((note) => add(parent, "p", note.text, "note"));
}

// ---- the page

function addComparison(main) {
  const {reference, failed} = report.comparison;
  add(main, "h2", "Models");
  const rows = addTable(main,
    ["model", "seeds", "AUC", "±", `− ${reference}`, "p", "GAUC", "log-loss", "PCOC", "dense weights", "table MB",
      "training", "scores/s"],
    models.map((m) => {
      const less = m.auc_minus_reference;
      return [m.model, m.seeds.length, fixed(m.auc, 5), fixed(m.auc_sd, 5),
        less ? `${less.mean < 0 ? "−" : "+"}${Math.abs(less.mean).toFixed(5)}` : "",
        !less || less.p == null ? "" : less.p < 0.0001 ? "< .0001" : less.p.toFixed(4),
        fixed(m.gauc, 5), fixed(m.logloss, 5), fixed(m.pcoc, 4), compact(m.dense_weights),
        (m.table_bytes / 1e6).toFixed(1), seconds(m.wall_seconds), compact(m.scores_per_second)];
    }));
  const best = (key, sign) => {
    const values = models.map((m) => (m[key] == null ? -Infinity : sign * m[key]));
    return values.indexOf(Math.max(...values));
  };
  if (models.length > 0) {
    [[2, best("auc", 1)], [6, best("gauc", 1)], [7, best("logloss", -1)]]
      .forEach(([column, row]) => rows[row].children[column].classList.add("best"));
    add(main, "p", `Means over seeds. ± is the standard deviation of the AUC over seeds, p that of a paired t-test ` +
      `against ${reference}, two-sided. GAUC by ${models[0].gauc_by}. Bold: the best.`, "hint");
  }
  rows.forEach((row, i) => row.classList.toggle("reference", models[i].model === reference));
  failed.forEach((run) => add(main, "p", `${run.model}, seed ${run.seed}, failed: ${run.error}`, "note"));
}

// ---- charts on the page; a change of theme or width draws them again

const charts = [];  // {canvas, config, chart}

function addChart(cards, {section, title, text, config, numbers}) {
  const figure = add(cards, "figure");
  const caption = add(figure, "figcaption");
  add(caption, "h3", title);
  add(caption, "p", text);
  if (config) {
    const canvas = add(add(figure, "div", null, "plot"), "canvas");
    canvas.setAttribute("role", "img");
    canvas.setAttribute("aria-label", title);
    charts.push({canvas, config, chart: null});
  } else {
    add(figure, "p", "There is nothing to draw.", "note");
  }
  addNotes(figure, section);
  if (config && numbers) {
    const details = add(figure, "details");
    add(details, "summary", "Numbers");
    addTable(details, numbers.head, numbers.rows);
  }
}

function addSection(main, title, list) {
  add(main, "h2", title);
  const cards = add(main, "div", null, "cards");
  list.forEach((chart) => addChart(cards, chart));
  return cards;
}

function build() {
  const {hardware, rows_hash: hash, commit} = report.comparison;
  const title = report.name ? `Comparison on ${report.name}` : "Comparison";
  document.title = title;
  document.getElementById("title").textContent = title;
  const trained = [...new Set(models.map((m) => m.train_rows))].sort((a, b) => a - b);  // shares, where data are scaled
  const trainRows = [...new Set([trained[0], trained.at(-1)])];
  const rows = models.length > 0
    ? `${trainRows.map(whole).join(" to ")} training and ${whole(models[0].test_rows)} test rows` : "no finished run";
  document.getElementById("facts").textContent =
    [rows, report.task && `task ${report.task}`, `rows hash ${hash}`, `${hardware.cpu || "unknown processor"}, ` +
      `${hardware.threads} threads`, commit && `commit ${commit}`].filter(Boolean).join(" · ");
  const main = document.querySelector("main");
  addComparison(main);
  const pcoc = (report.pcoc || [null]).map(pcocChart);
  if (report.scale) addSection(main, "Scaling", [scaleChart(report.scale)]);
  addSection(main, "Quality", [historyChart(), overTimeChart(), calibrationChart(), ...pcoc]);
  addSection(main, "Training", [
    trainingChart("loss", "Training loss",
      "Each line is a seed. What training minimises: a model with losses beside that of the labels stands higher.",
      "loss"),
    trainingChart("valid_auc", "AUC on the validation rows", "Each line is a seed; the best state is what is tested.",
      "AUC"),
  ]);
  addSection(main, "Cost against quality", [
    costChart("wall_seconds", "AUC against training time", "Mean wall time of a run, validation and test included.",
      "training, s", seconds),
    costChart("scores_per_second", "AUC against speed of scoring", "Test rows scored per second by the training side.",
      "scores per second", compact),
  ]);
  if (report.data) {
    addSection(main, "The data", [eventsChart(report.data), labelChart(report.data), coldChart(report.data)]);
  } else {
    addNotes(addSection(main, "The data", []), "data");
  }
}

function draw() {
  const print = document.documentElement.classList.contains("print");
  const theme = themes[darkPage.matches && !print ? "dark" : "light"];
  Chart.defaults.font.family = getComputedStyle(document.body).fontFamily;
  charts.forEach((entry) => {
    if (entry.chart) entry.chart.destroy();
    const config = entry.config(theme);
    if (print) config.options.devicePixelRatio = 3;
    entry.chart = new Chart(entry.canvas, config);
  });
}

function setPrint(on) {
  document.documentElement.classList.toggle("print", on);
  draw();
}

function start() {
  build();
  draw();
  darkPage.addEventListener("change", draw);
  window.addEventListener("beforeprint", () => setPrint(true));
  window.addEventListener("afterprint", () => setPrint(false));
}
