"use strict";
// What comes from a report enters the page as text nodes, never as markup.

const data = JSON.parse(document.getElementById("data").textContent);
const POSITIVE = 1;
const STATE_SIGNS = ["\u00b7", "+", "\u2212", "?"];
const VERDICTS = ["none", "unmatched", "agree", "only", "conflict", "side", "grade", "device"];
const VERDICT_SIGNS = ["", "\u2212", "\u2713", "!", "\u2717", "\u2260 side", "\u2260 grade", "\u2260 device"];
const VERDICT_WORDS = ["", "a denial only here", "both say so", "only here", "they contradict",
  "both name it, the side differs", "both name it, the grade differs", "both name it, the device differs"];
const INFERNO = [[0, 0, 4], [40, 11, 84], [101, 21, 110], [159, 42, 99], [212, 72, 66], [245, 125, 21], [250, 193, 39], [252, 255, 164]];
const PARTICULARS = !data.references ? {} : { "side differs": 5, "grade differs": 6, "device differs": 7 };
const KINDS = !data.references ? { "all studies": null, "positive in the generated": (said) => said === POSITIVE } : {
  "all studies": null,
  "false positives": (said, truth) => said === POSITIVE && truth !== POSITIVE && truth !== undefined,
  "false negatives": (said, truth) => said !== POSITIVE && truth === POSITIVE,
  "true positives": (said, truth) => said === POSITIVE && truth === POSITIVE,
  "positive in the reference": (said, truth) => truth === POSITIVE,
  "positive in the generated": (said) => said === POSITIVE,
  "any difference of states": (said, truth) => said !== truth && truth !== undefined,
};

const byId = (id) => document.getElementById(id);

function element(tag, properties = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (name in node) node[name] = value;
    else node.setAttribute(name, value);
  }
  node.append(...children);
  return node;
}

function fillSelect(select, pairs) {
  select.replaceChildren(...pairs.map(([value, text]) => element("option", { value, textContent: text })));
}

const percent = (value) => `${Math.round(value * 100)} %`;
const rounded = (value) => (value === null || value === undefined ? "n/a" : value.toFixed(3));
const thirdOf = (condition) => (data.summary.per_class[condition] || {}).third || "";
const truthOf = (study) => study.truth || []; // a study without a reference has none
const conditionName = (column) => data.conditions[data.columns[column]];

// Which studies are listed

const scoreNames = [...new Set(data.studies.flatMap((study) => Object.keys(study.scores)))]
  .filter((name) => data.studies.some((study) => typeof study.scores[name] === "number"));
const scoreOf = (study, name) => (name === "retrieval distance" ? study.distance : name.startsWith(DIFFERENCE) ? difference(study, name.slice(DIFFERENCE.length)) : study.scores[name]);
const view = { listed: [], current: null, map: "" };

function searchText(study) {
  if (!study.text) {
    const sentences = [...study.generated, ...study.reference].map((sentence) => sentence[0]);
    sentences.push(...(study.others || []).flatMap((other) => other.generated.map((sentence) => sentence[0])));
    study.text = [study.id, study.retrieved || "", ...sentences, ...study.sentences].join("\n").toLowerCase();
  }
  return study.text;
}

function fits(study, wanted) {
  if (wanted.marked && !marked.has(study.id)) return false;
  if (wanted.outcome && outcome(study, wanted.score) !== wanted.outcome) return false;
  if (wanted.search && !searchText(study).includes(wanted.search)) return false;
  if (wanted.low !== null || wanted.high !== null) {
    const score = scoreOf(study, wanted.score);
    if (typeof score !== "number") return false;
    if (wanted.low !== null && score < wanted.low) return false;
    if (wanted.high !== null && score > wanted.high) return false;
  }
  if (wanted.particular) {
    const differs = ([, , findings]) => findings.some(([column, , verdict]) => verdict === wanted.particular && wanted.columns.includes(column));
    return [...study.generated, ...study.reference, ...(study.others || []).flatMap((other) => other.generated)].some(differs);
  }
  if (!wanted.test) return true;
  return wanted.columns.some((column) => [study, ...(study.others || [])].some((system) => wanted.test(system.said[column], truthOf(study)[column])));
}

