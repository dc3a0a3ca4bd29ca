// The film: enlarged, inverted, windowed; and the state of the page in its address.

const STATE = ["search", "condition", "kind", "third", "score", "score-low", "score-high", "sort", "descending", "marked", "map", "invert", "level", "window"];
const initial = {};

const valueOf = (node) => (node.type === "checkbox" ? (node.checked ? "1" : "") : node.value);

function rememberInitial() {
  for (const id of STATE) initial[id] = valueOf(byId(id));
}

function addressOf(study) {
  const state = new URLSearchParams();
  for (const id of STATE) {
    const value = id === "map" ? view.map : valueOf(byId(id));
    if (value !== (initial[id] ?? "")) state.set(id, value);
  }
  const where = study ? `#study/${encodeURIComponent(study.id)}` : "#studies";
  return state.size ? `${where}?${state}` : where;
}

function readAddress(hash) {
  const state = new URLSearchParams(hash.split("?")[1] || "");
  for (const id of STATE) {
    const node = byId(id);
    const value = state.get(id) ?? initial[id] ?? "";
    if (id === "map") view.map = value;
    else if (node.type === "checkbox") node.checked = value === "1";
    else node.value = value;
  }
  drawFilm();
}

function drawFilm() {
  const [level, width] = [byId("level").value / 100, byId("window").value / 100];
  const sign = byId("invert").checked ? -1 : 1;
  for (const channel of document.querySelectorAll("#windowing feComponentTransfer > *")) {
    channel.setAttribute("slope", String(sign / width));
    channel.setAttribute("intercept", String(0.5 - sign * level / width));
  }
  const plain = sign === 1 && level === 0.5 && width === 1;
  byId("image").style.filter = plain ? "" : "url(#windowing)";
}

function enlarge(on = !byId("frame").classList.contains("large")) {
  byId("frame").classList.toggle("large", on);
  byId("enlarge").setAttribute("aria-pressed", String(on));
}

function startFilm() {
  for (const id of ["invert", "level", "window"]) {
    byId(id).oninput = () => {
      drawFilm();
      setHash(addressOf(view.current));
    };
  }
  byId("frame").onclick = () => enlarge();
  byId("enlarge").onclick = () => enlarge();
}
