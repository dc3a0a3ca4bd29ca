// The summary of a whole test, drawn when it is first opened.

const SVG = "http://www.w3.org/2000/svg";
const LINES = ["--accent", "--bar2", "--tail", "--agree", "--conflict", "--quiet"];

function shape(tag, attributes = {}, ...children) {
  const node = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
  node.append(...children);
  return node;
}

const paint = (variable) => getComputedStyle(document.documentElement).getPropertyValue(variable).trim();

function card(title, ...children) {
  return element("section", { className: "card" }, element("h3", { textContent: title }), ...children);
}

const note = (text) => element("p", { className: "quiet", textContent: text });

function table(head, rows, numbers = true) {
  const cell = (content, i, tag) => element(tag, { className: numbers && i ? "number" : "" }, content);
  const first = (content) => element("th", { scope: "row" }, content);
  return element("div", { className: "scroll" }, element("table", {},
    element("thead", {}, element("tr", {}, ...head.map((text, i) => element("th", { scope: "col", className: numbers && i ? "number" : "", textContent: text })))),
    element("tbody", {}, ...rows.map((row) => element("tr", {}, ...row.map((content, i) => (i ? cell(content, i, "td") : first(content))))))));
}

function scoresCard({ scores, intervals, baselines }) {
  const plain = Object.fromEntries(Object.entries(scores).map(([name, value]) => [name.replace(/^(test|val|train)_/, ""), value]));
  const prefix = Object.keys(scores).map((name) => name.match(/^(test|val|train)_/)).find(Boolean);
  const interval = (name) => intervals[(prefix ? prefix[0] : "") + name] || intervals[name];
  const names = Object.keys(plain).filter((name) => typeof plain[name] === "number");
  if (!names.length) return null;
  const others = Object.keys(baselines);
  const main = ["BLEU_1", "BLEU_4", "METEOR", "ROUGE_L", "CIDEr", "ce_precision", "ce_recall", "ce_f1", "ce_f1_micro", "ce_f1_macro"].filter((name) => names.includes(name));
  const row = (name) => [name, rounded(plain[name]), interval(name) ? interval(name).map(rounded).join(" \u2013 ") : "", ...others.map((other) => rounded(baselines[other][name]))];
  const head = ["score", systems()[0] || "value", "95 % interval", ...others];
  const rest = names.filter((name) => !main.includes(name));
  const more = rest.length ? [element("details", {}, element("summary", { textContent: `${rest.length} more` }), table(head, rest.map(row)))] : [];
  const box = card("Scores", table(head, main.map(row)), ...more, note(data.caption));
  box.classList.add("whole");
  return box;
}

function intervalBar(value, low, high) {
  const bar = shape("svg", { viewBox: "0 0 200 14", width: 200, height: 14, role: "img", "aria-label": rounded(value) });
  bar.append(shape("rect", { x: 0, y: 2, width: 200, height: 10, fill: "var(--unmatched-back)" }), shape("rect", { x: 0, y: 2, width: 200 * value, height: 10, fill: "var(--bar)" }));
  if (typeof low === "number" && typeof high === "number") {
    bar.append(shape("line", { x1: 200 * low, x2: 200 * high, y1: 7, y2: 7, stroke: "var(--ink)", "stroke-width": 1.5 }));
    for (const end of [low, high]) bar.append(shape("line", { x1: 200 * end, x2: 200 * end, y1: 3, y2: 11, stroke: "var(--ink)", "stroke-width": 1.5 }));
  }
  return bar;
}

function classesCard({ per_class: classes }) {
  const names = Object.keys(classes);
  if (!names.length) return null;
  names.sort((a, b) => (classes[b].support || 0) - (classes[a].support || 0));
  const rows = names.map((name) => {
    const row = classes[name];
    const third = element("span", { className: "third", textContent: row.third || "" });
    if (!row.support) return [element("span", {}, name, " ", third), "0", "-", "-", "-", "-"];
    return [element("span", {}, name, " ", third), String(row.support),
      element("span", {}, intervalBar(row.f1 || 0, row.f1_low, row.f1_high)), rounded(row.f1), rounded(row.precision), rounded(row.recall)];
  });
  const box = card("Findings in the reports", table(["condition", "studies", "F1, 95 % interval", "F1", "precision", "recall"], rows));
  const thirds = ["head", "medium", "tail"].filter((third) => names.some((name) => classes[name].third === third));
  if (thirds.length) {
    const mean = (third) => {
      const values = names.filter((name) => classes[name].third === third).map((name) => classes[name].f1 || 0);
      return values.reduce((sum, value) => sum + value, 0) / values.length;
    };
    box.append(element("h3", { textContent: "Frequent and rare" }), table(["third by training frequency", "mean F1", ""], thirds.map((third) => [third, rounded(mean(third)), intervalBar(mean(third))])));
  }
  return box;
}

function confusionCard({ confusion }) {
  if (!confusion) return null;
  const select = element("select", { "aria-label": "condition" });
  fillSelect(select, [["", "all conditions"], ...data.conditions.map((name, i) => [String(i), name])]);
  const body = element("tbody");
  const draw = () => {
    const counts = select.value === "" ? data.states.map((_, p) => data.states.map((__, l) => confusion.reduce((sum, one) => sum + one[p][l], 0))) : confusion[Number(select.value)];
    body.replaceChildren(...data.states.map((name, predicted) => element("tr", {}, element("th", { scope: "row", textContent: name }),
      ...data.states.map((_, label) => {
        const share = counts[predicted][label] / Math.max(1, counts.reduce((sum, row) => sum + row[label], 0));
        const cell = element("td", { title: `predicted ${name}, labelled ${data.states[label]}` }, String(counts[predicted][label]), element("br"), element("small", { textContent: percent(share) }));
        cell.style.background = `color-mix(in srgb, var(--bar) ${Math.round(share * 75)}%, transparent)`;
        return cell;
      }))));
  };
  select.onchange = draw;
  draw();
  const head = element("thead", {}, element("tr", {}, element("th", { scope: "col", textContent: "predicted \\ label" }), ...data.states.map((name) => element("th", { scope: "col", textContent: name }))));
  return card("Predicted states", element("p", {}, select), element("div", { className: "scroll" }, element("table", { className: "heat" }, head, body)),
    note("Studies by the state that the diagnosis head predicts and the state that the reference is labelled with; percentages of each label."));
}