function readFilters() {
  const condition = byId("condition").value;
  const third = byId("third").value;
  const number = (id) => (byId(id).value.trim() === "" ? null : Number(byId(id).value));
  const columns = data.columns.map((_, column) => column).filter((column) => {
    const name = conditionName(column);
    if (condition) return name === condition && (!third || thirdOf(name) === third);
    return name !== "no finding" && (!third || thirdOf(name) === third);
  });
  let test = KINDS[byId("kind").value];
  if (!test && (condition || third)) test = (said, truth) => said === POSITIVE || truth === POSITIVE;
  const particular = PARTICULARS[byId("kind").value];
  return { particular, outcome: OUTCOMES[byId("kind").value], marked: byId("marked").checked, search: byId("search").value.trim().toLowerCase(), columns, test, score: byId("score").value, low: number("score-low"), high: number("score-high") };
}

function sorted(studies) {
  const key = byId("sort").value;
  const sign = byId("descending").checked ? -1 : 1;
  if (key === "order") return sign === 1 ? studies : studies.reverse();
  if (key === "id") return studies.sort((a, b) => sign * a.id.localeCompare(b.id, "en", { numeric: true }));
  const known = (study) => typeof scoreOf(study, key) === "number";
  return studies.sort((a, b) => known(b) - known(a) || (known(a) ? sign * (scoreOf(a, key) - scoreOf(b, key)) : 0));
}

function differences(study) {
  if (!study.truth) return study.said.map((said, column) => (said === POSITIVE ? conditionName(column) : "")).filter(Boolean).join(", ");
  const count = (test) => study.said.filter((said, column) => conditionName(column) !== "no finding" && test(said, study.truth[column])).length;
  return `${count(KINDS["true positives"])} right, ${count(KINDS["false positives"])} extra, ${count(KINDS["false negatives"])} missed`;
}

function listStudies() {
  const wanted = readFilters();
  view.listed = sorted(data.studies.filter((study) => fits(study, wanted)));
  byId("count").textContent = `${view.listed.length} of ${data.studies.length} studies`;
  byId("list").replaceChildren(...view.listed.map((study) => {
    const key = byId("sort").value;
    const value = typeof scoreOf(study, key) === "number" ? `${key} ${rounded(scoreOf(study, key))}; ` : "";
    study.button = element("button", { type: "button", tabIndex: -1, onclick: () => show(study) },
      element("span", { className: "star", textContent: marked.has(study.id) ? "\u2605 " : "" }), element("bdi", { textContent: study.id }),
      element("small", { textContent: value + differences(study) }), ...outcomeLine(study, wanted.score));
    return element("li", {}, study.button);
  }));
  byId("nothing").hidden = view.listed.length > 0;
  byId("shown").hidden = view.listed.length === 0;
  if (view.listed.length) show(view.listed.includes(view.current) ? view.current : view.listed[0]);
  else setHash(addressOf(view.current));
}

// One study

function markedReport(node, sentences, whose) {
  node.classList.toggle("long", sentences.some((sentence) => sentence[0].length > 2000));
  if (!sentences.length) return node.replaceChildren(element("span", { className: "quiet", textContent: "(empty)" }));
  node.replaceChildren(...sentences.flatMap(([text, mark, findings]) => {
    const tags = findings.map(([column, state, verdict]) => element("span", {
      className: `tag ${VERDICTS[verdict]}`,
      textContent: `${VERDICT_SIGNS[verdict]} ${conditionName(column)} ${STATE_SIGNS[state]}`,
      title: `${conditionName(column)}: ${data.states[state]} in the ${whose} report${VERDICT_WORDS[verdict] && `; ${VERDICT_WORDS[verdict]}`}`,
    }));
    return [element("bdi", { className: VERDICTS[mark], dir: "auto", textContent: text.replace(/ ([.!?])$/, "\u00a0$1") }), ...tags, " "];
  }));
}

