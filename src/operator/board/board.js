// The board: follows the stream of one node, and asks for details when somebody wants them.
// Everything that a signal brings becomes text, never markup, and turns nothing around it round.

const at = (id) => document.getElementById(id);
const STALE_MS = 5000;
const PAGE = 50;

let board = null; // What the node shows, with every change since.
let role = null; // Of the session; null without one.
let heard = 0; // When something last came.
let skew = 0; // The node's clock minus this one.
let last = null; // Id of the last event.
let failed = 0; // Connections that failed in a row.
let listening = null; // The open stream, to end it.

// Elements -----------------------------------------------------------------

// Without characters that change the direction of what follows, which could show a name as a different one.
const plain = (text) => String(text).replace(/[\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]/g, "\ufffd");

function make(tag, properties = {}, ...inside) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (name === "class") element.className = value;
    else if (name === "level") element.dataset.level = value;
    else if (name === "press") element.addEventListener("click", value);
    else element.setAttribute(name, value);
  }
  for (const part of inside) {
    if (part !== null && part !== undefined) element.append(part instanceof Node ? part : plain(part));
  }
  return element;
}

function fill(element, ...inside) {
  element.replaceChildren(...inside.filter((part) => part !== null && part !== undefined));
}

// Changes what is there into what is wanted, so that focus, selection and scrolled places stay. Not for what listens to events.
function renew(element, ...inside) {
  const wanted = inside.filter((part) => part !== null && part !== undefined);
  while (element.childNodes.length > wanted.length) element.lastChild.remove();
  wanted.forEach((part, index) => {
    const there = element.childNodes[index];
    if (!there) element.append(part);
    else if (there.nodeName !== part.nodeName) there.replaceWith(part);
    else if (part.nodeType === Node.TEXT_NODE) {
      if (there.data !== part.data) there.data = part.data;
    } else {
      for (const { name } of [...there.attributes]) if (!part.hasAttribute(name)) there.removeAttribute(name);
      for (const { name, value } of part.attributes) if (there.getAttribute(name) !== value) there.setAttribute(name, value);
      renew(there, ...part.childNodes);
    }
  });
}

const marked = (level, text) => make("span", { class: "mark", level }, text);

function facts(list, pairs) {
  const wanted = pairs.flatMap(([term, value, level]) => [
    make("dt", {}, term),
    make("dd", {}, level ? marked(level, value) : value),
  ]);
  renew(list, ...wanted);
}

function table(label, heads, rows) {
  const numeric = (text) => /^[0-9]/.test(text);
  const cell = (tag, content, index) => {
    const isNumber = rows.length > 0 && rows.every((row) => typeof row[index] === "string" && numeric(row[index]));
    const properties = isNumber ? { class: "number" } : {};
    if (tag === "th") Object.assign(properties, { scope: "col", role: "columnheader" });
    else Object.assign(properties, { role: "cell", "data-head": heads[index] });
    return make(tag, properties, tag === "td" ? make("span", {}, content) : content);
  };
  // Roles as they are anyway: where a table is drawn as blocks, on a narrow screen, browsers forget them.
  const row = (tag, contents) => make("tr", { role: "row" }, ...contents.map((content, index) => cell(tag, content, index)));
  return make("div", { class: "table", tabindex: "0", role: "region", "aria-label": `Table: ${label}` },
    make("table", { role: "table" },
      make("thead", { role: "rowgroup" }, row("th", heads)),
      make("tbody", { role: "rowgroup" }, ...rows.map((contents) => row("td", contents)))));
}

// Words --------------------------------------------------------------------

const count = (number) => Number(number ?? 0).toLocaleString("en");
const counted = (number, noun) => `${count(number)} ${noun}${number === 1 ? "" : "s"}`;
const words = (name) => String(name).replaceAll("_", " ");

function took(micros) {
  if (micros < 1000) return `${micros} µs`;
  if (micros < 1e6) return `${(micros / 1000).toFixed(micros < 10000 ? 1 : 0)} ms`;
  return `${(micros / 1e6).toFixed(1)} s`;
}

function age(then) {
  const seconds = Math.max(0, Math.round((Date.now() + skew - then) / 1000));
  if (seconds < 60) return `${seconds} s`;
  if (seconds < 3600) return `${Math.floor(seconds / 60)} min`;
  if (seconds < 86400) return `${Math.floor(seconds / 3600)} h ${Math.floor((seconds % 3600) / 60)} min`;
  return `${Math.floor(seconds / 86400)} d`;
}

function bytes(number) {
  const units = ["B", "KiB", "MiB", "GiB", "TiB"];
  let unit = 0;
  while (number >= 1024 && unit < units.length - 1) { number /= 1024; unit += 1; }
  return `${unit ? number.toFixed(1) : number} ${units[unit]}`;
}

const moment = (millis) => new Date(millis).toISOString().replace("T", " ").replace("Z", " UTC");

