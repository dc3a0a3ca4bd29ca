// What happens when: tabs, keys, filters, addresses.

function setHash(hash) {
  if (location.hash !== hash) history.replaceState(null, "", hash);
}

function openTab(name) {
  for (const tab of ["studies", "summary"]) {
    const open = tab === name;
    byId(tab).hidden = !open;
    byId(`tab-${tab}`).setAttribute("aria-selected", String(open));
    byId(`tab-${tab}`).tabIndex = open ? 0 : -1;
  }
  if (name === "summary") {
    setHash("#summary");
    if (!byId("summary").hasChildNodes()) showSummary();
  } else if (view.current) {
    setHash(addressOf(view.current));
  }
}

function followHash() {
  const hash = location.hash;
  if (hash === "#summary") return openTab("summary");
  byId("summary").hidden = true;
  byId("studies").hidden = false;
  readAddress(hash);
  listStudies();
  openTab("studies");
  if (!hash.startsWith("#study/")) return undefined;
  let id = hash.slice(7).split("?")[0];
  try {
    id = decodeURIComponent(id);
  } catch { /* an id with a bare percent sign, typed by hand */ }
  const study = data.studies.find((candidate) => candidate.id === id);
  if (study && study !== view.current) show(study);
  return undefined;
}

function cycleMap(by) {
  const select = byId("map");
  if (!select.options.length) return;
  chooseMap(select.options[(select.selectedIndex + by + select.options.length) % select.options.length].value);
}

const KEYS = {
  j: () => step(1), ArrowRight: () => step(1), k: () => step(-1), ArrowLeft: () => step(-1),
  "]": () => cycleMap(1), "[": () => cycleMap(-1),
  m: toggleMark, z: () => enlarge(), Escape: () => enlarge(false),
  i: () => {
    byId("invert").checked = !byId("invert").checked;
    byId("invert").oninput();
  },
  o: () => { byId("overlay").hidden = !byId("overlay").hidden; },
  "/": () => {
    byId("aside").open = true;
    byId("search").focus();
  },
};

function onKey(event) {
  if (event.ctrlKey || event.metaKey || event.altKey || event.target.closest("input, select, textarea")) return;
  if (event.target.closest("[role=tablist]") && event.key.startsWith("Arrow")) {
    openTab(byId("summary").hidden ? "summary" : "studies");
    document.querySelector("[role=tab][aria-selected=true]").focus();
  } else if (event.target.closest("#list") && ["ArrowDown", "ArrowUp", "Home", "End"].includes(event.key)) {
    const place = view.listed.indexOf(view.current);
    const to = { ArrowDown: place + 1, ArrowUp: place - 1, Home: 0, End: view.listed.length - 1 }[event.key];
    if (view.listed[to]) show(view.listed[to]);
    if (view.current) view.current.button.focus();
  } else if (KEYS[event.key] && (!byId("studies").hidden)) {
    KEYS[event.key]();
  } else {
    return;
  }
  event.preventDefault();
}

function start() {
  if (!data.references) {
    for (const node of document.querySelectorAll(".compared, [role=tablist]")) node.hidden = true;
  }
  const named = data.columns.map((_, column) => conditionName(column));
  fillSelect(byId("condition"), [["", "any"], ...named.map((name) => [name, thirdOf(name) === "tail" ? `${name} (tail)` : name])]);
  fillSelect(byId("kind"), [...Object.keys(KINDS), ...Object.keys(PARTICULARS)].map((name) => [name, name])
    .concat(systems().length > 1 ? [["first system wins", `${systems()[0]} wins`], ["second system wins", `${systems()[1]} wins`], ["both alike", "both alike"]] : []));
  fillSelect(byId("third"), [["", "any"], ["head", "head third"], ["medium", "medium third"], ["tail", "tail third"]]);
  byId("third-label").hidden = !named.some(thirdOf);
  const scores = [...scoreNames, ...(data.studies.some((study) => typeof study.distance === "number") ? ["retrieval distance"] : [])];
  fillSelect(byId("score"), scores.map((name) => [name, name]));
  byId("score-range").hidden = !scores.length;
  const differences = systems().length > 1 ? scoreNames.map((name) => [DIFFERENCE + name, `${DIFFERENCE}${name}`]) : [];
  fillSelect(byId("sort"), [["order", "as tested"], ["id", "study id"], ...scores.map((name) => [name, name]), ...differences]);
  if (data.score) byId("score").value = data.score;
  if (data.sort) byId("sort").value = data.sort; // of a comparison: the worst first
  rememberInitial();
  readMarks();
  startFilm();
  byId("mark").onclick = toggleMark;
  byId("export").onclick = exportMarked;
  const limited = data.total > data.studies.length ? ` ${data.limited ? "The worst" : "The first"} ${data.studies.length} of ${data.total} studies are shown; the summary counts all.` : "";
  byId("origin").textContent = `Written ${data.written}${data.commit ? `, commit ${data.commit.slice(0, 12)}` : ""}; sentences labelled by ${data.labeler}.${limited}`;
  let waiting = 0;
  byId("filters").addEventListener("input", () => {
    clearTimeout(waiting);
    waiting = setTimeout(listStudies, 80);
  });
  byId("filters").addEventListener("reset", () => setTimeout(listStudies));
  byId("filters").addEventListener("submit", (event) => event.preventDefault());
  byId("previous").onclick = () => step(-1);
  byId("next").onclick = () => step(1);
  byId("map").onchange = () => chooseMap(byId("map").value);
  byId("filters").addEventListener("reset", () => setTimeout(() => readAddress("")));
  for (const id of ["opacity", "smooth", "common"]) byId(id).oninput = drawOverlay;
  byId("tab-studies").onclick = () => openTab("studies");
  byId("tab-summary").onclick = () => openTab("summary");
  document.addEventListener("keydown", onKey);
  window.addEventListener("hashchange", followHash);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => byId("summary").hasChildNodes() && showSummary());
  window.addEventListener("resize", () => (view.draw || []).forEach((draw) => draw()));
  const narrow = matchMedia("(max-width: 45rem)");
  const fold = () => { byId("aside").open = !narrow.matches; };
  narrow.addEventListener("change", fold);
  fold();
  const asked = location.hash; // listing shows a study and writes its address
  byId("gradient").style.background = `linear-gradient(to right, ${INFERNO.map((stop) => `rgb(${stop})`)})`;
  listStudies();
  if (asked) {
    history.replaceState(null, "", asked);
    followHash();
  }
  document.documentElement.dataset.ready = performance.now().toFixed(0);
}

start();
