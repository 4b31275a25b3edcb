// The values under the pointer. The page is complete without it.
for (const plot of document.querySelectorAll(".plot")) {
  const svg = plot.querySelector("svg");
  const [x0, x1] = svg.dataset.x.split(" ").map(Number);
  const [y0, y1, isLog] = svg.dataset.y.split(" ").map(Number);
  const number = (value) => (value >= 1e4 ? Math.round(value).toLocaleString("en") : String(+value.toPrecision(4)));
  const height = (place) => (isLog ? y0 * (y1 / y0) ** place : y0 + (y1 - y0) * place);
  let lines, hair, tip;
  const read = (path) => ({
    name: path.dataset.name,
    points: [...path.getAttribute("d").matchAll(/[ML](-?\d+) (-?\d+)/g)].map((m) => [+m[1], +m[2]]),
  });
  plot.addEventListener("pointerleave", () => { hair?.remove(); tip?.remove(); hair = tip = null; });
  plot.addEventListener("pointermove", (event) => {
    lines ??= [...svg.querySelectorAll("path[data-name]")].map(read).filter((line) => line.points.length);
    if (!lines.length) return;
    const box = plot.getBoundingClientRect();
    const at = ((event.clientX - box.left) / box.width) * 10000;
    const near = lines.map((line) => line.points.reduce((a, b) => (Math.abs(b[0] - at) < Math.abs(a[0] - at) ? b : a)));
    const x = near.reduce((a, b) => (Math.abs(b[0] - at) < Math.abs(a[0] - at) ? b : a))[0];
    if (!tip) { plot.append((hair = document.createElement("div")), (tip = document.createElement("div"))); }
    hair.className = "hair"; tip.className = "tip";
    hair.style.left = `${x / 100}%`;
    const where = x0 + ((x1 - x0) * x) / 10000;
    const rows = lines.map((line, i) => `${line.name}  ${number(height(1 - near[i][1] / 10000))}`);
    tip.textContent = [`${svg.dataset.xname} ${svg.dataset.xname === "minutes" ? number(where) : Math.round(where).toLocaleString("en")}`, ...rows].join("\n");
    tip.style.left = x < 5000 ? `calc(${x / 100}% + .6rem)` : "auto";
    tip.style.right = x < 5000 ? "auto" : `calc(${100 - x / 100}% + .6rem)`;
  });
}
