// Numbers of one branch of a gate: value, weight, score weight, half-widths, and means over log-ratios.
"use strict";

const GateCurve = (() => {
  const { times } = GateLanguage;

  const FARTHEST = 100; // nats; e^100 to the power of seven is still a number
  const BESIDE = 1e-5; // how far from a removable singularity its limit is taken

  // A formula at numbers for its parameters. weight, score and value take z = log r, and r where it is known exactly.
  class Branch {
    constructor(kind, formula, numbers) {
      this.kind = kind;
      this.formula = formula;
      this.parameters = Object.fromEntries(Object.entries(numbers).map(([name, x]) => [name, [x, 0]]));
    }
    // [v, dv/dr] at z = log r; a removable singularity is filled by its limit.
    dual(z, r) {
      const at = (x, ratio) => this.formula.at({ r: [ratio, 1], z: [x, 1 / ratio], parameters: this.parameters });
      const found = at(z, r);
      if (found.every(Number.isFinite)) return found;
      const [left, right] = [z - BESIDE, z + BESIDE].map((x) => at(x, Math.exp(x)));
      const [v, d] = [0, 1].map((k) => (Math.abs(left[k] - right[k]) < 1e-3 ? (left[k] + right[k]) / 2 : NaN));
      return Number.isNaN(v) ? [NaN, NaN] : [v, d]; // without a value there is no slope, whatever the chain rule makes of it
    }
    declared(z, r) {
      const near = Math.max(-FARTHEST, Math.min(FARTHEST, z));
      const ratio = near === z ? r : Math.exp(near);
      return [this.dual(near, ratio)[this.kind === "value" ? 1 : 0], ratio];
    }
    weight(z, r = Math.exp(z)) {
      const [found, ratio] = this.declared(z, r);
      return this.kind === "score" ? found / ratio : found;
    }
    score(z, r = Math.exp(z)) {
      const [found, ratio] = this.declared(z, r);
      return this.kind === "score" ? found : times(found, ratio);
    }
    // f - f(1) + 1 at every z of a rising list.
    values(zs) {
      if (this.kind === "value") {
        const one = this.dual(0, 1)[0];
        return zs.map((z) => 1 + this.dual(z, Math.exp(z))[0] - one);
      }
      const phi = (z) => this.score(z);
      const start = zs.findIndex((z) => z >= 0);
      const found = Array(zs.length);
      const walk = (indices) => {
        let [total, from] = [1, 0];
        for (const i of indices) {
          total += integral(phi, from, zs[i]);
          from = zs[i];
          found[i] = total;
        }
      };
      const middle = start < 0 ? zs.length : start;
      walk([...Array(zs.length - middle).keys()].map((i) => middle + i));
      walk([...Array(middle).keys()].map((i) => middle - 1 - i));
      return found;
    }
  }

  // Adaptive Gauss-Lobatto with five nodes: halves are taken until they agree, so that a jump is found by bisection. The
  // ends are nodes, or a jump close to one would be seen by none.
  const NODE = Math.sqrt(3 / 7);
  function lobatto(f, a, b) {
    const [half, middle] = [(b - a) / 2, (a + b) / 2];
    return half * ((f(a) + f(b)) / 10 + (f(middle - half * NODE) + f(middle + half * NODE)) * (49 / 90) + f(middle) * (32 / 45));
  }
  function integral(f, a, b, tolerance = 1e-11, whole = lobatto(f, a, b), depth = 0) {
    const middle = (a + b) / 2;
    const [left, right] = [lobatto(f, a, middle), lobatto(f, middle, b)];
    if (!(Math.abs(left + right - whole) > tolerance * (1 + Math.abs(whole))) || depth > 40) return left + right;
    return integral(f, a, middle, tolerance, left, depth + 1) + integral(f, middle, b, tolerance, right, depth + 1);
  }

  // [h-, h+] = inf{h > 0 : w(1 -+ h) <= 1/2}, null where the weight never halves.
  function halfWidths(branch) {
    const at = (h) => branch.weight(Math.log1p(h), 1 + h);
    return [[-1, 1 - 1e-9], [1, 1e4]].map(([side, last]) => {
      let inside = 0;
      for (let i = 0; i <= 600; i++) {
        const h = 1e-4 * (last / 1e-4) ** (i / 600);
        if (at(side * h) > 0.5) {
          inside = h;
          continue;
        }
        if (!(at(side * h) <= 0.5) || i === 0) return null;
        let outside = h;
        for (let k = 0; k < 50; k++) {
          const middle = (inside + outside) / 2;
          if (at(side * middle) <= 0.5) outside = middle;
          else inside = middle;
        }
        return outside;
      }
      return null;
    });
  }

  // The tau at which w(1 + h) = 1/2, null where there is none; w falls as tau rises.
  function tauOf(kind, formula, numbers, h) {
    const wide = (tau) => new Branch(kind, formula, { ...numbers, tau }).weight(Math.log1p(h), 1 + h) > 0.5;
    let [low, high] = [1e-6, 1e6];
    if (!wide(low) || wide(high)) return null;
    for (let k = 0; k < 100; k++) {
      const middle = Math.sqrt(low * high);
      if (wide(middle)) low = middle;
      else high = middle;
    }
    return Math.sqrt(low * high);
  }

  // ---- log-ratios: {normal: [mean, std]} or {points: [z], weights: [share]} ----
  const REACH = 9; // standard deviations; the normal distribution holds less than 1e-18 beyond
  function mean(of, ratios) {
    if (ratios.points) return ratios.points.reduce((sum, z, i) => sum + ratios.weights[i] * of(z), 0);
    const [m, s] = ratios.normal;
    const density = (u) => (Math.exp((-u * u) / 2) / Math.sqrt(2 * Math.PI)) * of(m + s * u);
    let sum = 0;
    for (let i = -REACH; i < REACH; i++) sum += integral(density, i, i + 1, 1e-10);
    return sum;
  }

  // Mean weight, and (mean |phi|)^2 / mean phi^2: the share of the tokens that pull, where all |A| are equal.
  function effects(branch, ratios) {
    const eur = mean((z) => branch.weight(z), ratios);
    const [first, second] = [mean((z) => Math.abs(branch.score(z)), ratios), mean((z) => branch.score(z) ** 2, ratios)];
    return { eur, ess: second > 0 ? first ** 2 / second : NaN };
  }

  return { Branch, halfWidths, tauOf, effects };
})();
