// The charts of a report: each is {section, title, text, config, numbers}, where config is a function of the theme that
// gives a Chart.js configuration (falsy: nothing to draw) and numbers is a table of what is drawn.

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

// ---- parts of a configuration

function styled(theme, index, label, data, more) {
  const colour = theme.series[index % theme.series.length];
  return {
    label, data, borderColor: colour, backgroundColor: colour, borderWidth: 2,
    borderDash: dashes[index % dashes.length], pointRadius: 3.5, tension: 0,
    pointStyle: shapes[index % shapes.length], spanGaps: false, ...more,
  };
}

// A model has one style in all charts of the comparison.
function line(theme, name, data, more) {
  return styled(theme, Math.max(models.findIndex((model) => model.model === name), 0), name, data, more);
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
        labels: {color: theme.ink, usePointStyle: true, boxHeight: 7, filter: first},
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

// ---- scaling

const scaleTexts = {
  history: ["length of history", "events that a candidate sees, at most"],
  width: ["width", "width of a token"],
  depth: ["depth", "layers"],
  data: ["data", "newest share of the training time"],
};

function scaleChart({along, series}) {
  const [what, axisText] = scaleTexts[along] || [along, along];
  const values = [...new Set(series.flatMap((one) => one.points.map((point) => point.value)))].sort((a, b) => a - b);
  const pointsOf = (one) => values.map((value) => one.points.find((point) => point.value === value));
  const config = values.length > 0 && ((theme) => ({
    type: "line",
    data: {
      labels: values.map(String),
      datasets: series.map((one, i) =>
        styled(theme, i, one.model, pointsOf(one).map((point) => (point ? point.auc : null)))),
    },
    options: options(theme, {x: axis(theme, axisText, {grid: {display: false}}), y: axis(theme, "AUC")}),
  }));
  return {
    section: "scale", title: `AUC against ${what}`, config,
    text: "Means over seeds; the values stand at equal distances.",
    numbers: {
      head: [axisText, ...series.flatMap((one) => [one.model, "±", "seeds"])],
      rows: values.map((value, i) => [String(value), ...series.flatMap((one) => {
        const point = pointsOf(one)[i] || {};
        return [fixed(point.auc, 5), fixed(point.sd, 5), point.seeds == null ? "–" : String(point.seeds)];
      })]),
    },
  };
}

// ---- attention

const distanceText = ({from, to}) => (to == null ? `${from}+` : from === to ? `${from}` : `${from}–${to}`);

function ageText({from, to}) {
  const units = [["d", 86400], ["h", 3600], ["min", 60], ["s", 1]];
  const text = (age) => {
    const [unit, length] = units.find(([, seconds]) => age >= seconds) || units[3];
    return `${+(age / length).toPrecision(2)} ${unit}`;
  };
  return to == null ? `> ${text(from)}` : `≤ ${text(to)}`;
}

// Bars: what each layer gives to a bucket; lines: against what it would get if all keys got the same.
function attentionChart(channel, kind, title, text, xTitle, label) {
  const buckets = channel[kind];
  const labels = buckets.map(label);
  const layers = channel.self.mass.map((_, layer) => layer);
  const lift = (bucket, layer) => bucket.mass[layer] / bucket.uniform;
  const config = buckets.length > 0 && ((theme) => ({
    type: "bar",
    data: {
      labels,
      datasets: layers.flatMap((layer) => {
        const colour = theme.series[layer];
        return [
          {
            label: `layer ${layer + 1}`, data: buckets.map((bucket) => 100 * bucket.mass[layer]), order: 10,
            backgroundColor: `${colour}66`, pointStyle: "rect", borderColor: colour, borderWidth: {top: 2},
          },
          {
            type: "line", label: `layer ${layer + 1}, lift`, data: buckets.map((bucket) => lift(bucket, layer)),
            yAxisID: "lift", borderColor: colour, backgroundColor: colour, borderWidth: 2, borderDash: dashes[layer],
            pointStyle: shapes[layer], pointRadius: 3.5, showLine: kind !== "action",
          },
        ];
      }),
    },
    options: options(theme, {
      x: axis(theme, xTitle, {grid: {display: false}}), y: axis(theme, "% of attention", {beginAtZero: true}),
      lift: axis(theme, "lift", {position: "right", beginAtZero: true, grid: {display: false}}),
    }),
  }));
  return {section: "attention", title, text, config, numbers: {
    head: [xTitle, "keys", "uniform %", ...layers.flatMap((layer) => [`layer ${layer + 1} %`, "lift"])],
    rows: [["itself", channel.self], ...buckets.map((bucket, i) => [labels[i], bucket])].map(([name, bucket]) =>
      [name, fixed(bucket.keys, 2), fixed(100 * bucket.uniform, 2),
        ...layers.flatMap((layer) => [fixed(100 * bucket.mass[layer], 2), fixed(lift(bucket, layer), 2)])]),
  }};
}

function attentionCharts(channel) {
  const {sampled, targets, channels} = report.attention;
  const where = channels.length > 1 ? `, channel ${channel.name}` : "";
  const self = channel.self.mass.map((mass) => `${(100 * mass).toFixed(1)} %`).join(", ");
  return [
    attentionChart(channel, "position", `Attention by distance${where}`,
      `Bars: share of a candidate's attention, mean over heads and ${whole(channel.queries)} test candidates that see ` +
        `events (sample of ${whole(sampled)} of ${whole(targets)}). The candidate itself keeps ${self}, layer by layer. ` +
        "Lift: share over what the events would get if all got the same.",
      "events back", distanceText),
    attentionChart(channel, "time", `Attention by age${where}`, "By the time since the event became known.",
      "age", ageText),
    attentionChart(channel, "action", `Attention by action${where}`,
      "By the first action of the event, in the order of the data set.", "", (bucket) => bucket.action),
  ];
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

// Names beside the points, where there is room for them.
const pointNames = {
  id: "pointNames",
  afterDatasetsDraw(chart) {
    const {ctx, chartArea} = chart;
    const height = 14;
    const marks = chart.data.datasets
      .map((set, i) => ({set, point: chart.isDatasetVisible(i) && chart.getDatasetMeta(i).data[0]}))
      .filter((mark) => mark.point);
    const taken = marks.map(({point}) => ({x: point.x - 6, y: point.y - 6, width: 12, height: 12}));
    const free = (box) => box.x >= chartArea.left && box.x + box.width <= chartArea.right &&
      box.y >= chartArea.top && box.y + box.height <= chartArea.bottom &&
      taken.every((other) => box.x + box.width <= other.x || other.x + other.width <= box.x ||
        box.y + box.height <= other.y || other.y + other.height <= box.y);
    ctx.save();
    ctx.font = Chart.helpers.toFont(Chart.defaults.font).string;
    ctx.textBaseline = "middle";
    marks.forEach(({set, point}) => {
      const width = ctx.measureText(set.label).width;
      const box = [-7, 7, -20, 20].flatMap((down) => [point.x + 9, point.x - 9 - width, point.x - width / 2]
        .map((x) => ({x, y: point.y + down - height / 2, width, height}))).find(free);
      if (!box) return;
      taken.push(box);
      ctx.fillStyle = set.borderColor;
      ctx.fillText(set.label, box.x, box.y + height / 2);
    });
    ctx.restore();
  },
};

// Of a logarithmic axis those at 1, 2 and 5 times a power of ten.
function roundTicks(scale) {
  const leading = ({value}) => value / 10 ** Math.floor(Math.log10(value) + 1e-9);
  scale.ticks = scale.ticks.filter((tick) => [1, 2, 5].some((digit) => Math.abs(leading(tick) - digit) < 1e-6));
}

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
          ticks: {callback: format}, afterBuildTicks: roundTicks,
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
  const all = data.time.series;
  const labelled = (bin) => all.some((one) => one.rows[bin] > 0);
  const bins = data.time.begin_ms.map((_, bin) => bin);
  const from = Math.max(bins.findIndex(labelled), 0);
  const to = bins.findLastIndex(labelled) + 1;
  const cut = (list) => list.slice(from, to);
  const labels = timeLabels(cut(data.time.begin_ms));
  const series = all.map((one) => ({...one, rows: cut(one.rows), values: cut(one.values)}));
  const config = labels.length > 0 && ((theme) => ({
    type: "line",
    data: {labels, datasets: series.map((one, i) => styled(theme, i, one.task, one.values))},
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
  return bars("cold", "What is new in the test",
    "Share of test rows: without an event of the user known before the request; of a user, or with a value of the " +
      "item, in no event requested before the test began.",
    data.test_rows > 0 ? rows.map((row) => row[0]) : [],
    rows.map((row) => 100 * row[1] / data.test_rows), {x: "", y: "% of test rows"}, (value) => `${value} %`,
    {
      head: ["", "rows", "share"],
      rows: rows.map(([name, count]) => [name, whole(count), percent(count, data.test_rows)]),
    });
}
