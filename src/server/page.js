"use strict";

const $ = (id) => document.getElementById(id);
const POLL_MS = 2000;
const POINTS_MAX = 150;

// Untrusted text becomes text nodes only.
function element(tag, text, className) {
  const node = document.createElement(tag);
  if (text !== undefined) node.textContent = text;
  if (className) node.className = className;
  return node;
}

function fillTable(table, head, rows) {
  const titles = element("tr");
  for (const title of head) titles.append(element("th", title));
  const thead = element("thead");
  thead.append(titles);
  const body = element("tbody");
  for (const row of rows) {
    const line = element("tr", undefined, row.className);
    if (row.onclick) line.onclick = row.onclick;
    for (const cell of row.cells) {
      line.append(cell instanceof Node ? cell : element("td", cell, typeof cell === "number" ? "number" : ""));
    }
    body.append(line);
  }
  table.replaceChildren(thead, body);
}

async function call(path, body) {
  const headers = {"content-type": "application/json"};
  if ($("token").value) headers.authorization = "Bearer " + $("token").value;
  const reply = await fetch(path, {method: "POST", headers, body: JSON.stringify(body)});
  const answer = await reply.json();
  if (!reply.ok) throw new Error(answer.message || reply.statusText);
  return answer;
}

// ---- Live ----

function parseMetrics(text) {
  const values = new Map();
  for (const line of text.split("\n")) {
    const space = line.lastIndexOf(" ");
    if (line && !line.startsWith("#")) values.set(line.slice(0, space), Number(line.slice(space + 1)));
  }
  return values;
}

// Of what was counted between two readings of a histogram.
function quantile(before, now, stage, share) {
  const buckets = [];
  for (const [name, count] of now) {
    const match = name.match(/^grab_stage_seconds_bucket\{(.*)\}$/);
    if (!match || !match[1].includes(`stage="${stage}"`)) continue;
    const bound = match[1].match(/le="([^"]+)"/)[1];
    buckets.push([bound === "+Inf" ? Infinity : Number(bound), count - (before.get(name) || 0)]);
  }
  buckets.sort((a, b) => a[0] - b[0]);
  const total = buckets.length ? buckets[buckets.length - 1][1] : 0;
  if (total <= 0) return null;
  let from = 0, seen = 0;
  for (const [to, count] of buckets) {
    if (count >= share * total) {
      if (to === Infinity) return from * 1000;
      return (from + (to - from) * (share * total - seen) / Math.max(1, count - seen)) * 1000;
    }
    from = to;
    seen = count;
  }
  return from * 1000;
}

function makeChart(canvas, names) {
  const style = getComputedStyle(document.documentElement);
  const colours = [style.getPropertyValue("--mark"), "#c2571a", "#2e8b57"];
  return new Chart(canvas, {
    type: "line",
    data: {
      labels: [],
      datasets: names.map((label, i) => (
        {label, data: [], borderColor: colours[i], backgroundColor: colours[i], pointRadius: 0, borderWidth: 2})),
    },
    options: {
      animation: false,
      maintainAspectRatio: false,
      scales: {
        y: {beginAtZero: true, ticks: {color: style.getPropertyValue("--soft")}, grid: {color: style.getPropertyValue("--line")}},
        x: {ticks: {color: style.getPropertyValue("--soft"), maxTicksLimit: 6}, grid: {display: false}},
      },
      plugins: {legend: {labels: {color: style.getPropertyValue("--ink")}}},
    },
  });
}

function addPoint(chart, values) {
  chart.data.labels.push(new Date().toLocaleTimeString());
  chart.data.datasets.forEach((set, i) => set.data.push(values[i]));
  if (chart.data.labels.length > POINTS_MAX) {
    chart.data.labels.shift();
    for (const set of chart.data.datasets) set.data.shift();
  }
  chart.update();
}

const rates = makeChart($("rates"), ["Rank", "Observe"]);
const latency = makeChart($("latency"), ["p50", "p99"]);
let last = null;

function showMetrics(now) {
  const at = performance.now();
  if (last) {
    const seconds = (at - last.at) / 1000;
    const rate = (method) => {
      const name = `grab_calls_total{code="OK",method="${method}"}`;
      return ((now.get(name) || 0) - (last.values.get(name) || 0)) / seconds;
    };
    addPoint(rates, [rate("Rank"), rate("Observe")]);
    addPoint(latency, [quantile(last.values, now, "total", 0.5), quantile(last.values, now, "total", 0.99)]);
  }
  last = {at, values: now};
}

function pcoc(values, task) {
  const predicted = values.get(`grab_feedback_predicted_total{task="${task}"}`) || 0;
  const observed = values.get(`grab_feedback_observed_total{task="${task}"}`) || 0;
  return observed > 0 ? (predicted / observed).toFixed(3) : "no feedback yet";
}

const MIB = 1024 * 1024;
const age = (seconds) => seconds < 120 ? `${Math.round(seconds)} s` : seconds < 7200 ? `${Math.round(seconds / 60)} min` : `${(seconds / 3600).toFixed(1)} h`;