function findingRows(study) {
  return data.conditions.map((name, index) => {
    const column = data.columns.indexOf(index);
    const said = column < 0 ? null : study.said[column];
    const truth = truthOf(study)[column] ?? null;
    const state = study.states ? study.states[index] : null;
    const others = (study.others || []).map((other) => (column < 0 ? null : other.said[column]));
    if (!said && !truth && !state && !others.some(Boolean)) return null;
    const sign = (value) => (value === null ? "" : `${STATE_SIGNS[value]} ${data.states[value]}`);
    const tagged = (value) => {
      const verdict = study.truth && (value === POSITIVE || truth === POSITIVE) ? (value === truth ? 2 : 4) : 0;
      return element("td", {}, element("span", { className: verdict ? `tag ${VERDICTS[verdict]}` : "", textContent: sign(value) }));
    };
    const probability = study.probability ? study.probability[index] : null;
    return element("tr", {},
      element("th", { scope: "row" }, name, " ", element("span", { className: "third", textContent: thirdOf(name) === "tail" ? "tail" : "" })),
      ...[said, ...others].map(tagged),
      ...(data.references ? [element("td", { textContent: sign(truth) })] : []),
      element("td", { className: "state", textContent: sign(state) }),
      element("td", { className: "state" }, ...(probability === null ? [] : [element("meter", { min: 0, max: 1, value: probability, "aria-label": `probability of ${name}` }), ` ${probability.toFixed(2)}`])));
  }).filter(Boolean);
}

function show(study) {
  if (view.current && view.current.button) {
    view.current.button.removeAttribute("aria-current");
    view.current.button.tabIndex = -1; // the list is one tab stop, at the study that is shown
  }
  view.current = study;
  if (study.button) {
    study.button.setAttribute("aria-current", "true");
    study.button.tabIndex = 0;
    study.button.scrollIntoView({ block: "nearest" });
  }
  const place = view.listed.indexOf(study);
  byId("previous").disabled = place <= 0;
  byId("next").disabled = place < 0 || place >= view.listed.length - 1;
  byId("study-id").replaceChildren(element("bdi", { textContent: study.id }));
  byId("live").textContent = `study ${study.id}, ${place + 1} of ${view.listed.length}: ${differences(study)}`;
  showMark();
  showOthers(study);
  document.querySelector("figure").hidden = !study.image;
  if (study.image) byId("image").src = study.image;
  else byId("image").removeAttribute("src");
  byId("image").alt = `chest X-ray of study ${study.id}`;
  markedReport(byId("generated"), study.generated, "generated");
  const beware = [study.unlike && "This film is unlike the training images: its report means little.", !data.references && data.caption];
  byId("beware").textContent = beware.filter(Boolean).join(" ");
  byId("beware").hidden = !byId("beware").textContent;
  markedReport(byId("reference"), study.reference, "reference");
  byId("retrieved-title").hidden = study.retrieved === undefined;
  const distance = typeof study.distance === "number" ? `, distance ${rounded(study.distance)}` : "";
  byId("retrieved-id").replaceChildren((study.retrieved ?? null) === null ? "nothing" : element("bdi", { textContent: `${study.retrieved}${distance}` }));
  byId("findings").tBodies[0].replaceChildren(...findingRows(study));
  for (const cell of document.querySelectorAll("#findings .state")) cell.hidden = !study.states;  // a file of reports has none
  const scores = Object.entries(study.scores).filter(([, value]) => typeof value === "number");
  byId("scores").textContent = scores.map(([name, value]) => `${name} ${rounded(value)}`).join(" \u00b7 ");
  fillMaps(study);
  setHash(addressOf(study));
}

function step(by) {
  const place = view.listed.indexOf(view.current) + by;
  if (view.listed[place]) show(view.listed[place]);
}

// Overlay

