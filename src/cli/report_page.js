"use strict";
// Draws the report in #data. Texts of the data reach the page through textContent and canvases only.
(() => {
const report = JSON.parse(document.getElementById("data").textContent);
const models = report.comparison.models;
const darkPage = window.matchMedia("(prefers-color-scheme: dark)");

const themes = {
  light: {
    ink: "#1c2126", soft: "#5b6570", grid: "#e3e7eb", rows: "#d8dee5", page: "#ffffff",
    series: ["#0b62b0", "#c4560a", "#1d7f4e", "#a3297a", "#6a4fc0", "#7d6608", "#0d7f8c", "#8a3b2a"],
  },
  dark: {
    ink: "#e6e9ec", soft: "#a3adb8", grid: "#2d343c", rows: "#39424c", page: "#1b1f24",
    series: ["#6cb3f5", "#f29b54", "#5fce93", "#ee86c4", "#b3a0f7", "#d9c04a", "#5ad0dc", "#e8917c"],
  },
};
// In print without colour, shapes and dashes tell models apart.
const shapes = ["circle", "rect", "triangle", "rectRot", "cross", "star", "crossRot", "dash"];
const dashes = [[], [6, 3], [2, 2], [8, 3, 2, 3], [12, 4], [4, 2, 1, 2]];

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

function addNotes(parent, section) {
  report.notes.filter((note) => note.sections.includes(section))
    .forEach((note) => add(parent, "p", note.text, "note"));
}

// ---- the charts: each is a function of the theme, so that a change of theme or width draws it again

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

function line(theme, name, data, more) {
  const index = models.findIndex((model) => model.model === name);
  const colour = theme.series[Math.max(index, 0) % theme.series.length];
  return {
    label: name, data, borderColor: colour, backgroundColor: colour, borderWidth: 2,
    borderDash: dashes[Math.max(index, 0) % dashes.length], pointRadius: 3.5, tension: 0,
    pointStyle: shapes[Math.max(index, 0) % shapes.length], spanGaps: false, ...more,
  };
}

function rowBars(theme, label, data) {
  return {
    type: "bar", label, data, yAxisID: "rows", order: 10, backgroundColor: theme.rows,
    pointStyle: "rect", categoryPercentage: 1, barPercentage: 0.92,
  };
}

function axis(theme, title, more = {}) {
  return {
    title: {display: true, text: title, color: theme.soft}, border: {color: theme.soft},
    grid: {color: theme.grid}, ...more,
    ticks: {color: theme.soft, maxRotation: 50, ...more.ticks},
  };
}

const rowsAxis = (theme) => axis(theme, "rows", {
  position: "right", beginAtZero: true, grid: {display: false}, ticks: {callback: compact, maxTicksLimit: 4},
});

// Seeds share a name in the legend and are shown and hidden together.
function toggle(event, item, legend) {
  const {chart} = legend;
  const show = !chart.isDatasetVisible(item.datasetIndex);
  chart.data.datasets.forEach((set, i) => {
    if (set.label === item.text) chart.setDatasetVisibility(i, show);
  });
  chart.update();
}

function options(theme, scales, more = {}) {
  const first = (item, data) =>
    data.datasets.findIndex((set) => set.label === item.text) === item.datasetIndex;
  return {
    animation: false, responsive: true, maintainAspectRatio: false, color: theme.ink, scales,
    interaction: {mode: "nearest", axis: "x", intersect: false},
    plugins: {
      legend: {
        position: "bottom", onClick: toggle, display: more.legend !== false,
        labels: {color: theme.ink, usePointStyle: true, pointStyleWidth: 26, filter: first},
      },
      tooltip: {mode: more.tooltip || "index", intersect: false, ...more.tooltipOptions},
    },
  };
}

function seriesNumbers(head, labels, rows, series, digits) {
  return {
    head: [head, "rows", ...series.map((one) => one.model)],
    rows: labels.map((label, i) =>
      [label, whole(rows[i]), ...series.map((one) => fixed(one.values[i], digits))]),
  };
}

function overCategories(section, title, text, data, labels, names, digits, extra) {
  const config = data && ((theme) => ({
    type: "line",
    data: {
      labels,
      datasets: [
        ...data.series.map((one) => line(theme, one.model, one.values, names.line)),
        ...(extra ? [extra(theme)] : []),
        rowBars(theme, "test rows (right)", data.rows),
      ],
    },
    options: options(theme, {
      x: axis(theme, names.x, {grid: {display: false}}), y: axis(theme, names.y), rows: rowsAxis(theme),
    }),
  }));
  const numbers = data && seriesNumbers(names.x, labels, data.rows, data.series, digits);
  return {section, title, text, config, numbers};
}

function historyChart() {
  const data = report.history;
  return overCategories("history", "AUC against length of history",
    "Test rows by how many events of the user were known before the request.",
    data, data && data.labels, {x: "events known", y: "AUC"}, 5);
}

function overTimeChart() {
  const data = report.over_time;
  return overCategories("over_time", "AUC over the time of the test",
    "Test rows by the time of the request (UTC); a gap where a class has fewer than 10 rows.",
    data, data && timeLabels(data.begin_ms), {x: "request from", y: "AUC"}, 5);
}

function pcocChart(data) {
  const history = data && data.field === "history_len";
  const one = (theme) => ({
    label: "perfect", data: data.labels.map(() => 1), borderColor: theme.soft, borderWidth: 1.5,
    borderDash: [4, 4], pointRadius: 0, pointStyle: "line", order: 9,
  });
  return overCategories("pcoc",
    !data ? "PCOC by slice" : history ? "PCOC by length of history" : `PCOC by ${data.field}`,
    "Mean prediction over mean label: above 1 the model promises too much." +
      (data && !history ? " The most frequent values; long numbers are hashes of ids." : ""),
    data, data && data.labels,
    {x: history ? "events known" : data && data.field, y: "PCOC", line: history ? {} : {showLine: false}},
    4, data && one);
}

function calibrationChart() {
  const curves = report.calibration;
  const most = curves && Math.max(...curves.flatMap((c) => c.points.map((p) => Math.max(p.p, p.rate))));
  const config = curves && ((theme) => ({
    type: "scatter",
    data: {
      datasets: [
        ...curves.map((c) =>
          line(theme, c.model, c.points.map((p) => ({x: p.p, y: p.rate})), {showLine: true})),
        {
          label: "perfect", data: [{x: 0, y: 0}, {x: most, y: most}], showLine: true, pointRadius: 0,
          borderColor: theme.soft, borderWidth: 1.5, borderDash: [4, 4], pointStyle: "line", order: 9,
        },
      ],
    },
    options: options(theme, {
      x: axis(theme, "mean prediction", {min: 0}), y: axis(theme, "mean label", {min: 0}),
    }, {tooltip: "nearest"}),
  }));
  const numbers = curves && {
    head: ["model", "rows", "prediction", "label"],
    rows: curves.flatMap((c) => c.points.map(
      (p) => [c.model, whole(p.rows), fixed(p.p, 5), fixed(p.rate, 5)])),
  };
  return {
    section: "calibration", title: "Calibration", config, numbers,
    text: "Test rows in 20 bins of equal size, by prediction; on the dashed line both agree.",
  };
}

// ---- training and cost

function trainingChart(key, title, text, yTitle) {
  const runs = (report.training || []).filter((run) => run[key].length > 0);
  const config = runs.length > 0 && ((theme) => ({
    type: "scatter",
    data: {
      datasets: runs.map((run) => line(theme, run.model, run[key].map(([x, y]) => ({x, y})), {
        showLine: true, borderWidth: 1.5, pointRadius: run[key].length > 30 ? 0 : 3, seed: run.seed,
      })),
    },
    options: options(theme, {
      x: axis(theme, "rows trained on, all passes", {min: 0, ticks: {callback: compact}}),
      y: axis(theme, yTitle),
    }, {
      tooltip: "nearest",
      tooltipOptions: {callbacks: {label: ({dataset, parsed}) =>
        `${dataset.label}, seed ${dataset.seed}: ${fixed(parsed.y, 5)} at ${compact(parsed.x)} rows`}},
    }),
  }));
  return {section: "training", title, text, config};
}

// Names beside the points; on the left of those that stand far to the right.
const pointNames = {
  id: "pointNames",
  afterDatasetsDraw(chart) {
    const {ctx, chartArea} = chart;
    ctx.save();
    ctx.font = Chart.helpers.toFont(Chart.defaults.font).string;
    ctx.textBaseline = "bottom";
    chart.data.datasets.forEach((set, i) => {
      const point = chart.getDatasetMeta(i).data[0];
      if (!point || !chart.isDatasetVisible(i)) return;
      const left = point.x + 10 + ctx.measureText(set.label).width > chartArea.right;
      ctx.textAlign = left ? "right" : "left";
      ctx.fillStyle = set.borderColor;
      ctx.fillText(set.label, point.x + (left ? -8 : 8), point.y - 4);
    });
    ctx.restore();
  },
};

function costChart(key, title, text, xTitle, format) {
  const shown = models.filter((model) => model.auc != null && model[key] > 0);
  const config = shown.length > 0 && ((theme) => ({
    type: "scatter",
    data: {
      datasets: shown.map((model) => line(theme, model.model, [{x: model[key], y: model.auc}],
        {pointRadius: 6})),
    },
    options: {
      ...options(theme, {
        x: axis(theme, xTitle, {
          type: "logarithmic", min: Math.min(...shown.map((m) => m[key])) / 1.5,
          max: Math.max(...shown.map((m) => m[key])) * 1.5,
          ticks: {callback: format, autoSkip: true, maxTicksLimit: 7},
        }),
        y: axis(theme, "AUC", {grace: "15%"}),
      }, {
        tooltip: "nearest",
        tooltipOptions: {callbacks: {label: ({dataset, parsed}) =>
          `${dataset.label}: AUC ${fixed(parsed.y, 5)}, ${format(parsed.x)}`}},
      }),
    },
    plugins: [pointNames],
  }));
  return {section: "cost", title, text, config};
}

// ---- the data

function bars(section, title, text, labels, values, names, format, numbers) {
  const config = labels.length > 0 && ((theme) => ({
    type: "bar",
    data: {labels, datasets: [{label: names.y, data: values, backgroundColor: theme.series[0], maxBarThickness: 60}]},
    options: options(theme, {
      x: axis(theme, names.x, {grid: {display: false}}),
      y: axis(theme, names.y, {beginAtZero: true, ticks: {callback: format}}),
    }, {legend: false}),
  }));
  return {section, title, text, config, numbers};
}

function eventsChart(data) {
  const bins = data.users_by_events;
  const labels = bins.map(({from, to}) => (from === to ? `${from}` : `${compact(from)}–${compact(to)}`));
  return bars("data", "Events per user", `${whole(data.users)} users, ${whole(data.events)} events.`,
    labels, bins.map((bin) => bin.users), {x: "events", y: "users"}, compact,
    {head: ["events", "users"], rows: bins.map((bin, i) => [labels[i], whole(bin.users)])});
}

function labelChart(data) {
  const {series, begin_ms: beginMs} = data.time;
  const labels = timeLabels(beginMs);
  const config = labels.length > 0 && ((theme) => ({
    type: "line",
    data: {
      labels,
      datasets: series.map((one, i) => ({
        ...line(theme, null, one.values), label: one.task, borderColor: theme.series[i % 8],
        backgroundColor: theme.series[i % 8], borderDash: dashes[i % dashes.length],
        pointStyle: shapes[i % shapes.length],
      })),
    },
    options: options(theme, {
      x: axis(theme, "request from", {grid: {display: false}}),
      y: axis(theme, "share of positive labels", {beginAtZero: true}),
    }),
  }));
  return {
    section: "data", title: "Label rate over time", config,
    text: "Of training, validation and test rows with a known label, by the time of the request (UTC).",
    numbers: {
      head: ["request from", ...series.flatMap((one) => [`${one.task} rows`, `${one.task} rate`])],
      rows: labels.map((label, i) =>
        [label, ...series.flatMap((one) => [whole(one.rows[i]), fixed(one.values[i], 5)])]),
    },
  };
}

function coldChart(data) {
  const rows = [
    ["no history", data.no_history_rows], ["new user", data.new_user_rows],
    ...data.fields.filter((field) => field.cold_rows != null)
      .map((field) => [`new ${field.field}`, field.cold_rows]),
  ];
  return bars("data", "What is new in the test",
    "Share of test rows: without an event of the user known before the request; of a user, or with a value of the " +
      "item, in no event requested before the test began.",
    data.test_rows > 0 ? rows.map((row) => row[0]) : [],
    rows.map((row) => 100 * row[1] / data.test_rows), {x: "", y: "% of test rows"}, (value) => `${value} %`,
    {
      head: ["", "rows", "share"],
      rows: rows.map(([name, count]) => [name, whole(count), percent(count, data.test_rows)]),
    });
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
  const rows = models.length > 0
    ? `${whole(models[0].train_rows)} training and ${whole(models[0].test_rows)} test rows` : "no finished run";
  document.getElementById("facts").textContent =
    [rows, report.task && `task ${report.task}`, `rows hash ${hash}`, `${hardware.cpu || "unknown processor"}, ` +
      `${hardware.threads} threads`, commit && `commit ${commit}`].filter(Boolean).join(" · ");
  const main = document.querySelector("main");
  addComparison(main);
  const pcoc = (report.pcoc || [null]).map(pcocChart);
  addSection(main, "Quality", [historyChart(), overTimeChart(), calibrationChart(), ...pcoc]);
  addSection(main, "Training", [
    trainingChart("loss", "Training loss", "Each line is a seed.", "loss"),
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

build();
draw();
darkPage.addEventListener("change", draw);
window.addEventListener("beforeprint", () => setPrint(true));
window.addEventListener("afterprint", () => setPrint(false));
})();
