// One panel in Plotly: curves of gates, the ends of their trust regions, counterexamples, the log-ratios behind them.
"use strict";

const Picture = (() => {
  const DASHES = ["solid", "dash", "dot", "dashdot"];
  const STROKES = ["", "7 3", "2 3", "7 3 2 3"];
  const COLOURS = 8;
  const dashOf = (place) => (place + Math.floor(place / COLOURS)) % DASHES.length; // a colour's second gate has another dash
  const CEILING = { weight: [-1.3, 2.2], score: [-1.3, 3.2] }; // curves that leave these are cut off
  const FARTHEST_MARK = 100; // a mark beyond stands at the edge

  const styled = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

  function behind(where, axis, { normal, points, weights }) {
    const [low, high] = [where.z[0], where.z.at(-1)];
    let shape;
    if (normal) {
      if (!(normal[1] > 0)) return [];
      shape = { x: where.x, y: where.z.map((z) => Math.exp(-(((z - normal[0]) / normal[1]) ** 2) / 2)) };
    } else {
      const bins = 60;
      const counts = Array(bins).fill(0);
      points.forEach((z, i) => {
        if (z >= low && z < high) counts[Math.floor(((z - low) / (high - low)) * bins)] += weights[i];
      });
      const top = Math.max(...counts) || 1;
      const ends = counts.flatMap((n, i) => [low + (i * (high - low)) / bins, low + ((i + 1) * (high - low)) / bins]);
      shape = { x: axis === "ratio" ? ends.map(Math.exp) : ends, y: counts.flatMap((n) => [n / top, n / top]) };
    }
    return [{ ...shape, type: "scatter", mode: "lines", line: { width: 0 }, fill: "tozeroy", fillcolor: styled("--pale") + "33", hoverinfo: "skip", yaxis: "y2" }];
  }

  // curves: [{name, place, halves, weight, score, value}]; marked: [{name, place, id, says, r, y}]; where: {x, z, r}.
  function draw(plot, { quantity, axis, where, curves, marked, ratios }) {
    const toX = (r) => (axis === "ratio" ? r : Math.log(r));
    const [ink, soft, line] = ["--ink", "--soft", "--line"].map(styled);
    const colour = (place) => styled(`--c${place % COLOURS}`);
    const traces = quantity === "weight" ? behind(where, axis, ratios) : [];
    const shapes = [{ type: "line", x0: toX(1), x1: toX(1), yref: "paper", y0: 0, y1: 1, line: { color: line, width: 1 }, layer: "below" }];
    const points = (name, x, y, marker, says) => traces.push({ name, x, y, type: "scatter", mode: "markers", marker, hovertemplate: `${says}<extra></extra>` });
    for (const { name, place, ...found } of curves) {
      const color = colour(place);
      traces.push({ name, x: where.x, y: found[quantity], type: "scatter", mode: "lines", line: { color, dash: DASHES[dashOf(place)], width: 2 }, hovertemplate: `${name}: %{y:.4g}<extra></extra>` });
      if (quantity === "weight") {
        const ends = found.halves.flatMap((h, i) => (h === null ? [] : [1 + (i ? h : -h)])).filter((r) => r >= where.r[0] && r <= where.r.at(-1));
        points(`${name}, half-width`, ends.map(toX), ends.map(() => 0.5), { color, size: 7 }, `${name}: w = ½ at %{x:.4g}`);
        for (const r of ends) shapes.push({ type: "line", x0: toX(r), x1: toX(r), y0: 0, y1: 0.5, line: { color, width: 1, dash: "dot" }, layer: "below" });
      }
      const top = found.score.indexOf(Math.max(...found.score));
      if (quantity === "score" && top > 0 && top < where.x.length - 1) {
        points(`${name}, largest φ`, [where.x[top]], [found.score[top]], { color, size: 9, symbol: "triangle-up" }, `${name}: φ = %{y:.4g} at %{x:.4g}`);
      }
    }
    const inView = marked.flatMap(({ r, y }) => y.filter((_, i) => r[i] >= where.r[0] && r[i] <= where.r.at(-1)));
    const range = limits(quantity, curves.flatMap((curve) => curve[quantity]), inView.filter((y) => Math.abs(y) <= FARTHEST_MARK));
    for (const { name, place, id, says, r, y } of marked) {
      const seen = y.map((h) => Math.max(range[0], Math.min(range[1], h)));
      points(`${name}, ${id}`, r.map(toX), seen, { color: colour(place), size: 10, symbol: "x", line: { color: ink, width: 1 } }, `${name}: ${id} refuted at r = ${says}, ${y.map((h) => h.toPrecision(4)).join(" and ")}`);
    }
    const fixed = { gridcolor: line, fixedrange: true, nticks: 6 };
    Plotly.react(plot, traces, {
      margin: { l: 42, r: 8, t: 6, b: 38 },
      paper_bgcolor: "rgba(0,0,0,0)",
      plot_bgcolor: "rgba(0,0,0,0)",
      font: { family: "system-ui, sans-serif", size: 12, color: soft },
      showlegend: false,
      hovermode: "closest",
      dragmode: false,
      shapes,
      xaxis: { ...fixed, range: [where.x[0], where.x.at(-1)], title: { text: axis === "ratio" ? "ratio r" : "log-ratio log r", standoff: 6 }, zeroline: false },
      yaxis: { ...fixed, range, zerolinecolor: soft, zerolinewidth: 1 },
      yaxis2: { overlaying: "y", range: [0, 1.6], visible: false, fixedrange: true },
    }, { displayModeBar: false, responsive: true });
  }

  // The curves, cut off at the ceiling; the marks in any case.
  function limits(quantity, numbers, marks) {
    const finite = numbers.filter(Number.isFinite);
    if (!finite.length) return [0, 1.2];
    const [least, most] = [(list) => list.reduce((a, b) => Math.min(a, b)), (list) => list.reduce((a, b) => Math.max(a, b))];
    const [low, high] = [least(finite), most(finite)];
    if (quantity === "value") {
      const pad = 0.12 * (high - low || 1);
      return [low - pad, high + pad];
    }
    const [floor, ceiling] = CEILING[quantity];
    const bottom = Math.max(floor, Math.min(-0.03, 1.1 * low));
    const top = Math.min(ceiling, 1.12 * Math.max(1, high));
    return [least([bottom, ...marks.map((y) => 1.1 * y)]), most([top, ...marks.map((y) => 1.1 * y)])];
  }

  // How a gate's line looks, for the key.
  function sample(place) {
    return `<svg viewBox="0 0 32 8" aria-hidden="true"><path d="M0 4H32" stroke="var(--c${place % COLOURS})" stroke-width="3" stroke-dasharray="${STROKES[dashOf(place)]}"/></svg>`;
  }

  return { draw, sample };
})();
