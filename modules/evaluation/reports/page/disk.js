// The learned ball in two dimensions.

const NO_CONDITION = -1;
const PALETTE = ["#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#8c564b"]; // seven that can be told apart, and grey
const OTHERS = -2;

function rarestFirst(points) {
  const counts = data.conditions.map((_, i) => points.filter((bits) => bits & (1 << i)).length);
  return { counts, order: data.conditions.map((_, i) => i).filter((i) => counts[i] && data.conditions[i] !== "no finding").sort((a, b) => counts[a] - counts[b]) };
}

function diskCard({ disk }) {
  if (!disk) return null;
  const { counts, order } = rarestFirst(disk.conditions);
  const rarest = disk.conditions.map((bits) => order.find((i) => bits & (1 << i)) ?? NO_CONDITION);
  const size = (i) => rarest.filter((found) => found === i).length;
  const shown = [...order].sort((a, b) => size(b) - size(a)).slice(0, PALETTE.length);
  const group = rarest.map((found) => (found === NO_CONDITION || shown.includes(found) ? found : OTHERS));
  const select = element("select", { "aria-label": "condition that is coloured" });
  fillSelect(select, [["", "every study by its rarest finding"], ...[...order].reverse().map((i) => [String(i), data.conditions[i]])]);
  const canvas = element("canvas", { role: "img" });
  const labels = element("ul", { className: "legend" });
  const hue = (i) => (i === OTHERS ? paint("--quiet") : PALETTE[Math.max(0, shown.indexOf(i))]);
  const isTail = (i) => i >= 0 && thirdOf(data.conditions[i]) === "tail";
  const draw = () => drawDisk(canvas, disk, (n) => {
    if (select.value !== "") return disk.conditions[n] & (1 << Number(select.value)) ? Number(select.value) : NO_CONDITION;
    return group[n];
  }, hue, isTail);
  select.onchange = () => {
    canvas.setAttribute("aria-label", `training studies on a disk; coloured: ${select.selectedOptions[0].textContent}`);
    draw();
  };
  labels.append(...shown.map((i) => element("li", {}, element("button", { type: "button", onclick: () => {
    select.value = select.value === String(i) ? "" : String(i);
    select.onchange();
  } }, swatch(hue(i), isTail(i)), `${data.conditions[i]} (${counts[i]})`))));
  if (order.length > shown.length) labels.append(element("li", {}, swatch("var(--quiet)"), `${order.length - shown.length} rarer ones, by the list above`));
  select.onchange();
  view.draw = [draw];
  const drawn = disk.conditions.length;
  const which = drawn < disk.total ? `A random ${drawn} of the ${disk.total} training studies` : `The ${drawn} training studies of the bank`;
  const tails = order.some(isTail) ? " Triangles: conditions of the tail third." : "";
  const how = disk.curvature
    ? `as embedded for retrieval (curvature \u2212${disk.curvature.toPrecision(3)}). Their gyromidpoint is moved to the centre, which keeps all distances; there, the two principal axes of the tangent space are kept and mapped back to the Poincar\u00e9 disk. The axes hold ${percent(disk.share)} of the variance: studies that differ in other directions are drawn closer than they are. Rings: equal geodesic distance from the centre.`
    : `as embedded for retrieval in flat space: the two principal components, which hold ${percent(disk.share)} of the variance.`;
  return card("The retrieval space", element("p", {}, select), canvas, labels, note(`${which}, ${how}${tails}`));
}

function drawDisk(canvas, disk, groupOf, hue, isTail) {
  const room = canvas.parentElement ? canvas.parentElement.clientWidth - 34 : 0;
  if (room < 50) return; // not on the screen: drawn when it is
  const side = Math.min(560, room);
  const density = window.devicePixelRatio || 1;
  canvas.width = canvas.height = side * density;
  canvas.style.maxWidth = `${side}px`;
  const context = canvas.getContext("2d");
  context.scale(density, density);
  const { points } = disk;
  let reach = 0;
  for (let n = 0; n < points.length; n += 2) reach = Math.max(reach, Math.hypot(points[n], points[n + 1]) / 10000);
  reach = Math.min(1, reach * 1.08) || 1; // the drawn part of the unit disk
  const radius = side / 2 - 4;
  const place = (value) => side / 2 + radius * value / reach;
  context.font = "11px system-ui, sans-serif";
  context.strokeStyle = paint("--line");
  context.fillStyle = paint("--quiet");
  if (disk.curvature) drawRings(context, disk, reach, radius, side);
  const grey = paint("--line");
  const order = [...disk.conditions.keys()].map((n) => [groupOf(n), n]);
  order.sort((a, b) => (a[0] !== NO_CONDITION) - (b[0] !== NO_CONDITION) || isTail(a[0]) - isTail(b[0]));
  for (const [group, n] of order) {
    const [x, y] = [place(points[2 * n] / 10000), place(-points[2 * n + 1] / 10000)];
    context.fillStyle = group === NO_CONDITION ? grey : hue(group);
    context.beginPath();
    if (isTail(group)) {
      context.moveTo(x, y - 4.5);
      context.lineTo(x + 4, y + 3);
      context.lineTo(x - 4, y + 3);
    } else {
      context.arc(x, y, group === NO_CONDITION ? 1.6 : 2.4, 0, 7);
    }
    context.fill();
  }
}

function drawRings(context, disk, reach, radius, side) {
  const root = Math.sqrt(disk.curvature);
  const farthest = 2 * Math.atanh(Math.min(reach, 0.9999)) / root;
  const raw = farthest / 4;
  const unit = 10 ** Math.floor(Math.log10(raw));
  const gap = unit * [1, 2, 5, 10].find((step) => step * unit >= raw);
  for (let distance = gap; distance <= farthest; distance += gap) {
    const ring = radius * Math.tanh(root * distance / 2) / reach;
    context.beginPath();
    context.arc(side / 2, side / 2, ring, 0, 7);
    context.stroke();
    context.fillText(String(Number(distance.toPrecision(3))), side / 2 + 2, side / 2 - ring + 11);
  }
  if (reach >= 0.999) {
    context.beginPath();
    context.arc(side / 2, side / 2, radius, 0, 7);
    context.stroke();
  }
}
