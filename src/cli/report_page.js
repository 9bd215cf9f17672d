// The page: its data, how text and elements are made, what stands where. Texts of the data reach the page through
// textContent and canvases only. Charts: report_charts.js, which follows in the same function.

const report = JSON.parse(document.getElementById("data").textContent);
const models = report.comparison.models;
const streams = models.some((model) => model.auc_streaming != null);
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

const pText = (p) => (p == null ? "" : p < 0.0001 ? "< .0001" : p.toFixed(4));
const signed = (value) => `${value < 0 ? "−" : "+"}${Math.abs(value).toFixed(5)}`;

// {head, text: a model's cell, best: what of a model is best where it is largest}
function comparisonColumns() {
  const less = (model) => model.auc_minus_reference || {};
  return [
    {head: "model", text: (m) => m.model},
    {head: "seeds", text: (m) => m.seeds.length},
    {head: "AUC", text: (m) => fixed(m.auc, 5), best: (m) => m.auc},
    {head: "±", text: (m) => fixed(m.auc_sd, 5)},
    {head: `− ${report.comparison.reference}`, text: (m) => (less(m).mean == null ? "" : signed(less(m).mean))},
    {head: "p", text: (m) => pText(less(m).p)},
    {head: "± users", text: (m) => (less(m).users_95 == null ? "" : fixed(less(m).users_95, 5))},
    ...(streams ? [{head: "streaming", text: (m) => fixed(m.auc_streaming, 5)}] : []),
    {head: "GAUC", text: (m) => fixed(m.gauc, 5), best: (m) => m.gauc},
    {head: "log-loss", text: (m) => fixed(m.logloss, 5), best: (m) => (m.logloss == null ? null : -m.logloss)},
    {head: "PCOC", text: (m) => fixed(m.pcoc, 4)},
    {head: "dense weights", text: (m) => compact(m.dense_weights)},
    {head: "table MB", text: (m) => (m.table_bytes / 1e6).toFixed(1)},
    {head: "training", text: (m) => seconds(m.wall_seconds)},
    {head: "scores/s", text: (m) => compact(m.scores_per_second)},
  ];
}

function addComparison(main) {
  const {reference, failed} = report.comparison;
  add(main, "h2", "Models");
  const columns = comparisonColumns();
  const rows = addTable(main, columns.map((column) => column.head),
    models.map((model) => columns.map((column) => column.text(model))));
  if (models.length > 0) {
    columns.forEach(({best}, column) => {
      if (!best) return;
      const values = models.map((model) => best(model) ?? -Infinity);
      rows[values.indexOf(Math.max(...values))].children[column].classList.add("best");
    });
    add(main, "p", `Means over seeds. ± is the standard deviation of the AUC over seeds, p that of a paired t-test ` +
      `against ${reference}, two-sided; ± users is the 95 % interval of the difference over samples of as many test users.` +
      (streams ? " Streaming: AUC when each slice of the test is trained on after it was scored." : "") +
      ` GAUC by ${models[0].gauc_by}. Bold: the best.`, "hint");
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
  if (report.attention) {
    addSection(main, "Where GRAB looks", report.attention.channels.flatMap(attentionCharts));
  } else if (report.notes.some((note) => note.sections.includes("attention"))) {
    addNotes(addSection(main, "Where GRAB looks", []), "attention");
  }
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