// The node -----------------------------------------------------------------

async function ask(method, path, body) {
  const headers = { "x-gemba-board": "1" };
  if (body !== undefined) headers["content-type"] = "application/json";
  const answer = await fetch(path, { method, headers, body: body && JSON.stringify(body), cache: "no-store" });
  const said = await answer.json().catch(() => ({}));
  if (answer.ok) return said;
  if (answer.status === 401 && path !== "/board/session") logIn("The session has ended. Show the token again.");
  const place = (said.errors ?? []).map((error) => [error.detail, error.hint].filter(Boolean).join("; ")).join("; ");
  const error = new Error([said.detail ?? `The node answers ${answer.status}.`, place].filter(Boolean).join(" "));
  error.status = answer.status;
  throw error;
}

const path = (...parts) => `/${parts.map((part) => encodeURIComponent(part)).join("/")}`;

// The stream ---------------------------------------------------------------

function patch(old, change) {
  const whole = old !== null && typeof old === "object" && !Array.isArray(old) ? { ...old } : {};
  for (const [name, value] of Object.entries(change)) {
    if (value === null) delete whole[name];
    else whole[name] = typeof value === "object" && !Array.isArray(value) ? patch(whole[name], value) : value;
  }
  return whole;
}

function take(event) {
  heard = performance.now();
  if (event.id) last = event.id;
  const data = JSON.parse(event.data);
  if (event.name === "snapshot") board = data;
  else if (event.name === "change" && board) board = patch(board, data);
  else if (event.name === "stale") throw new Error(data.reason);
  skew = board.time - Date.now();
  failed = 0;
  draw();
}

// Reads events as the HTML standard has them, section 9.2.6.
async function read(body) {
  const reader = body.pipeThrough(new TextDecoderStream()).getReader();
  let text = "";
  let event = { name: "message", data: "", id: "" };
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return;
    text += value;
    const lines = text.split("\n");
    text = lines.pop();
    for (const line of lines) {
      const [, field, data] = /^([^:]*):? ?(.*)$/.exec(line) ?? [];
      if (line === "") {
        if (event.data) take(event);
        event = { name: "message", data: "", id: "" };
      } else if (field === "event") event.name = data;
      else if (field === "data") event.data += data;
      else if (field === "id") event.id = data;
    }
  }
}

async function follow() {
  while (role !== null) {
    listening = new AbortController();
    let why = "the stream has ended";
    try {
      const headers = last ? { "last-event-id": last } : {};
      const answer = await fetch("/board/events", { headers, cache: "no-store", signal: listening.signal });
      if (answer.status === 401) return logIn("The session has ended. Show the token again.");
      if (answer.ok) await read(answer.body);
      else why = (await answer.json().catch(() => ({}))).detail ?? `the node answers ${answer.status}`;
    } catch (error) {
      why = error.message || "the node cannot be reached";
    }
    if (role === null) return;
    stale(why);
    failed += 1;
    const pause = Math.min(30000, 500 * 2 ** Math.min(failed, 6)) * (0.75 + Math.random() / 2);
    await new Promise((wake) => setTimeout(wake, pause));
  }
}

function stale(why) {
  const since = board ? `, as of ${age(board.time)} ago` : "";
  at("stale").textContent = `Stale${since}: ${why}`;
  at("stale").hidden = false;
  // What was true then may not be true now.
  at("lamp").textContent = "Stale";
  at("lamp").dataset.level = "unknown";
  document.body.classList.add("stale");
}

setInterval(() => {
  if (role === null || !board) return;
  if (performance.now() - heard > STALE_MS) stale("nothing came from the node for 5 s");
  drawAges();
}, 1000);

// The board ----------------------------------------------------------------

// In the order in which a signal passes them. Beside them stand those that it does not pass.
const STATIONS = {
  all: ["ingress", "journal", "shards", "scribe", "outbound"],
  edge: ["ingress", "journal", "broker"],
  processor: ["broker", "journal", "shards", "scribe", "outbound"],
};
const BESIDE = ["state", "clock"];
// The lane that leads to a station, in words: intents come from the shards, past the scribe.
const LANES = { journal: ["arrivals", "arrivals"], shards: ["events", "events"], scribe: ["drafts", "drafts"], outbound: ["intents", "intents of the shards"] };

const LEVELS = { healthy: "good", testing: "warn", halted: "bad", degraded: "bad", stable: "good", critical: "bad", warning: "warn", info: "note" };

function level() {
  if (!board.node.ready) return ["bad", "Stopped"];
  if (haltOf("line", "")) return ["bad", "Halted"];
  const calls = ({ open, silenced }) => open > silenced;
  const counts = board.alert_counts ?? {};
  const worst = counts.critical !== undefined && calls(counts.critical);
  const failing = Object.values(board.targets).some((target) => target.breaker !== "healthy");
  const called = Object.values(counts).some(calls);
  if (worst) return ["bad", "Alert"];
  if (board.node.condition !== "healthy" || failing || called || (board.halts ?? []).length > 0) return ["warn", "Degraded"];
  return ["good", "Running"];
}