function showStatus(status, values) {
  const hits = values.get("grab_cache_hits_total") || 0, misses = values.get("grab_cache_misses_total") || 0;
  const facts = [
    ["up for", age(status.uptime_s)],
    ["cached users", status.cached_users],
    ["cache, MiB", `${(status.cache_bytes / MIB).toFixed(0)} of ${(status.cache_bytes_max / MIB).toFixed(0)}`],
    ["cache hits", hits + misses > 0 ? `${(100 * hits / (hits + misses)).toFixed(1)} %` : "none yet"],
    ["candidates waiting", status.queued_candidates],
    ["refused", values.get("grab_refused_total") || 0],
    ["items", status.items],
    ...status.tasks.map((task) => [`live PCOC, ${task}`, pcoc(values, task)]),
  ];
  $("facts").replaceChildren(...facts.map(([name, value]) => {
    const box = element("div");
    box.append(element("span", name), element("b", String(value)));
    return box;
  }));
  fillTable($("models"), ["arm", "step", "age", "precision", "from", "refused"], status.models.map((model) => ({
    cells: [model.arm, model.step, age(Date.now() / 1000 - model.loaded_unix_s), model.precision, model.dir,
      model.refused || "nothing"],
  })));
  $("state").textContent = status.degraded ? "under pressure: users that are not cached are read short" : "serving";
  if (!$("action").options.length) $("action").append(...status.actions.map((action) => new Option(action)));
}

async function poll() {
  try {
    const values = parseMetrics(await (await fetch("metrics")).text());
    showMetrics(values);
    showStatus(await call("v1/status", {}), values);
  } catch (error) {
    $("state").textContent = "no answer: " + error.message;
  }
  setTimeout(poll, POLL_MS);
}

// ---- Inspector ----

let inspected = null;  // {user, candidates, answer, before}
let chosen = 0;

function parseCandidates(text) {
  if (text.trim().startsWith("[")) return JSON.parse(text);
  const ids = text.split(/[\s,]+/).filter(Boolean);
  return ids.length ? ids.map((id) => ({item_id: id})) : [{}];
}

function name(candidate, i) {
  return candidate.item_id || `candidate ${i + 1}`;
}

function valueText(value) {
  if ("ids" in value) return (value.ids.keys || []).concat(value.ids.ids || []).join(" ");
  if ("vector" in value) return `[${value.vector.values.length} numbers]`;
  return String(Object.values(value)[0]);
}

function happened(event) {
  return Object.keys(event.actions).filter((action) => event.actions[action]).join(", ");
}

function showScores() {
  const {candidates, answer, before} = inspected;
  fillTable($("scores"), ["candidate", ...answer.tasks, ...(before ? ["moved by"] : [])], candidates.map((candidate, i) => {
    const now = answer.candidates[i].probability;
    const moved = before ? [(now[0] - before[i].probability[0]).toExponential(2)] : [];
    return {
      cells: [name(candidate, i), ...now.map((p) => p.toPrecision(4)), ...moved],
      className: i === chosen ? "row chosen" : "row",
      onclick: () => { chosen = i; showScores(); },
    };
  }));
  const rows = answer.candidates[chosen].attention.slice(0, 20).map((part) => {
    const event = answer.events[part.event];
    const bar = element("td");
    const inner = element("span", undefined, "bar");
    inner.style.width = `${Math.max(1, 100 * part.share)}px`;
    bar.append(inner, ` ${(100 * part.share).toFixed(1)} %`);
    return {cells: [bar, event.item_id || event.event_key, happened(event), part.channel,
      ...[part.content, part.position_bias, part.time_bias, part.action_bias].map((x) => x.toFixed(3))]};
  });
  fillTable($("attention"), ["share", "event", "actions", "channel", "content", "position", "time", "action"], rows);
}

function showEvents() {
  const rows = inspected.answer.events.slice().reverse().map((event) => ({
    cells: [new Date(Number(event.known_time_ms)).toISOString(), event.item_id || event.event_key, happened(event),
      element("td", Object.entries(event.fields).map(([field, value]) => `${field}=${valueText(value)}`).join("  "), "fields")],
  }));
  fillTable($("events"), ["known", "item or event", "actions", "fields"], rows);
}

async function inspect(before) {
  $("error").textContent = "";
  try {
    const user = $("user").value, candidates = parseCandidates($("candidates").value);
    const answer = await call("v1/inspect", {user_id: user, candidates});
    inspected = {user, candidates, answer, before};
    chosen = Math.min(chosen, candidates.length - 1);
    $("clicked").replaceChildren(...candidates.map((candidate, i) => new Option(name(candidate, i), i)));
    showScores();
    showEvents();
  } catch (error) {
    $("error").textContent = error.message;
  }
}

$("access").onsubmit = (event) => event.preventDefault();

$("inspect").onsubmit = (event) => {
  event.preventDefault();
  inspect(null);
};

$("click").onsubmit = async (event) => {
  event.preventDefault();
  if (!inspected) return;
  const candidate = inspected.candidates[Number($("clicked").value)];
  try {
    await call("v1/observe", {events: [{
      user_id: inspected.user,
      event_id: "page-" + crypto.getRandomValues(new Uint32Array(4)).join("-"),
      item_id: candidate.item_id || "",
      fields: candidate.fields || {},
      actions: {[$("action").value]: true},
    }]});
    await new Promise((done) => setTimeout(done, 5));  // a request sees what was known before it
    await inspect(inspected.answer.candidates);
  } catch (error) {
    $("error").textContent = error.message;
  }
};

poll();
