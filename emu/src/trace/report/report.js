// Draws the figures of the report from the data beside it: one run, or two beside each other.
"use strict";
const runs = JSON.parse(document.getElementById("data").textContent);
const W = runs.length > 1 ? 600 : 1200;
if (!document.getElementById("comparison").textContent) document.getElementById("comparison").remove();
if (runs.length > 1) document.body.className = "two";
const COLOURS = {
  "zeroed": "#4c8dd6", "filled": "#7b61c9", "joined": "#2aa198", "copied": "#e08a1e",
  "made writable": "#b8a21a", "remapped": "#8d99a6", "spurious": "#b0b7bf", "refused": "#f0a3a3",
  "killed": "#c0392b", "unresolved": "#d9648f", "never returned": "#555e68",
};
const colour = (name) => COLOURS[name] || "#888";
const PALETTE = ["#4c8dd6", "#e08a1e", "#1d8a4e", "#c0392b", "#7b61c9", "#2aa198", "#b8a21a",
  "#d9648f", "#5b6b7c", "#8c564b", "#17a2b8", "#6c9a1f"];
const KERNEL = "#1d2530";
const esc = (text) => String(text).replace(/[&<>"]/g, (c) => ({ "&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;" })[c]);
const number = (n) => Math.round(n).toLocaleString("en");
const time = (us) => us < 1000 ? us.toFixed(0) + " µs" : us < 1e6 ? (us / 1e3).toFixed(1) + " ms" : (us / 1e6).toFixed(3) + " s";
const count = (n) => n < 1e4 ? number(n) : n < 1e7 ? number(n / 1e3) + " k" : number(n / 1e6) + " M";
function svg(height, inside) {
  return `<svg viewBox="0 0 ${W} ${height}" role="img">${inside}</svg>`;
}
function ticks(most) {
  const step = Math.pow(10, Math.floor(Math.log10(most / 4 || 1)));
  const s = [1, 2, 5, 10].map((m) => m * step).find((v) => most / v <= 6) || step;
  const list = [];
  for (let v = 0; v <= most; v += s) list.push(v);
  return list;
}
function legend(entries) {
  return '<div class="legend">' + entries.map(([name, c]) => `<span><i style="background:${c}"></i>${esc(name)}</span>`).join("") + "</div>";
}

function draw(root, data) {
  const $ = (name) => root.querySelector(`[data-figure="${name}"]`);
  const end = Math.max(data.totals.insns, 1);
  const x = (t) => 60 + Math.min(t, end) / end * (W - 75);
  const processName = (key) => {
    const p = data.processes[key];
    return p ? p.name + (key > 0 ? " (" + key + ")" : "") : key > 0 ? "process " + key : "kernel";
  };
  // The kernel has no number, and several address spaces; nobody else has its colour.
  const isKernel = (key) => key < 0 && !data.processes[key];
  const processColour = (key) => isKernel(key) ? KERNEL : PALETTE[Math.abs(key) % PALETTE.length];

  function timeAxis(height) {
    return ticks(end).map((t) => `<line x1="${x(t)}" x2="${x(t)}" y1="8" y2="${height - 18}" stroke="#eef1f4"/>` +
      `<text x="${x(t)}" y="${height - 4}" text-anchor="middle">${count(t)}</text>`).join("");
  }
  function nothing(id, text) { $(id).innerHTML = `<p>${text}</p>`; }

  function totals() {
    const t = data.totals;
    const share = t.insns ? (100 * t.fault_insns / t.insns).toFixed(2) : "0";
    const others = t.faults < t.fault_traps ? ` They are those that the filter lets pass: ${number(t.fault_traps)} traps were page faults.` : "";
    root.querySelector(".totals").textContent = `${runs.length > 1 ? "AB"[runs.indexOf(data)] + ": " : ""}${t.kernel}, ${t.harts} hart${t.harts === 1 ? "" : "s"}, ${time(t.us)} of virtual time, ` +
      `${number(t.insns)} instructions, by which the axes below count. ${number(t.faults)} page faults took ${number(t.fault_insns)} of them (${share} %).${others}`;
    if (data.findings.length) {
      const found = root.querySelector(".findings");
      found.hidden = false;
      found.querySelector("ul").innerHTML = data.findings.map((f) => `<li>${esc(f)}</li>`).join("");
    }
  }

  function freePages() {
    if (!data.free.length) return nothing("free", "No frame was seen to be allocated or freed: the trace has no frame events.");
    const H = 240, low = Math.min(...data.free.map((p) => p[1][0])), high = Math.max(...data.free.map((p) => p[1][1]));
    const span = Math.max(high - low, 1), y = (v) => 12 + (high - v) / span * (H - 45);
    let path = "";
    for (const [t, [least, most, last]] of data.free) {
      const at = x(t).toFixed(1);
      path += path ? `H${at}` : `M${x(0)} ${y(most).toFixed(1)}H${at}`;
      path += `V${y(most).toFixed(1)}V${y(least).toFixed(1)}V${y(last).toFixed(1)}`;
    }
    path += `H${x(end)}`;
    // Of marks that would cover each other the first is enough.
    const seen = new Set(), marks = data.marks.map((m) => {
      const kind = m.text.split(" ")[0], row = ["fork", "exec", "exit"].indexOf(kind), c = ["#2a6fdb", "#1d8a4e", "#c0392b"][row] || "#999";
      const here = row + " " + Math.round(x(m.t));
      if (seen.has(here)) return "";
      seen.add(here);
      return `<line x1="${x(m.t)}" x2="${x(m.t)}" y1="${H - 30 + 5 * row}" y2="${H - 26 + 5 * row}" stroke="${c}"><title>${esc(m.text)} (pid ${m.pid}) at ${count(m.t)}</title></line>`;
    }).join("");
    const labels = [high, Math.round((high + low) / 2), low].map((v) => `<text x="55" y="${y(v) + 4}" text-anchor="end">${number(v)}</text>`).join("");
    $("free").innerHTML = svg(H, timeAxis(H) + labels + `<path d="${path}" fill="none" stroke="#1d2530" stroke-width="1.2"/>` + marks);
  }

  function outcomes() {
    if (!data.counts.length) return nothing("outcomes", "No page fault.");
    const H = 200, BINS = 150, bins = Array.from({ length: BINS }, () => new Array(data.outcomes.length).fill(0));
    for (const [t, counts] of data.counts) {
      const bin = bins[Math.min(BINS - 1, Math.floor((t - 1) / end * BINS))];
      for (const o in counts) bin[o] += counts[o];
    }
    const most = Math.max(...bins.map((b) => b.reduce((a, c) => a + c, 0)), 1), width = (W - 75) / BINS;
    let bars = "";
    bins.forEach((bin, i) => {
      let base = H - 20;
      bin.forEach((n, o) => {
        if (!n) return;
        const h = Math.max(n / most * (H - 34), 1);
        base -= h;
        bars += `<rect x="${60 + i * width}" y="${base}" width="${Math.max(width - 0.6, 0.6)}" height="${h}" fill="${colour(data.outcomes[o])}"><title>${n} ${data.outcomes[o]}</title></rect>`;
      });
    });
    $("outcomes").innerHTML = legend(data.outcomes.map((o) => [o, colour(o)])) +
      svg(H, timeAxis(H) + `<text x="55" y="18" text-anchor="end">${most}</text><text x="55" y="${H - 20}" text-anchor="end">0</text>` + bars);
  }

  function pages() {
    const select = root.querySelector("select"), keys = [...new Set(data.faults.map((f) => f[2]))].sort((a, b) => a - b);
    select.parentNode.hidden = !keys.length;
    if (!keys.length) return nothing("pages", "No page fault.");
    select.innerHTML = '<option value="">all</option>' + keys.map((k) => `<option value="${k}">${esc(processName(k))}</option>`).join("");
    const draw = () => {
      const only = select.value === "" ? null : Number(select.value);
      const shown = data.faults.filter((f) => only === null || f[2] === only);
      const numbers = [...new Set(shown.map((f) => f[1]))].sort((a, b) => a - b);
      const rank = new Map(numbers.map((n, i) => [n, i])), H = 320, rows = Math.max(numbers.length - 1, 1);
      const y = (n) => H - 26 - rank.get(n) / rows * (H - 40);
      const r = shown.length > 5000 ? 1 : 2;
    let labels = "", above = H + 99;
    numbers.forEach((n, i) => {
      const gap = i === 0 || i === numbers.length - 1 || numbers[i - 1] !== n - 1 || above - y(n) > 60;
      if (gap && above - y(n) > 13) { labels += `<text x="55" y="${y(n) + 4}" text-anchor="end">${(n * 4096).toString(16)}</text>`; above = y(n); }
    });
      $("pages").innerHTML = svg(H, timeAxis(H) + labels) + "";
      // Many dots: a canvas over the axes.
      const canvas = document.createElement("canvas");
      canvas.width = W * 2; canvas.height = H * 2;
      const pen = canvas.getContext("2d");
      pen.scale(2, 2);
      for (const [t, n, , o] of shown) { pen.fillStyle = colour(data.outcomes[o]); pen.fillRect(x(t) - r, y(n) - r, 2 * r, 2 * r); }
      const box = $("pages"); box.style.position = "relative";
      canvas.style.cssText = "position:absolute;left:6px;top:6px;width:calc(100% - 12px)";
      box.append(canvas);
    };
    select.onchange = draw;
    draw();
  }

  function frames() {
    if (!data.frames.length) return nothing("frames", "No frame was seen to be allocated or freed: the trace has no frame events.");
    let first = Infinity, last = 0;
    for (const [, changes] of data.frames) {
      for (let i = 0; i < changes.length; i += 2) { first = Math.min(first, changes[i]); last = Math.max(last, changes[i]); }
    }
    const frameCount = last - first + 1, COLUMNS = frameCount > 8192 ? 256 : 128, cell = W / COLUMNS;
    const rows = Math.ceil(frameCount / COLUMNS), H = Math.max(rows * cell, 20), SCALE = 2;
    $("frames").innerHTML = `<canvas width="${W * SCALE}" height="${H * SCALE}"></canvas><input type="range" min="0" max="${data.frames.length - 1}"><div class="legend"></div>`;
    const pen = $("frames").querySelector("canvas").getContext("2d"), slider = $("frames").querySelector("input");
    pen.scale(SCALE, SCALE);
    const draw = () => {
      const shown = Number(slider.value), owner = new Map();
      for (const [, changes] of data.frames.slice(0, shown + 1)) {
        for (let i = 0; i < changes.length; i += 2) {
          if (changes[i + 1] === 0) owner.delete(changes[i]); else owner.set(changes[i], changes[i + 1]);
        }
      }
      pen.fillStyle = "#eef1f4"; pen.fillRect(0, 0, W, H);
      const users = new Map();
      for (const [n, who] of owner) {
        const i = n - first;
        pen.fillStyle = processColour(who);
        pen.fillRect(i % COLUMNS * cell, Math.floor(i / COLUMNS) * cell, cell - 0.5, cell - 0.5);
        const user = isKernel(who) ? -1 : who;
        users.set(user, (users.get(user) || 0) + 1);
      }
      const top = [...users].sort((a, b) => b[1] - a[1]).slice(0, 12);
      $("frames").querySelector(".legend").outerHTML = legend([[`after ${count(Math.min(data.frames[shown][0], end))} instructions: ${number(owner.size)} frames in use, from address ${(first * 4096).toString(16)} on`, "transparent"],
        ...top.map(([who, n]) => [`${processName(who)}: ${number(n)}`, processColour(who)])]);
    };
    const fewest = data.free.reduce((a, p) => p[1][0] < a[1][0] ? p : a, data.free[0])[0];
    slider.value = Math.max(0, data.frames.findIndex((f) => f[0] >= fewest));
    slider.oninput = draw;
    draw();
  }

  function tree() {
    const children = new Map(), all = Object.entries(data.processes).map(([k, p]) => [Number(k), p]);
    for (const [key, p] of all) {
      const parent = p.parent !== null && data.processes[p.parent] ? p.parent : null;
      children.set(parent, [...(children.get(parent) || []), key]);
    }
    if (!all.length) return nothing("tree", "No process was seen.");
    const KINDS = [["zeroed", "zeroed or filled", "zeroed"], ["joined", "joined", "joined"], ["copied", "copied", "copied"], ["kept", "kept by the last user", "made writable"]];
    const most = Math.max(1, ...all.map(([, p]) => p.zeroed + p.joined + p.copied + p.kept));
    let rows = "", shown = 0;
    // Processes with the same number are alike, and so are their children.
    const FIELDS = ["name", "status", "faults", "zeroed", "copied", "kept", "joined", "killed"], numbers = new Map(), kinds = new Map();
    const kind = (key, depth) => {
      if (kinds.has(key)) return kinds.get(key);
      const below = depth > 64 ? [key] : (children.get(key) || []).map((child) => kind(child, depth + 1));
      const text = JSON.stringify([FIELDS.map((field) => data.processes[key][field]), below]);
      if (!numbers.has(text)) numbers.set(text, numbers.size);
      kinds.set(key, numbers.get(text));
      return numbers.get(text);
    };
    const visit = (key, depth, group, inEach) => {
      if (shown++ > 400) return;
      const p = data.processes[key];
      const bar = KINDS.map(([field, , c]) => `<i style="width:${100 * p[field] / most}%;background:${colour(c)}" title="${p[field]} ${field}"></i>`).join("");
      const several = group.length > 1, last = group[group.length - 1];
      const name = inEach ? `${several ? group.length + " × " : ""}${p.name} of each` : several ? `${group.length} × ${p.name} (${key} to ${last})` : processName(key);
      const each = several || inEach ? " each" : "";
      const fate = p.killed ? `<b class="exit">killed by a fault</b>` : p.status !== null ? `exit ${p.status}` : "";
      rows += `<div class="row"><span style="padding-left:${Math.min(depth, 12) * 14}px">${esc(name)}</span><span class="bar">${bar}</span><span>${number(p.faults)} fault${p.faults === 1 ? "" : "s"}, ${number(p.copied)} copied${each}${fate && ", " + fate}</span></div>`;
      family(children.get(key) || [], depth + 1, several || inEach);
    };
    // Brothers that are alike take one row, and the children of one stand for those of the others.
    const family = (keys, depth, inEach) => {
      for (let i = 0; i < keys.length;) {
        let j = i + 1;
        while (j < keys.length && kind(keys[i], depth) === kind(keys[j], depth)) j++;
        visit(keys[i], depth, keys.slice(i, j), inEach);
        i = j;
      }
    };
    family(children.get(null) || [], 0, false);
    const more = shown > 400 ? `<p>There were more; ${number(all.length)} processes in all.</p>` : "";
    $("tree").innerHTML = legend(KINDS.map(([, name, c]) => [name, colour(c)])) + rows + more;
  }

  function bars(id, entries, empty) {
    if (!entries.length) return nothing(id, empty);
    const H = 30 + entries.length * 22, most = Math.max(...entries.map((e) => e[1])), total = entries.reduce((a, e) => a + e[1], 0);
    const BAR = 600, LABEL = 190;
    $(id).innerHTML = `<svg viewBox="0 0 ${BAR} ${H}" role="img">` + entries.map(([name, n, c], i) => {
      const y = 10 + i * 22, width = n / most * (BAR - 200 - LABEL);
      return `<text x="${LABEL - 8}" y="${y + 13}" text-anchor="end" style="font-size:12px">${esc(name)}</text><rect x="${LABEL}" y="${y}" width="${Math.max(width, 1)}" height="17" fill="${c}"/>` +
        `<text x="${LABEL + 6 + width}" y="${y + 13}" style="font-size:12px">${number(n)} (${(100 * n / total).toFixed(1)} %)</text>`;
    }).join("") + "</svg>";
  }

  function sites() {
    if (!data.sites.length) root.querySelector("table").outerHTML = "<p>No page fault.</p>";
    else root.querySelector("tbody").innerHTML = data.sites.map((s) =>
      `<tr><td class="n">${number(s.faults)}<td class="n">${number(s.insns)}<td>${esc(s.function)}<td>${esc(s.place)}<td class="code">${esc(s.code)}</tr>`).join("");
  }

  totals();
  freePages();
  outcomes();
  pages();
  frames();
  tree();
  bars("costs", Object.entries(data.costs).map(([p, n]) => [`${number(2 ** p)} – ${number(2 ** (Number(p) + 1) - 1)}`, n, "#e08a1e"]), "No fault returned.");
  bars("misses", Object.entries(data.misses).map(([cause, n]) => [cause.replace("_", " "), n, "#4c8dd6"]), "The TLB was not traced (--trace=tlb).");
  bars("tlbs", data.tlbs.map((t) => [t.config, t.insts + t.data, "#7b61c9"]), "No TLB was modelled (--tlb 64x4).");
  sites();
}

for (const data of runs) {
  const root = document.getElementById("run").content.firstElementChild.cloneNode(true);
  document.getElementById("runs").append(root);
  draw(root, data);
}