function openAlerts() {
  return Object.values(board.alert_counts ?? {}).reduce((sum, { open }) => sum + open, 0);
}

function draw() {
  at("stale").hidden = true;
  document.body.classList.remove("stale");
  const [lamp, said] = level();
  if (at("lamp").textContent !== said) at("lamp").textContent = said;
  at("lamp").dataset.level = lamp;
  at("name").textContent = board.node.name;
  document.title = `${said} · ${board.node.name} · Gemba board`;
  drawLine();
  drawHalts();
  drawAlerts();
  drawSilences();
  drawCards();
  drawAges();
}

function drawAges() {
  const { node, changed, work } = board;
  at("node").textContent = `${node.role} · ${node.version} · last change ${age(changed)} ago`;
  const checkpoint = document.getElementById("checkpoint");
  if (checkpoint && work.checkpoint) checkpoint.textContent = age(work.checkpoint);
  for (const since of document.querySelectorAll("[data-since]")) since.textContent = age(Number(since.dataset.since));
}

// Shards, scribe and outbound have no health of their own: they run as long as the node tells anything.
function station(name, beside) {
  const stage = board.stages[name] ?? { ok: true };
  const [standing, why] = haltedAt(name);
  const said = stage.ok ? [stage.reason, why].filter(Boolean).join("; ") || "running" : `stopped: ${stage.reason ?? ""}`;
  const level = !stage.ok ? "bad" : standing ?? (stage.reason ? "warn" : "good");
  return make("li", { class: beside ? "station beside" : "station", level }, make("strong", {}, name), make("span", {}, said));
}

// What operators halted shows where it holds up signals: at the shards, which decide, and at outbound, which calls targets.
function haltedAt(name) {
  const halts = board.halts ?? [];
  const line = haltOf("line", "");
  if (name === "shards" && line) return ["bad", `halted by ${line.who}: signals become dead letters`];
  const scope = { shards: "tenant", outbound: "target" }[name];
  const number = halts.filter((halt) => halt.scope === scope).length;
  return number ? ["warn", `${counted(number, scope)} halted`] : [];
}

function lane(name) {
  const [key, said] = LANES[name] ?? [];
  const edge = board.lanes[key];
  if (!edge) return null;
  const meter = make("meter", { min: "0", max: String(edge.capacity), value: String(edge.depth), high: String(edge.capacity * 0.8),
    low: String(edge.capacity * 0.5), optimum: "0", "aria-label": `${key}: ${edge.depth} of ${edge.capacity}` });
  return make("li", { class: "lane" }, make("strong", {}, `${edge.per_second === undefined ? "–" : count(edge.per_second)}/s`),
    make("span", { class: "arrow" }), meter, `${said}: ${count(edge.depth)} of ${count(edge.capacity)}`);
}

function drawLine() {
  const stations = STATIONS[board.node.role] ?? STATIONS.all;
  const beside = BESIDE.filter((name) => board.stages[name]);
  renew(at("line"), ...stations.flatMap((name) => [lane(name), station(name, false)]), ...beside.map((name) => station(name, true)));
}

const haltOf = (scope, name, halts = board.halts ?? []) => halts.find((halt) => halt.scope === scope && (halt.name ?? "") === name);
const halted = (scope, name = "") => (scope === "line" ? "the line" : `${scope} ${name}`);

// A button that halts or resumes; what it means stands in its attributes, so that it may be drawn anew.
function cord(scope, name = "", halt = haltOf(scope, name)) {
  const verb = halt ? "resume" : "halt";
  const label = `${verb === "halt" ? "Halt" : "Resume"} ${halted(scope, name)}`;
  return make("button", { type: "button", "data-scope": scope, "data-name": name, "data-verb": verb, "aria-label": label }, `${verb === "halt" ? "Halt" : "Resume"}…`);
}

function drawHalts() {
  const halts = board.halts ?? [];
  at("halt-line").hidden = !mayOrder() || board.node.role === "edge" || Boolean(haltOf("line", ""));
  at("halts").hidden = halts.length === 0;
  renew(at("halts"), ...halts.map((halt) => make("li", { class: "alert", level: "bad" },
    make("strong", {}, `Halted: ${halted(halt.scope, halt.name)}`), " for ", make("span", { "data-since": String(halt.since_ms) }, age(halt.since_ms)),
    make("p", {}, `by ${halt.who}: ${halt.reason}`), mayOrder() ? make("div", { class: "buttons" }, cord(halt.scope, halt.name)) : null)));
}

let drawnAlerts = "";

