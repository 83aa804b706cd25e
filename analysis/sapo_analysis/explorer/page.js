// The page: what is picked and set, drawn. Numbers come from GateCurve, pictures from Picture.
"use strict";

(() => {
  const { Branch, halfWidths, tauOf, effects } = GateCurve;
  const { element, short, slider } = Controls;
  const byId = (id) => document.getElementById(id);
  const SIGNS = ["positive", "negative"];
  const CONDITION = { positive: "A > 0", negative: "A ≤ 0" };
  const SHARED = { positive: "₊", negative: "₋" };
  const QUANTITIES = {
    weight: "gradient weight w",
    score: "score weight φ = r·w",
    value: "value f",
  };
  const POINTS = 401;
  const LEAST = 1e-6; // the smallest ratio drawn
  const TYPED = "typed here";
  const LETTERS = {
    tau: "τ", epsilon: "ε", epsilon_low: "ε low", epsilon_high: "ε high", alpha: "α", sigma: "σ", nu: "ν", lambda_: "λ",
    beta_1: "β₁", beta_2: "β₂",
  };

  // ---- what the page knows ----
  const gates = new Map(PAGE.gates.map((gate) => [gate.name, gate]));
  for (const gate of gates.values()) {
    try {
      compile(gate);
    } catch (error) {
      if (!(error instanceof GateLanguage.FormulaError)) throw error;
      gate.undrawn = `not computed by this page; draw it with: ${gate.draw}`;
    }
  }
  const sliders = new Map(); // by key: {parameter, sign or "both", number}
  const picked = new Map(); // gate name -> place among the colours
  const kept = new Map(); // gate name -> {key, numbers that were computed for it}
  const view = { axis: "ratio", reach: 0.7, ratios: { normal: [0, 0.1] }, width: null }; // width: the half-width that all gates with a tau share

  function compile(gate) {
    const names = gate.parameters.map((p) => p.name);
    gate.formula = Object.fromEntries(SIGNS.map((sign) => [sign, GateLanguage.parse(gate.formulas[sign], names)]));
  }

  // Equal parameters of several gates share a slider; one that is trained at two values has a slider for each sign.
  const keyOf = (p, sign) => [p.name, p.domain, p.positive, p.negative, p.positive === p.negative ? "both" : sign].join(" ");
  function numbersOf(gate, sign) {
    const numbers = Object.fromEntries(gate.parameters.map((p) => [p.name, sliders.get(keyOf(p, sign))?.number ?? p[sign]]));
    if (view.width === null || !("tau" in numbers)) return numbers;
    const tau = tauOf(gate.kind, gate.formula[sign], numbers, view.width);
    return tau === null ? numbers : { ...numbers, tau };
  }

  // ---- sliders ----
  function drawSliders() {
    const wanted = new Map();
    for (const name of picked.keys()) {
      const gate = gates.get(name);
      for (const p of gate.parameters) {
        for (const sign of SIGNS) {
          if (!gate.formula[sign].parameters.includes(p.name) || (view.width !== null && p.name === "tau")) continue;
          const key = keyOf(p, sign);
          if (!wanted.has(key)) wanted.set(key, { parameter: p, sign: p.positive === p.negative ? "both" : sign, gates: new Set() });
          wanted.get(key).gates.add(name);
        }
      }
    }
    const sets = new Map();
    for (const [, one] of wanted) sets.set(one.parameter.name, (sets.get(one.parameter.name) ?? new Set()).add(`${one.parameter.domain} ${one.parameter.positive}`));
    const focused = document.activeElement?.id;
    byId("sliders").replaceChildren();
    for (const [key, { parameter: p, sign, gates: its }] of wanted) {
      const known = sliders.get(key);
      const letter = LETTERS[p.name] ?? p.name;
      const [first, ...others] = its;
      const several = sets.get(p.name).size > 1 ? `, ${first}${others.length > 1 ? ` and ${others.length} more` : others.map((name) => `, ${name}`).join("")}` : "";
      const made = slider({
        id: `slider-${p.name}-${sign}${several ? `-${first}` : ""}`,
        label: letter + (SHARED[sign] ?? "") + several,
        says: sign === "both" ? p.says : `${CONDITION[sign]}${p.says ? `: ${p.says}` : ""}`,
        start: p[sign === "both" ? "positive" : sign],
        domain: p.domain,
        lower: p.lower,
        upper: p.upper,
        changed: (x) => {
          sliders.get(key).number = x;
          later();
        },
      });
      sliders.set(key, { number: known?.number ?? p[sign === "both" ? "positive" : sign], set: made.set });
      made.set(sliders.get(key).number);
      byId("sliders").append(made.box);
    }
    if (!wanted.size) byId("sliders").append(element("p", { className: "says" }, "The gates picked have no other."));
    if (focused) byId(focused)?.focus();
  }

  // ---- picking ----
  function drawGates() {
    const groups = new Map();
    for (const gate of gates.values()) groups.set(gate.group, [...(groups.get(gate.group) ?? []), gate]);
    byId("gates").replaceChildren(...[...groups].map(([group, members]) => {
      const open = groups.size === 1 || members.some((gate) => PAGE.picked.includes(gate.name));
      const summary = element("summary", {}, `${group} (${members.length})`);
      return element("details", { open }, summary, ...members.map((gate) => {
        const box = element("input", { type: "checkbox", id: `gate-${gate.name}`, disabled: Boolean(gate.undrawn) });
        box.addEventListener("change", () => pick(gate.name, box.checked));
        const name = element("label", { title: gate.says }, box, gate.name);
        if (gate.undrawn) name.append(element("span", { className: "says" }, gate.undrawn));
        return name;
      }));
    }));
  }
  function pick(name, on) {
    if (on && !picked.has(name)) {
      const taken = new Set(picked.values());
      let place = 0;
      while (taken.has(place)) place++;
      picked.set(name, place);
    } else if (!on) picked.delete(name);
    const box = byId(`gate-${name}`);
    if (box) box.checked = on;
    drawSliders();
    drawVerdicts();
    later();
  }

  // ---- the typed formula ----
  const PARAMETERS = [
    { name: "tau", domain: "(0, oo)", lower: 0, upper: null, positive: 10, negative: 12, says: "temperature; the larger, the narrower the trust region" },
    { name: "epsilon", domain: "(0, 1)", lower: 0, upper: 1, positive: 0.2, negative: 0.2, says: "half-width of the clip interval" },
  ];
  function typed() {
    const text = byId("formula").value;
    const kind = document.querySelector("input[name=kind]:checked").value;
    const says = byId("formula-says");
    byId("formula").removeAttribute("aria-invalid");
    says.classList.remove("wrong");
    says.textContent = "";
    if (!text.trim()) {
      forget();
      return;
    }
    try {
      const formula = GateLanguage.parse(text, PARAMETERS.map((p) => p.name));
      const gate = { name: TYPED, kind, formulas: { positive: text, negative: text }, parameters: PARAMETERS.filter((p) => formula.parameters.includes(p.name)), says: "" };
      compile(gate);
      const at = new Branch(kind, formula, numbersOf(gate, "positive"));
      if (!Number.isFinite(at.score(0))) throw new GateLanguage.FormulaError("the formula has no number at r = 1, where every token starts; check it there.");
      gates.set(TYPED, gate);
      says.textContent = `w(1) = ${short(at.weight(0))} for A > 0`;
      pick(TYPED, true);
    } catch (error) {
      if (!(error instanceof GateLanguage.FormulaError)) throw error;
      byId("formula").setAttribute("aria-invalid", "true");
      says.classList.add("wrong");
      says.textContent = error.message;
      forget();
    }
  }
  function forget() {
    if (picked.has(TYPED)) pick(TYPED, false);
    gates.delete(TYPED);
  }
  function gateFile(gate) {
    const lines = ["[gate]", `name = "typed"`, `${gate.kind} = ${JSON.stringify(gate.formulas.positive)}`];
    for (const p of gate.parameters) {
      const [positive, negative] = SIGNS.map((sign) => numbersOf(gate, sign)[p.name]);
      lines.push("", `[parameters.${p.name}]`, `domain = "${p.domain}"`, `positive = ${positive}`, `negative = ${negative}`);
    }
    return lines.join("\n") + "\n";
  }

  // ---- numbers ----
  function grid() {
    const steps = [...Array(POINTS).keys()].map((i) => (2 * i) / (POINTS - 1) - 1);
    if (view.axis === "log-ratio") {
      const z = steps.map((t) => t * Math.log1p(view.reach));
      return { x: z, z, r: z.map(Math.exp) };
    }
    const left = Math.min(view.reach, 1 - LEAST);
    const r = steps.map((t) => 1 + t * (t < 0 ? left : view.reach));
    return { x: r, z: r.map(Math.log), r };
  }
  function computed(gate, sign, where) {
    const numbers = numbersOf(gate, sign);
    const key = JSON.stringify([gate.kind, gate.formulas[sign], numbers, view]);
    const name = `${gate.name} ${sign}`;
    if (kept.get(name)?.key !== key) {
      const branch = new Branch(gate.kind, gate.formula[sign], numbers);
      kept.set(name, {
        key,
        branch,
        weight: where.z.map((z, i) => branch.weight(z, where.r[i])),
        score: where.z.map((z, i) => branch.score(z, where.r[i])),
        value: branch.values(where.z),
        halves: halfWidths(branch),
        effects: effects(branch, view.ratios),
      });
    }
    return kept.get(name);
  }

  // ---- pictures ----
  for (const quantity of Object.keys(QUANTITIES)) {
    for (const sign of SIGNS) {
      const plot = element("div", { className: "plot", id: `${quantity}-${sign}` });
      plot.setAttribute("role", "img");
      const side = sign === "positive" ? "r > 1" : "r < 1";
      byId("panels").append(element("figure", {}, element("figcaption", {}, element("b", {}, QUANTITIES[quantity]), `, ${CONDITION[sign]} (kill side ${side})`), plot));
    }
  }
  function draw() {
    const where = grid();
    for (const sign of SIGNS) {
      const curves = [...picked].map(([name, place]) => ({ name, place, ...computed(gates.get(name), sign, where) }));
      for (const quantity of Object.keys(QUANTITIES)) {
        const marked = curves.flatMap(({ name, place, branch }) => marks(gates.get(name), sign, quantity, branch).map((mark) => ({ ...mark, name, place })));
        const plot = byId(`${quantity}-${sign}`);
        plot.setAttribute("aria-label", spoken(quantity, sign));
        Picture.draw(plot, { quantity, axis: view.axis, where, curves, marked, ratios: view.ratios });
      }
    }
    drawKey();
    drawNumbers(where);
    drawUncertified();
  }
  function spoken(quantity, sign) {
    const parts = [...picked.keys()].map((name) => {
      const [left, right] = kept.get(`${name} ${sign}`).halves;
      return `${name} halves at ${left === null ? "no ratio below 1" : short(1 - left)} and ${right === null ? "no ratio above 1" : short(1 + right)}`;
    });
    return `Curves of ${QUANTITIES[quantity]} over ${view.axis}, ${CONDITION[sign]}. ${parts.join("; ")}.`;
  }
  function drawKey() {
    byId("key").replaceChildren(...[...picked].map(([name, place]) => {
      const item = element("li");
      item.innerHTML = Picture.sample(place);
      const taus = view.width === null ? [] : [...new Set(SIGNS.map((sign) => short(numbersOf(gates.get(name), sign).tau ?? NaN)))];
      item.append(taus.length && taus[0] !== "–" ? `${name}, τ = ${taus.join(" / ")}` : name);
      return item;
    }));
    const halves = [...picked.keys()].map((name) => kept.get(`${name} positive`).halves[1]).filter((h) => h !== null);
    const unequal = halves.length > 1 && Math.max(...halves) > 1.02 * Math.min(...halves);
    byId("unequal").textContent = unequal ? `Half-widths for A > 0 go from ${short(Math.min(...halves))} to ${short(Math.max(...halves))}: what differs here may be the width.${view.width === null ? " “Equal half-width” compares the shapes." : ""}` : "";
  }

  function table(head, rows) {
    const made = element("table", {}, element("thead", {}, element("tr", {}, ...head.map((text) => element("th", { scope: "col" }, text)))));
    made.append(element("tbody", {}, ...rows.map(([first, ...cells]) => element("tr", {}, element("th", { scope: "row" }, first), ...cells))));
    return made;
  }
  function drawNumbers(where) {
    const head = ["gate", "", "h₋", "h₊", "largest φ in view", "EUR", "effective sample size"];
    const rows = [...picked.keys()].flatMap((name) => SIGNS.map((sign) => {
      const found = computed(gates.get(name), sign, where);
      const top = Math.max(...found.score);
      const cells = [...found.halves, top, found.effects.eur, found.effects.ess].map((x, i) => {
        const cell = element("td", { className: "number" }, short(x));
        cell.dataset.number = `${name} ${sign} ${["left", "right", "sup", "eur", "ess"][i]}`;
        cell.dataset.exact = String(x);
        return cell;
      });
      return [name, element("td", { className: "nowrap" }, CONDITION[sign]), ...cells];
    }));
    byId("numbers").replaceChildren(rows.length ? table(head, rows) : element("p", {}, "Pick a gate, or type one."));
  }

  // ---- verdicts ----
  const MARKS = { proved: "✓ proved", refuted: "✗ refuted", undecided: "? undecided", certified: "✓ certified" };
  const mark = (verdict) => element("span", { className: verdict }, MARKS[verdict]);
  const valuesIn = (witness) => Object.entries(witness.parameters).map(([name, value]) => `${name} = ${value}`).join(", ");
  const rational = (text) => {
    const [p, q = "1"] = text.split("/");
    return Number(p) / Number(q);
  };
  const middle = ([low, high]) => (rational(low) + rational(high)) / 2;
  const quantityOf = (one) => (/score/.test(one.id) ? "score" : /value/.test(one.id) || one.witness.why.startsWith("f") ? "value" : "weight");

  // The counterexamples of a branch that hold at the numbers the sliders stand at.
  function marks(gate, sign, quantity, branch) {
    const numbers = numbersOf(gate, sign);
    return (gate.requirements ?? []).filter((one) => one.sign === sign && one.witness && quantityOf(one) === quantity).flatMap((one) => {
      const { witness } = one;
      const here = Object.entries(witness.parameters).every(([name, value]) => Math.abs(numbers[name] - rational(value)) <= 1e-9 * Math.abs(rational(value)));
      const r = witness.r.map(rational).filter((x) => x > 0 && Number.isFinite(x));
      if (!here || !r.length) return [];
      const says = witness.r.join(", ");
      if (witness.kind === "jump") return [{ id: one.id, says, r: witness.enclosure.map(() => r[0]), y: witness.enclosure.map(middle) }];
      const at = (x) => (quantity === "value" ? branch.values([Math.log(x)])[0] : branch[quantity](Math.log(x), x));
      return [{ id: one.id, says, r, y: r.map(at) }];
    });
  }
  function drawVerdicts() {
    const shown = [...picked.keys()].map((name) => gates.get(name));
    const rows = shown.map((gate) => {
      if (!gate.requirements) return [gate.name, element("td", { className: "undecided" }, "not certified"), element("td", { colSpan: PAGE.requirements.length }, "nothing was proved about what is typed here")];
      const cells = PAGE.requirements.map((id) => {
        const answers = SIGNS.map((sign) => gate.requirements.find((one) => one.id === id && one.sign === sign).verdict);
        if (answers[0] === answers[1]) return element("td", {}, mark(answers[0]));
        return element("td", {}, ...SIGNS.flatMap((sign, i) => [element("div", { className: "nowrap" }, `${CONDITION[sign]}: `, mark(answers[i]))]));
      });
      return [gate.name, element("td", {}, mark(gate.verdict)), ...cells];
    });
    byId("verdicts").replaceChildren(rows.length ? table(["gate", `profile ${PAGE.profile}`, ...PAGE.requirements], rows) : element("p", {}, "Pick a gate to see what was proved of it."));
    byId("witnesses").replaceChildren(...shown.flatMap((gate) => (gate.requirements ?? []).filter((one) => one.witness).map((one) => {
      const at = valuesIn(one.witness);
      const button = element("button", { type: "button" }, "Show");
      button.setAttribute("aria-label", `Show where ${one.id} of ${gate.name} fails, ${CONDITION[one.sign]}`);
      button.addEventListener("click", () => show(gate, one));
      return element("div", { className: "witness" }, element("span", {}, `${gate.name}, ${CONDITION[one.sign]}: ${one.id} is refuted at r = ${one.witness.r.join(", ")}${at ? `, ${at}` : ""}: ${one.witness.why}`), button);
    })));
    const scopes = Map.groupBy(shown.filter((gate) => gate.requirements), (gate) => gate.scope);
    const says = [...scopes].map(([scope, its]) => `${scope} (${its.map((gate) => gate.name).join(", ")})`);
    if (says.length) byId("verdicts").append(element("p", { className: "soft" }, `Proved: for every r > 0 and ${says.join("; ")}.`));
  }
  // Sliders and range go to where the counterexample is.
  function show(gate, one) {
    if (view.width !== null) {
      document.querySelector("input[name=at][value=parameters]").checked = true;
      compareAt("parameters");
    }
    for (const [name, value] of Object.entries(one.witness.parameters)) {
      const p = gate.parameters.find((q) => q.name === name);
      sliders.get(keyOf(p, one.sign))?.set(rational(value));
    }
    const r = one.witness.r.map(rational).filter((x) => x > 0 && Number.isFinite(x));
    const farthest = Math.max(view.reach, ...r.map((x) => 1.25 * (view.axis === "ratio" ? Math.abs(x - 1) : Math.max(x, 1 / x) - 1)));
    reach.set(farthest);
    byId(`${quantityOf(one)}-${one.sign}`).scrollIntoView({ block: "center" });
  }
  function drawUncertified() {
    const gate = picked.has(TYPED) && gates.get(TYPED);
    if (!gate) {
      byId("uncertified").replaceChildren();
      return;
    }
    const file = gateFile(gate);
    const shown = element("pre", { id: "gate-file" }, file);
    const copy = element("button", { type: "button" }, "Copy the gate file");
    copy.addEventListener("click", async () => {
      getSelection().selectAllChildren(shown);
      await navigator.clipboard?.writeText(file);
      copy.textContent = navigator.clipboard ? "Copied" : "Selected";
    });
    byId("uncertified").replaceChildren(
      element("h3", {}, "Certify what you typed"),
      element("p", {}, "A curve proves nothing. Save this as ", element("code", {}, "typed.toml"), ":"),
      shown,
      copy,
      element("p", {}, "and run:"),
      element("pre", {}, `sapo-gates certify typed.toml\nsapo-analysis explore typed.toml -o typed.html`),
    );
  }

  // ---- log-ratios ----
  async function take(file) {
    if (!file) return;
    const says = byId("ratios-say");
    says.classList.remove("wrong");
    try {
      const read = await RatioFile.read(file);
      view.ratios = read;
      says.textContent = `${file.name}: ${read.says}.`;
      byId("normal").hidden = false;
      later();
    } catch (error) {
      if (!(error instanceof RatioFile.RatioFileError)) throw error;
      says.classList.add("wrong");
      says.textContent = `${file.name}: ${error.message}`;
    }
  }
  function logNormal(std) {
    view.ratios = { normal: [0, std] };
    byId("normal").hidden = true;
    byId("ratios-say").classList.remove("wrong");
    byId("ratios-say").textContent = `log r normal, mean 0, standard deviation ${short(std)}`;
    later();
  }

  // ---- as set, or at equal half-width ----
  function compareAt(what) {
    view.width = what === "width" ? byId("slider-width-number").valueAsNumber : null;
    byId("width").hidden = view.width === null;
    drawSliders();
    later();
  }

  // ---- putting it together ----
  let waiting = false;
  function later() {
    if (waiting) return;
    waiting = true;
    requestAnimationFrame(() => {
      waiting = false;
      draw();
    });
  }

  const reach = slider({
    id: "slider-reach", label: "how far from r = 1", says: "the largest r − 1", start: view.reach, domain: "(0, oo)", lower: 0, upper: null,
    changed: (x) => {
      view.reach = x;
      later();
    },
  });
  const spread = slider({ id: "slider-spread", label: "spread of a log-normal r", says: "standard deviation of log r", start: 0.1, domain: "(0, oo)", lower: 0, upper: null, changed: logNormal });
  const width = slider({
    id: "slider-width", label: "half-width h", says: "w(1 + h) = ½ for every gate with a τ", start: 0.1, domain: "(0, oo)", lower: 0, upper: null,
    changed: (x) => {
      view.width = x;
      later();
    },
  });
  byId("width").append(width.box);
  for (const radio of document.querySelectorAll("input[name=at]")) radio.addEventListener("change", () => compareAt(radio.value));
  byId("reach").append(reach.box);
  byId("spread").append(spread.box);
  byId("formula").addEventListener("input", typed);
  for (const radio of document.querySelectorAll("input[name=kind]")) radio.addEventListener("change", typed);
  for (const radio of document.querySelectorAll("input[name=axis]")) {
    radio.addEventListener("change", () => {
      view.axis = radio.value;
      later();
    });
  }
  byId("file").addEventListener("change", () => take(byId("file").files[0]));
  byId("normal").addEventListener("click", () => {
    byId("file").value = "";
    spread.set(byId("slider-spread-number").valueAsNumber);
  });
  for (const kind of ["dragover", "dragleave", "drop"]) {
    byId("drop").addEventListener(kind, (event) => {
      event.preventDefault();
      byId("drop").classList.toggle("over", kind === "dragover");
      if (kind === "drop") take(event.dataTransfer.files[0]);
    });
  }
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", later);
  if (matchMedia("(max-width: 56rem)").matches) for (const id of ["pick", "write", "view", "ratios"]) byId(id).open = false;

  drawGates();
  for (const name of PAGE.picked) if (!gates.get(name).undrawn) pick(name, true);
  spread.set(0.1);
})();