function frame(width, height, label) {
  return shape("svg", { viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": label });
}

function lengthsCard({ lengths }) {
  const [W, H, left, bottom] = [460, 200, 36, 26];
  const bins = lengths.prediction.length;
  const top = Math.max(1, ...lengths.prediction, ...lengths.reference);
  const words = `Generated reports have ${(lengths.means.prediction || 0).toFixed(1)} words in the mean, references ${(lengths.means.reference || 0).toFixed(1)}.`;
  const chart = frame(W, H, `histogram of report lengths: ${words}`);
  const x = (bin) => left + (W - left - 8) * bin / bins;
  const y = (count) => (H - bottom) - (H - bottom - 10) * count / top;
  chart.append(shape("line", { class: "axis", x1: left, x2: W - 8, y1: H - bottom, y2: H - bottom }));
  for (const [name, fill, offset] of [["reference", "var(--bar2)", 0], ["prediction", "var(--bar)", 0.5]]) {
    lengths[name].forEach((count, bin) => chart.append(shape("rect", { x: x(bin + offset * 0.9 + 0.05), y: y(count), width: Math.max(0.5, (x(1) - x(0)) * 0.45), height: H - bottom - y(count), fill })));
  }
  for (let bin = 0; bin <= bins; bin += Math.max(1, Math.ceil(bins / 8))) chart.append(shape("text", { x: x(bin), y: H - 10, "text-anchor": "middle" }, String(bin * lengths.width)));
  chart.append(shape("text", { x: left - 4, y: y(top) + 4, "text-anchor": "end" }, String(top)), shape("text", { x: left - 4, y: H - bottom, "text-anchor": "end" }, "0"));
  return card("Length in words", chart, legend([["generated", "--bar"], ["reference", "--bar2"]]), note(`${words} The last bar counts all longer ones.`));
}

function legend(entries) {
  return element("ul", { className: "legend" }, ...entries.map(([text, variable]) => element("li", {}, swatch(`var(${variable})`), text)));
}

function swatch(fill, tail = false) {
  return shape("svg", { viewBox: "0 0 10 10", "aria-hidden": "true" }, tail ? shape("path", { d: "M5 0L10 10H0Z", fill }) : shape("circle", { cx: 5, cy: 5, r: 4.5, fill }));
}

function curvesCard(title, curves, names, text) {
  const known = names.filter((name) => curves[name].some((value) => value !== null));
  if (!known.length) return null;
  const [W, H, left, bottom] = [460, 220, 44, 26];
  const values = known.flatMap((name) => curves[name].filter((value) => value !== null));
  const [low, high] = [Math.min(0, ...values), Math.max(...values, 1e-6)];
  const last = curves.epoch[curves.epoch.length - 1];
  const chart = frame(W, H, `${title}: ${known.map((name) => `${name} ends at ${rounded(curves[name].filter((value) => value !== null).pop())}`).join(", ")}`);
  const x = (epoch) => left + (W - left - 12) * (last > 1 ? (epoch - 1) / (last - 1) : 0.5);
  const y = (value) => (H - bottom) - (H - bottom - 10) * (value - low) / (high - low);
  for (const share of [0, 0.5, 1]) {
    const value = low + share * (high - low);
    chart.append(shape("line", { class: "axis", x1: left, x2: W - 12, y1: y(value), y2: y(value) }), shape("text", { x: left - 5, y: y(value) + 4, "text-anchor": "end" }, value.toPrecision(2)));
  }
  for (let epoch = 1; epoch <= last; epoch += Math.ceil(last / 8)) chart.append(shape("text", { x: x(epoch), y: H - 8, "text-anchor": "middle" }, String(epoch)));
  known.forEach((name, i) => {
    const stroke = `var(${LINES[i % LINES.length]})`;
    const points = curves[name].map((value, row) => [curves.epoch[row], value]).filter(([, value]) => value !== null);
    chart.append(shape("polyline", { points: points.map(([epoch, value]) => `${x(epoch)},${y(value)}`).join(" "), fill: "none", stroke, "stroke-width": 2 }));
    for (const [epoch, value] of points) chart.append(shape("circle", { cx: x(epoch), cy: y(value), r: 2.5, fill: stroke }));
  });
  return card(title, chart, legend(known.map((name, i) => [name, LINES[i % LINES.length]])), note(text));
}

function showSummary() {
  const { summary } = data;
  const names = Object.keys(summary.curves);
  const validation = ["val_BLEU_1", "val_BLEU_4", "val_ROUGE_L", "val_ce_f1", "val_ce_f1_macro", "val_state_f1"].filter((name) => names.includes(name));
  const cards = [
    scoresCard(summary), comparisonCard(summary), classesCard(summary), confusionCard(summary), diskCard(summary), lengthsCard(summary),
    curvesCard("Losses", summary.curves, names.filter((name) => name.startsWith("loss")), "Mean of the training losses in each epoch, unweighted terms and their weighted sum."),
    curvesCard("Validation", summary.curves, validation, "Scores of the validation split after each epoch."),
  ];
  byId("summary").replaceChildren(...cards.filter(Boolean));
  for (const draw of view.draw || []) draw();
}