function drawAlerts() {
  const drawn = JSON.stringify([board.alerts, board.alert_counts, role]);
  if (drawn === drawnAlerts) return;
  drawnAlerts = drawn;
  at("silence").hidden = !mayOrder();
  if (board.alerts.length === 0) return fill(at("alerts"), make("li", { class: "quiet" }, "No alert is open."));
  fill(at("alerts"), ...board.alerts.map((alert) => {
    const of = !alert.tenant ? null : alert.sku ? link(`${alert.tenant}/${alert.sku}`, "governor", alert.tenant, alert.sku) : link(alert.tenant, "governors", alert.tenant);
    const told = alert.channels.map((channel) => `${channel.channel} ${words(channel.state)}`).join(", ");
    const details = [
      alert.state, alert.silenced ? "silenced" : "", alert.members > 1 ? counted(alert.members, "member") : "",
      alert.acknowledged_by ? `acknowledged by ${alert.acknowledged_by}` : "", alert.end_known ? "" : "no end is known: close it by hand",
      told ? `channels: ${told}` : "", `route ${alert.route}`, alert.receipt ? `receipt ${alert.receipt}` : "",
    ].filter(Boolean).join(" · ");
    const since = make("span", { "data-since": String(alert.since_ms) }, age(alert.since_ms));
    const item = make("li", { class: "alert", level: LEVELS[alert.severity] ?? "note" },
      make("strong", {}, `${alert.severity}: ${words(alert.kind)} ${alert.name}`), " for ", since, of && " · ", of,
      make("p", {}, alert.message), make("p", { class: "quiet" }, details));
    if (mayOrder() && !alert.acknowledged_by) {
      item.append(make("div", { class: "buttons" }, make("button", { type: "button", press: () => acknowledge(alert) }, "Acknowledge…")));
    }
    return item;
  }));
  const more = openAlerts() - board.alerts.length;
  if (more > 0) at("alerts").append(make("li", { class: "quiet" }, `${counted(more, "more alert")}, less severe or older: gemba alert list`));
}

function drawSilences() {
  const silences = board.silences ?? [];
  at("silences-part").hidden = silences.length === 0;
  renew(at("silences"), ...silences.map((silence) => make("li", { class: "alert", level: "note" },
    make("strong", {}, silence.when), ` until ${moment(silence.until_ms)}`,
    make("p", {}, `by ${silence.by}: ${silence.reason}`),
    make("p", { class: "quiet" }, `holds back ${counted(silence.alerts, "open alert")} · silence ${silence.id}`))));
}

function drawCards() {
  const { latency, governors = {}, dead_letters: dead = {}, targets, work } = board;
  const timed = Object.entries(latency);
  renew(at("latency"), timed.length === 0 ? make("p", { class: "quiet" }, "Nothing was timed in the last seconds.")
    : table("Latency", ["of", "p50", "p99", "p99.9"], timed.map(([name, value]) => [words(name), took(value.p50), took(value.p99), took(value.p999)])));
  const states = Object.entries(governors).map(([state, number]) => {
    const bad = number > 0 && (state === "halted" || state === "degraded");
    return [words(state), count(number), bad ? "bad" : null];
  });
  facts(at("governors"), states.length ? states : [["This node decides nothing.", ""]]);
  const cases = Object.entries(dead).map(([cause, number]) => [words(cause), count(number), number > 0 ? "warn" : null]);
  facts(at("dead"), cases.length ? cases : [["This node decides nothing.", ""]]);
  const aims = Object.entries(targets);
  renew(at("targets"), aims.length === 0 ? make("p", { class: "quiet" }, "No target is configured.")
    : table("Targets", ["target", "state", "waiting", ...(mayOrder() ? ["order"] : [])], aims.map(([name, target]) => [
      name, haltOf("target", name) ? marked("bad", "halted") : marked(LEVELS[target.breaker], target.breaker), count(target.waiting), ...(mayOrder() ? [cord("target", name)] : [])])));
  const rate = (number) => (number === undefined ? "–" : `${count(number)}/s`);
  facts(at("work"), [
    ["accepted", rate(work.accepted_per_second)], ["refused", rate(work.refused_per_second), work.refused_per_second > 0 ? "warn" : null],
    ["last event", count(work.durable_seq)], ["waiting signals", bytes(work.waiting_bytes)], ["disk free", bytes(work.disk_free_bytes)],
    ["checkpoint age", work.checkpoint ? make("span", { id: "checkpoint" }, age(work.checkpoint)) : "none"],
    ["restarts of the line", count(work.restarts), work.restarts > 0 ? "warn" : null], ["started", `${age(board.node.started)} ago`],
  ]);
  const parts = board.broker?.partitions ?? [];
  at("nodes").hidden = parts.length === 0;
  renew(at("partitions"), parts.length === 0 ? null : table("Partitions", ["partition", "taken by", "waiting"], parts.map((part) => [
    count(part.partition), part.owned ? "this node" : part.queue_consumers === 0 ? marked("bad", "nobody") : "a processor",
    part.queue_messages === null || part.queue_messages === undefined ? "–" : count(part.queue_messages)])));
}