function fillMaps(study) {
  const select = byId("map");
  const entities = study.maps ? study.maps.entities : [];
  const withMap = study.maps ? study.maps.ranges.length - entities.length : 0;
  const option = (value, text) => element("option", { value, textContent: text });
  const groups = [option("", "none")];
  if (entities.length) {
    groups.push(element("optgroup", { label: "entities, strongest first" }, ...entities.map((entity, i) =>
      option(`entity ${entity}`, `${data.entities[entity]} (${study.maps.strengths[i].toFixed(2)})`))));
  }
  if (withMap) {
    groups.push(element("optgroup", { label: "retrieved sentences" }, ...study.sentences.slice(0, withMap).map((sentence, i) =>
      option(`sentence ${i}`, `${i + 1}. ${sentence.slice(0, 80)}`))));
  }
  select.replaceChildren(...groups);
  // The same choice again where this study has it, "none" included; else its strongest entity. Nothing at first.
  select.value = view.map;
  if (select.selectedIndex < 0) select.selectedIndex = entities.length ? 1 : 0;
  byId("map-controls").hidden = !study.maps;
  byId("retrieved").replaceChildren(...study.sentences.map((sentence, i) => element("li", {}, i < withMap
    ? element("button", { type: "button", dir: "auto", textContent: sentence, title: "show where this sentence looks",
      onclick: () => chooseMap(select.value === `sentence ${i}` ? "" : `sentence ${i}`) })
    : element("bdi", { dir: "auto", textContent: sentence }))));
  drawOverlay();
}

function chooseMap(value) {
  byId("map").value = view.map = value;
  drawOverlay();
  setHash(addressOf(view.current));
}

function colour(level) {
  const at = level * (INFERNO.length - 1);
  const low = INFERNO[Math.floor(at)];
  const high = INFERNO[Math.min(Math.floor(at) + 1, INFERNO.length - 1)];
  return low.map((channel, i) => Math.round(channel + (high[i] - channel) * (at % 1)));
}

function drawOverlay() {
  const study = view.current;
  const canvas = byId("overlay");
  const [kind, number] = byId("map").value.split(" ");
  [...byId("retrieved").querySelectorAll("button")].forEach((button, i) =>
    button.setAttribute("aria-pressed", String(kind === "sentence" && Number(number) === i)));
  byId("scale").hidden = byId("scale-note").hidden = !kind;
  canvas.hidden = !kind;
  if (!kind) return;
  const row = kind === "entity" ? study.maps.entities.indexOf(Number(number)) : study.maps.entities.length + Number(number);
  const { ranges } = study.maps;
  const levels = Uint8Array.from(atob(study.maps.levels), (character) => character.charCodeAt(0));
  const patches = levels.length / ranges.length;
  const side = Math.round(Math.sqrt(patches));
  let [low, high] = ranges[row];
  const score = (patch) => low + (high - low) * levels[row * patches + patch] / 255;
  const values = Array.from({ length: patches }, (_, patch) => score(patch));
  const mean = values.reduce((sum, value) => sum + value, 0) / patches; // what a map that points nowhere is everywhere
  low = mean;
  if (byId("common").checked) high = Math.max(...ranges.map((range) => range[1]));
  const cells = element("canvas", { width: side, height: side });
  const pixels = new ImageData(side, side);
  values.forEach((value, patch) => {
    const level = Math.min(1, Math.max(0, (value - low) / Math.max(high - low, 1e-9)));
    pixels.data.set([...colour(level), Math.round(255 * Math.min(1, 2 * level))], 4 * patch);
  });
  cells.getContext("2d").putImageData(pixels, 0, 0);
  canvas.width = canvas.height = 384;
  const context = canvas.getContext("2d"); // setting the size has cleared it
  context.imageSmoothingEnabled = byId("smooth").checked;
  context.imageSmoothingQuality = "high";
  context.drawImage(cells, 0, 0, canvas.width, canvas.height);
  canvas.style.opacity = byId("opacity").value / 100;
  canvas.setAttribute("aria-label", `overlay: ${byId("map").selectedOptions[0].textContent}`);
  byId("scale-low").textContent = low.toFixed(2);
  byId("scale-high").textContent = high.toFixed(2);
}