// Details ------------------------------------------------------------------

const mayOrder = () => role === "operator" || role === "admin";

async function show() {
  const [where, ...parts] = location.hash.replace(/^#\/?/, "").split("/").map((part) => decodeURIComponent(part));
  const view = { governors: showGovernors, governor: showGovernor, deadletters: showDeadLetters, deadletter: showDeadLetter, story: showStory, requests: showRequests }[where];
  at("detail").hidden = !view;
  at("board").hidden = Boolean(view) || role === null;
  if (!view || role === null) return;
  fill(at("detail-body"), make("p", { class: "quiet" }, "Asking the node."));
  try {
    await view(...parts);
  } catch (error) {
    title("Not found");
    fill(at("detail-body"), make("p", { role: "alert" }, error.message));
  }
  at("detail-title").focus();
}

const title = (text) => { at("detail-title").textContent = plain(text); };
const link = (text, ...parts) => make("a", { href: `#${path(...parts)}` }, text);

async function showGovernors(tenant = "", after = "") {
  title(tenant ? `Governors of ${tenant}` : "Governors");
  const query = new URLSearchParams({ limit: String(PAGE) });
  if (tenant) query.set("tenant", tenant);
  if (after) query.set("after", after);
  // The stream may not have told of a halt that was ordered just now.
  const [{ governors, next }, { halts }] = await Promise.all([ask("GET", `/v1/governors?${query}`),
    ask("GET", "/v1/halts").catch(() => ({ halts: [] }))]);
  const holds = tenant ? haltOf("tenant", tenant, halts) : null;
  const rows = governors.map((one) => [
    link(one.tenant, "governors", one.tenant), link(one.sku, "governor", one.tenant, one.sku), marked(LEVELS[one.state] ?? "warn", words(one.state)),
    marked(LEVELS[one.breaker] ?? "good", one.breaker), count(one.mailbox_depth), count(one.quota_remaining)]);
  const cords = tenant && mayOrder() ? make("div", { class: "buttons" }, cord("tenant", tenant, holds)) : null;
  const said = holds ? make("p", { role: "alert" }, `Halted by ${holds.who}: ${holds.reason}`) : null;
  fill(at("detail-body"), said, cords, rows.length ? table("Governors", ["tenant", "SKU", "state", "breaker", "waiting", "quota left"], rows)
    : make("p", { class: "quiet" }, "There are none here."), next ? link("Next page", "governors", tenant, next) : null);
}

async function showGovernor(tenant, sku) {
  const [governor, audit] = await Promise.all([
    ask("GET", path("v1", "governors", tenant, sku)),
    ask("GET", `/v1/audit?${new URLSearchParams({ tenant, sku, limit: "10" })}`).catch(() => ({ receipts: [] }))]);
  title(`${tenant} / ${sku}`);
  const list = make("dl", { class: "facts" });
  facts(list, governorFacts(governor));
  const orders = ["halt", "resume", "entitle", "revoke", "quota"].map((verb) =>
    make("button", { type: "button", press: () => govern(tenant, sku, verb) }, `${verb[0].toUpperCase()}${verb.slice(1)}…`));
  const before = (audit.receipts ?? []).map((receipt) => [moment(receipt.timestamp), words(receipt.receipt_type),
    receipt.reason ?? "–", receipt.receipt_id]);
  fill(at("detail-body"), list, mayOrder() ? make("div", { class: "buttons" }, ...orders) : null,
    make("h3", {}, "Who ordered what, and why"),
    before.length ? table("Orders", ["time", "what", "who and why", "receipt"], before) : make("p", { class: "quiet" }, "Nobody ordered anything."),
    link(`All governors of ${tenant}`, "governors", tenant));
}

const governorFacts = (governor) => [
  ["state", words(governor.state), LEVELS[governor.state] ?? "warn"],
  ...(governor.halt ? [["halted", `${governor.halt.scope === "governor" ? "" : `with ${halted(governor.halt.scope, governor.halt.name)} `}by ${governor.halt.who}: ${governor.halt.reason}`, "bad"]] : []), ["breaker", governor.breaker, LEVELS[governor.breaker] ?? "good"],
  ["signals that wait", count(governor.mailbox_depth)], ["quota left", count(governor.quota_remaining)],
  ["action in flight", governor.in_flight_action ?? "none"], ["last event", count(governor.last_seq)]];

async function showDeadLetters(after = "") {
  title("Open dead letters");
  const query = new URLSearchParams({ status: "open", limit: String(PAGE) });
  if (after) query.set("after", after);
  const { count: all, deadletters, next } = await ask("GET", `/v1/deadletters?${query}`);
  const rows = deadletters.map((one) => [link(one.id, "deadletter", one.id), one.signal_id, words(one.cause), `${one.tenant}/${one.sku}`, one.last?.detail ?? one.detail]);
  fill(at("detail-body"), make("p", {}, all === null ? "There are more than were counted." : `${counted(all, "dead letter")} ${all === 1 ? "is" : "are"} open.`),
    rows.length ? table("Dead letters", ["case", "signal", "cause", "governor", "reason"], rows) : null, next ? link("Next page", "deadletters", next) : null);
}

async function showDeadLetter(id) {
  const one = await ask("GET", path("v1", "deadletters", id));
  title(`Dead letter ${id}`);
  const { signal, last } = one;
  const list = make("dl", { class: "facts" });
  facts(list, [
    ["status", one.status, one.status === "open" ? "warn" : "good"], ["cause", words(one.cause)], ["why", one.detail],
    ["when", moment(one.time)], ["after its last replay", last ? `${words(last.cause)}: ${last.detail}` : "–"], ["replays", count(one.replays)],
    ["governor's state then", words(one.state)], ["signal", one.signal_id], ["type", one.type], ["source", one.source], ["number", count(one.seq)],
    ["action", one.action ? `${one.action.name}, by rule ${one.action.pack}/${one.action.rule}: ${one.action.reason}` : "none failed"]]);
  const orders = ["replay", "discard"].map((verb) => make("button", { type: "button", press: () => settle(one, verb) }, `${verb[0].toUpperCase()}${verb.slice(1)}…`));
  fill(at("detail-body"), list, mayOrder() && one.status === "open" ? make("div", { class: "buttons" }, ...orders) : null,
    link(`Governor ${one.tenant} / ${one.sku}`, "governor", one.tenant, one.sku), make("h3", {}, "Signal"),
    make("pre", { tabindex: "0", role: "region", "aria-label": "Signal" }, typeof signal === "string" ? signal : JSON.stringify(signal, null, 2)));
}

async function showStory(tenant, id) {
  const story = await ask("GET", path("v1", "signals", tenant, id, "story"));
  title(`Signal ${tenant} / ${id}`);
  const list = make("dl", { class: "facts" });
  const signal = story.signal ?? {};
  facts(list, [["status", words(story.status)], ["source", story.source], ["number", count(story.seq)], ["SKU", signal.sku ?? "–"],
    ["signed with", signal.source_key ?? "–"], ["scheme", signal.scheme ?? "–"], ["assurance", signal.assurance ?? "–"], ["SHA-256", signal.sha256 ?? "–"]]);
  const bytes = story.body_bytes === null ? story.body_gone
    : story.body === null ? `${count(story.body_bytes)} bytes that are not text` : story.body + (story.body_truncated ? ` … (${count(story.body_bytes)} bytes)` : "");
  const steps = story.steps.map((step) => make("li", {},
    make("strong", {}, words(step.receipt_type)), ` · ${moment(step.time)} · ${words(step.state_before)} → ${words(step.state_after)}`,
    step.rule ? make("p", {}, `rule ${step.rule.pack}/${step.rule.rule}`) : null, step.reason ? make("p", {}, step.reason) : null,
    step.who ? make("p", {}, `ordered by ${step.who}`) : null, step.action_id ? make("p", {}, `action ${step.action_id}`) : null,
    make("p", { class: "quiet" }, `receipt ${step.receipt_id}, entry ${step.log_index} of the log`)));
  fill(at("detail-body"), list, make("ol", { class: "steps" }, ...steps), signal.sku ? link(`Governor ${tenant} / ${signal.sku}`, "governor", tenant, signal.sku) : null,
    make("h3", {}, "Signal"), make("pre", { tabindex: "0", role: "region", "aria-label": "Signal" }, bytes));
}

// Orders -------------------------------------------------------------------

let send = null; // Sends the order that the dialogue is about.

function order(name, concerns, fields, sender) {
  send = sender;
  at("order-title").textContent = name;
  fill(at("order-concerns"), ...concerns);
  fill(at("order-fields"), ...fields);
  at("order-reason").value = "";
  at("order-error").textContent = "";
  at("order-send").disabled = false;
  at("order").showModal();
  (fields.find((field) => field.tagName === "INPUT") ?? at("order-reason")).focus();
}

function concern(text, pairs) {
  const list = make("dl", { class: "facts" });
  facts(list, pairs);
  return [make("p", {}, text), list];
}

at("order-form").addEventListener("submit", async (event) => {
  event.preventDefault();
  const reason = at("order-reason").value.trim();
  if (!reason) { at("order-error").textContent = "Say why: the reason stands in the receipt."; return; }
  at("order-send").disabled = true;
  try {
    const done = await send(reason);
    if (done?.status === "waits") {
      at("order-error").textContent = `Nothing is changed yet: it waits as request ${done.request.id} until somebody else approves it.`;
      return;
    }
    at("order").close();
    await show();
  } catch (error) {
    at("order-error").textContent = error.message;
    at("order-send").disabled = false;
  }
});
at("order-cancel").addEventListener("click", () => at("order").close());

// What it concerns is asked for when it is ordered: the page may be old.
async function govern(tenant, sku, verb) {
  const governor = await ask("GET", path("v1", "governors", tenant, sku)).catch(() => null);
  const concerns = concern(`This concerns the governor ${tenant} / ${sku} as it is now:`, governor ? governorFacts(governor) : [["state", "not known yet"]]);
  const quota = [make("label", { for: "order-quota" }, "Actions left in this window"),
    make("input", { id: "order-quota", type: "number", min: "0", max: "4294967295", required: "" })];
  order(`${verb[0].toUpperCase()}${verb.slice(1)} ${tenant} / ${sku}`, concerns, verb === "quota" ? quota : [], (reason) => {
    const body = verb === "quota" ? { reason, quota_remaining: Number(at("order-quota").value) } : { reason };
    return ask("POST", path("v1", "governors", tenant, sku, verb), body);
  });
}

async function pull({ scope, name, verb }) {
  const query = scope === "line" ? "" : `?${new URLSearchParams({ [scope]: name })}`;
  const reach = await ask("GET", `/v1/halts/reach${query}`);
  const or = (number) => `${count(number)}${reach.more ? " or more" : ""}`;
  const pairs = scope === "target"
    ? [["rules that ask for it", reach.rules?.join(", ") || "none"], ["actions that are out", or(reach.in_flight + reach.deliveries)]]
    : [["governors", or(reach.governors)], ["signals that wait", or(reach.waiting)], ["actions that are out", or(reach.in_flight + reach.deliveries)]];
  if (reach.halt) pairs.push(["halted by", `${reach.halt.who}: ${reach.halt.reason}`]);
  const means = verb === "resume" ? "This goes on:" : scope === "target"
    ? "Signals that would cause such an action become dead letters until it is resumed:" : "Signals become dead letters until it is resumed:";
  const to = scope === "line" ? path("v1", "line", verb) : path("v1", `${scope}s`, name, verb);
  order(`${verb === "halt" ? "Halt" : "Resume"} ${halted(scope, name)}`, concern(means, pairs), [], (reason) => ask("POST", to, { reason }));
}

addEventListener("click", (event) => {
  const button = event.target.closest?.("[data-verb]");
  if (button) pull(button.dataset).catch((error) => { at("stale").textContent = error.message; at("stale").hidden = false; });
});

async function showRequests() {
  title("Orders that wait for a second person");
  const { requests } = await ask("GET", "/v1/requests");
  const decide = (one, verb) => make("button", { type: "button", "aria-label": `${verb} ${one.id}`, press: () => answer(one, verb) }, `${verb[0].toUpperCase()}${verb.slice(1)}…`);
  const rows = requests.map((one) => [one.id, one.command, one.request, one.concerns ?? "–", one.who, one.reason, lapses(one), stands(one),
    ...(mayOrder() ? [make("span", { class: "buttons" }, decide(one, "approve"), decide(one, "refuse"))] : [])]);
  fill(at("detail-body"), rows.length ? table("Orders that wait", ["request", "command", "what", "concerns", "who", "reason", "expires in", "state", ...(mayOrder() ? ["order"] : [])], rows)
    : make("p", { class: "quiet" }, "None waits."));
}

const lapses = (one) => `${Math.ceil(one.lapses_in_seconds / 60)} min`;
const stands = (one) => one.under_way ? "approved, under way" : one.refused ? `not carried out: ${one.refused}` : "waits";

function answer(one, verb) {
  const concerns = concern(verb === "approve" ? "This is carried out, in both names:" : "This is not carried out:", [
    ["command", one.command], ["what", one.request], ...(one.concerns ? [["concerns", one.concerns]] : []),
    ["ordered by", one.who], ["reason", one.reason], ["expires in", lapses(one)], ["state", stands(one)]]);
  order(`${verb[0].toUpperCase()}${verb.slice(1)} ${one.id}`, concerns, [], (reason) => ask("POST", path("v1", "requests", one.id, verb), { reason }));
}

async function settle(one, verb) {
  const governor = await ask("GET", path("v1", "governors", one.tenant, one.sku)).catch(() => null);
  const concerns = concern(`This concerns one signal of ${one.tenant} / ${one.sku}:`, governor ? governorFacts(governor) : [["governor", "not known here"]]);
  if (verb === "replay") {
    const trial = await ask("POST", path("v1", "deadletters", one.id, "dry-run")).catch(() => null);
    if (trial) {
      const actions = trial.actions.length ? trial.actions.join(", ") : "none";
      concerns.push(make("p", {}, `A replay would ${trial.does} it: ${words(trial.state_before)} → ${words(trial.state_after)}; actions: ${actions}.`));
    }
  }
  order(`${verb[0].toUpperCase()}${verb.slice(1)} ${one.id}`, concerns, [], (reason) => ask("POST", path("v1", "deadletters", one.id, verb), { reason }));
}

function acknowledge(alert) {
  const concerns = concern("From here on nobody else is called for this alert:", [
    ["alert", `${words(alert.kind)} ${alert.name}`], ["members", count(alert.members)], ["told", alert.channels.map((channel) => channel.channel).join(", ") || "nobody"]]);
  order("Acknowledge", concerns, [], (reason) => ask("POST", path("v1", "alerts", alert.id, "acknowledge"), { reason }));
}

at("halt-line").addEventListener("click", () => pull({ scope: "line", name: "", verb: "halt" }).catch((error) => stale(error.message)));

at("silence").addEventListener("click", () => {
  const fields = [make("label", { for: "order-when" }, "Which alerts, as CEL over alert"), make("input", { id: "order-when", required: "", spellcheck: "false", autocomplete: "off", placeholder: "alert.tenant == 'acme'" }),
    make("label", { for: "order-minutes" }, "For how many minutes"), make("input", { id: "order-minutes", type: "number", min: "1", required: "" })];
  const concerns = concern("Nobody is called for what fits, until it ends:", [["open alerts now", count(openAlerts())]]);
  order("Silence", concerns, fields, (reason) => ask("POST", "/v1/silences", { when: at("order-when").value, minutes: Number(at("order-minutes").value), reason }));
});

// The session --------------------------------------------------------------

function logIn(why = "") {
  role = null;
  listening?.abort();
  for (const id of ["board", "detail", "search", "logout", "stale"]) at(id).hidden = true;
  document.body.classList.remove("stale");
  at("lamp").textContent = "Not logged in";
  at("lamp").dataset.level = "unknown";
  at("login").hidden = false;
  at("login-error").textContent = why;
  at("token").focus();
}

function begin(session) {
  role = session.role;
  at("login").hidden = true;
  for (const id of ["search", "logout"]) at(id).hidden = false;
  at("logout").textContent = `Log out ${session.name} (${session.role})`;
  drawnAlerts = "";
  last = null;
  show();
  follow();
}

at("login-form").addEventListener("submit", async (event) => {
  event.preventDefault();
  at("login-error").textContent = "";
  try {
    const session = await ask("POST", "/board/session", { token: at("token").value.trim() });
    at("token").value = "";
    begin(session);
  } catch (error) {
    at("login-error").textContent = error.message;
  }
});

at("logout").addEventListener("click", async () => {
  await ask("DELETE", "/board/session").catch(() => null);
  logIn();
});

at("search").addEventListener("submit", (event) => {
  event.preventDefault();
  const query = at("query").value.trim();
  at("query").value = "";
  const [tenant, ...sku] = query.split("/");
  if (/^d-[0-9a-f]{16}$/.test(query)) location.hash = path("deadletter", query);
  else if (sku.length) location.hash = path("governor", tenant, sku.join("/"));
  else if (tenant) location.hash = path("governors", tenant);
});

// What was typed before is not the beginning of the next one.
at("query").addEventListener("focus", () => at("query").select());
at("search").addEventListener("focusout", (event) => {
  if (!at("search").contains(event.relatedTarget)) at("query").value = "";
});
// Not every browser gives a button that is pressed the focus; the text must still be there when it goes off.
at("search").querySelector("button").addEventListener("mousedown", (event) => event.preventDefault());

at("story").addEventListener("submit", (event) => {
  event.preventDefault();
  location.hash = path("story", at("story-tenant").value.trim(), at("story-id").value.trim());
});

// Keys and colours ---------------------------------------------------------

addEventListener("hashchange", show);
addEventListener("keydown", (event) => {
  const types = ["INPUT", "TEXTAREA", "SELECT"].includes(event.target.tagName);
  if (event.key === "/" && !types && !event.ctrlKey && !event.metaKey && !event.altKey && role !== null && !at("order").open) {
    event.preventDefault();
    at("query").focus();
  } else if (event.key === "Escape" && !at("order").open) {
    if (types) event.target.blur();
    else if (!at("detail").hidden) location.hash = "/";
  }
});

const THEMES = ["system", "light", "dark"];

function paint(theme) {
  if (theme === "system") delete document.documentElement.dataset.theme;
  else document.documentElement.dataset.theme = theme;
  at("theme").textContent = `Theme: ${theme}`;
}

let theme = THEMES.includes(localStorage.getItem("gemba-theme")) ? localStorage.getItem("gemba-theme") : "system";
paint(theme);
at("theme").addEventListener("click", () => {
  theme = THEMES[(THEMES.indexOf(theme) + 1) % THEMES.length];
  localStorage.setItem("gemba-theme", theme);
  paint(theme);
});

ask("GET", "/board/session").then(begin, () => logIn());
