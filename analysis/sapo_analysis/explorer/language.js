// The gate language in floats: text to a function of r and z = log r that also knows its derivative. It proves nothing.
//
// A formula is evaluated on dual numbers [v, d], d = dv/dr, so that w = f' has no step size. The grammar is that of
// sapo_gates/expression.py: Python's precedence for arithmetic and comparisons, ^ as a second spelling of **.
"use strict";

const GateLanguage = (() => {
  class FormulaError extends Error {}

  // ---- dual numbers ----
  // An exact zero wins over an overflow: exp(-inf)*inf is the limit of a tail, not a NaN.
  const times = (a, b) => (a === 0 || b === 0 ? 0 : a * b);
  const chain = (value, slope) => (x) => [value(x[0]), x[1] === 0 ? 0 : times(slope(x[0]), x[1])];
  const product = (a, b) => [times(a[0], b[0]), times(a[1], b[0]) + times(a[0], b[1])];
  const quotient = (a, b) => {
    const q = a[0] / b[0];
    return [q, (a[1] - times(q, b[1])) / b[0]];
  };
  const power = (a, b) => {
    const v = a[0] ** b[0];
    const byBase = a[1] === 0 || b[0] === 0 ? 0 : times(b[0] * a[0] ** (b[0] - 1), a[1]);
    return [v, byBase + (b[1] === 0 ? 0 : times(v, times(Math.log(a[0]), b[1])))];
  };

  const sigmoid = (x) => (x >= 0 ? 1 / (1 + Math.exp(-x)) : Math.exp(x) / (1 + Math.exp(x)));
  const sech = (x) => {
    const e = Math.exp(-Math.abs(x));
    return (2 * e) / (1 + e * e);
  };
  const TWO_OVER_ROOT_PI = 2 / Math.sqrt(Math.PI);

  // erf by its series of positive terms, erfc by its continued fraction: both to a few units in the last place.
  function erfSmall(x) {
    let term = x;
    let sum = x;
    for (let n = 1; Math.abs(term) > 1e-17 * Math.abs(sum); n++) {
      term *= (2 * x * x) / (2 * n + 1);
      sum += term;
    }
    return TWO_OVER_ROOT_PI * Math.exp(-x * x) * sum;
  }
  function erfcLarge(x) {
    let tail = x;
    for (let n = 100; n > 0; n--) tail = x + n / 2 / tail;
    return Math.exp(-x * x) / Math.sqrt(Math.PI) / tail;
  }
  const erfc = (x) => (x > 2 ? erfcLarge(x) : x < -2 ? 2 - erfcLarge(-x) : 1 - erfSmall(x));
  const erf = (x) => (Math.abs(x) <= 2 ? erfSmall(x) : x > 0 ? 1 - erfcLarge(x) : erfcLarge(-x) - 1);

  const FUNCTIONS = {
    sqrt: chain(Math.sqrt, (x) => 0.5 / Math.sqrt(x)),
    exp: chain(Math.exp, Math.exp),
    log: chain(Math.log, (x) => 1 / x),
    sigmoid: chain(sigmoid, (x) => sech(x / 2) ** 2 / 4),
    tanh: chain(Math.tanh, (x) => sech(x) ** 2),
    sech: chain(sech, (x) => -sech(x) * Math.tanh(x)),
    sinh: chain(Math.sinh, Math.cosh),
    cosh: chain(Math.cosh, Math.sinh),
    coth: chain((x) => 1 / Math.tanh(x), (x) => -1 / Math.sinh(x) ** 2),
    csch: chain((x) => 1 / Math.sinh(x), (x) => -1 / Math.sinh(x) / Math.tanh(x)),
    sin: chain(Math.sin, Math.cos),
    cos: chain(Math.cos, (x) => -Math.sin(x)),
    tan: chain(Math.tan, (x) => 1 + Math.tan(x) ** 2),
    asin: chain(Math.asin, (x) => 1 / Math.sqrt(1 - x * x)),
    acos: chain(Math.acos, (x) => -1 / Math.sqrt(1 - x * x)),
    atan: chain(Math.atan, (x) => 1 / (1 + x * x)),
    asinh: chain(Math.asinh, (x) => 1 / Math.hypot(1, x)),
    acosh: chain(Math.acosh, (x) => 1 / Math.sqrt(x * x - 1)),
    atanh: chain(Math.atanh, (x) => 1 / (1 - x * x)),
    erf: chain(erf, (x) => TWO_OVER_ROOT_PI * Math.exp(-x * x)),
    erfc: chain(erfc, (x) => -TWO_OVER_ROOT_PI * Math.exp(-x * x)),
    Abs: chain(Math.abs, (x) => (x >= 0 ? 1 : -1)),
    sign: chain(Math.sign, () => 0),
    Min: (...all) => all.reduce((a, b) => (a[0] <= b[0] ? a : b)),
    Max: (...all) => all.reduce((a, b) => (a[0] >= b[0] ? a : b)),
  };
  const MANY = ["Min", "Max"];
  // sapo_gates knows these too; here they have no function.
  const ELSEWHERE = ["erfi", "gamma", "loggamma", "lowergamma", "uppergamma", "LambertW", "Ei"];
  const CONSTANTS = { pi: Math.PI, E: Math.E };
  const RESERVED = ["r", "z", ...Object.keys(CONSTANTS)];

  // ---- text ----
  const TOKEN = /\s*(?:(\d+\.?\d*(?:[eE][+-]?\d+)?|\.\d+(?:[eE][+-]?\d+)?)|([A-Za-z_]\w*)|(\*\*|<=|>=|[-+*/^(),<>&|])|(\S))/y;
  const BINDING = { "<": 1, ">": 1, "<=": 1, ">=": 1, "|": 2, "&": 3, "+": 4, "-": 4, "*": 5, "/": 5, "**": 7, "^": 7 };
  const SIGN_BINDING = 6; // -a**2 is -(a**2)
  const DEEPEST = 60;
  const LONGEST = 10000;

  function tokens(text) {
    const found = [];
    for (TOKEN.lastIndex = 0; TOKEN.lastIndex < text.trimEnd().length; ) {
      const [, number, name, operator, bad] = TOKEN.exec(text);
      if (bad) throw new FormulaError(`'${bad}' is not part of a formula; remove it.`);
      found.push(number ? { kind: "number", text: number } : name ? { kind: "name", text: name } : { kind: "op", text: operator });
    }
    return found;
  }

  // Letters to change, insert, drop or swap with a neighbour.
  function distance(a, b) {
    const rows = [[...Array(b.length + 1).keys()]];
    for (let i = 1; i <= a.length; i++) {
      const row = [i];
      for (let j = 1; j <= b.length; j++) {
        row[j] = Math.min(rows[i - 1][j] + 1, row[j - 1] + 1, rows[i - 1][j - 1] + (a[i - 1] !== b[j - 1]));
        if (i > 1 && j > 1 && a[i - 1] === b[j - 2] && a[i - 2] === b[j - 1]) row[j] = Math.min(row[j], rows[i - 2][j - 2] + 1);
      }
      rows.push(row);
    }
    return rows.at(-1)[b.length];
  }
  function didYouMean(name, known) {
    const apart = (k) => distance(name.toLowerCase(), k.toLowerCase()) + (name[0] === k[0] ? 0 : 0.5); // first letters are seldom wrong
    const nearest = known.reduce((a, b) => (apart(b) < apart(a) ? b : a));
    return apart(nearest) <= Math.max(1.5, name.length / 2.5) ? ` Did you mean '${nearest}'?` : "";
  }

  // Every node is {type: "number" | "condition" | "pair", at: (environment) => dual, boolean or nodes}.
  class Parser {
    constructor(text, parameters) {
      if (text.length > LONGEST) throw new FormulaError(`a formula of ${text.length} characters: at most ${LONGEST} are read; write fewer terms.`);
      this.tokens = tokens(text);
      this.parameters = parameters;
      this.place = 0;
      this.depth = 0;
      this.used = new Set();
    }
    whole() {
      if (!this.tokens.length) throw new FormulaError("the formula is empty: a gate is a formula in r, for example 1 + atan(tau*(r - 1))/tau.");
      const node = this.operand(0);
      if (this.place < this.tokens.length) throw this.unexpected();
      return this.number(node);
    }
    peek() {
      return this.tokens[this.place]?.text ?? "";
    }
    unexpected() {
      const found = this.peek() ? `'${this.peek()}'` : "the end";
      return new FormulaError(`${found} is not expected there; check operators, commas and brackets.`);
    }
    take(text) {
      if (this.peek() !== text) throw this.unexpected();
      this.place++;
    }
    operand(floor) {
      if (++this.depth > DEEPEST) throw new FormulaError(`the formula is nested deeper than ${DEEPEST}; remove brackets.`);
      let left = this.prefix();
      for (let operator = this.peek(); Object.hasOwn(BINDING, operator) && BINDING[operator] >= floor; operator = this.peek()) {
        this.place++;
        const binding = BINDING[operator];
        left = this.apply(operator, left, this.operand(operator === "**" || operator === "^" ? binding : binding + 1));
      }
      this.depth--;
      return left;
    }
    prefix() {
      const { kind, text } = this.tokens[this.place] ?? {};
      if (text === "+" || text === "-") {
        this.place++;
        const { at } = this.number(this.operand(SIGN_BINDING));
        return text === "+" ? { type: "number", at } : { type: "number", at: (e) => at(e).map((x) => -x) };
      }
      if (text === "(") {
        this.place++;
        const items = this.items();
        return items.length === 1 ? items[0] : { type: "pair", items };
      }
      if (kind === "number") {
        this.place++;
        const constant = [Number(text), 0];
        return { type: "number", at: () => constant };
      }
      if (kind === "name") {
        this.place++;
        return this.peek() === "(" ? this.call(text) : this.named(text);
      }
      throw this.unexpected();
    }
    items() {
      const found = [this.operand(0)];
      while (this.peek() === ",") {
        this.place++;
        if (this.peek() === ")") break;
        found.push(this.operand(0));
      }
      this.take(")");
      return found;
    }
    named(name) {
      if (name === "r" || name === "z") return { type: "number", at: (e) => e[name] };
      if (Object.hasOwn(CONSTANTS, name)) {
        const constant = [CONSTANTS[name], 0];
        return { type: "number", at: () => constant };
      }
      if (this.parameters.includes(name)) {
        this.used.add(name);
        return { type: "number", at: (e) => e.parameters[name] };
      }
      if (name === "True") return { type: "condition", always: true, at: () => true };
      if (Object.hasOwn(FUNCTIONS, name) || name === "Piecewise") throw new FormulaError(`'${name}' is a function and needs an argument: ${name}(...).`);
      const known = [...RESERVED, ...this.parameters];
      throw new FormulaError(`unknown name '${name}'; a formula may use ${known.join(", ")} and functions.${didYouMean(name, [...known, ...Object.keys(FUNCTIONS), "Piecewise"])}`);
    }
    call(name) {
      if (ELSEWHERE.includes(name)) {
        throw new FormulaError(`${name} belongs to the gate language, but this page does not compute it; save the gate as typed.toml and draw it with: sapo-analysis curves typed.toml -o typed.png`);
      }
      const known = [...Object.keys(FUNCTIONS), "Piecewise"];
      if (!known.includes(name)) throw new FormulaError(`unknown function '${name}'; known are ${known.join(", ")}.${didYouMean(name, known)}`);
      this.take("(");
      const items = this.items();
      if (name === "Piecewise") return this.piecewise(items);
      if (items.length !== 1 && !MANY.includes(name)) throw new FormulaError(`${name} takes one argument, not ${items.length}; write ${name}(...).`);
      const inner = items.map((item) => this.number(item).at);
      const apply = FUNCTIONS[name];
      if (inner.length === 1) return { type: "number", at: (e) => apply(inner[0](e)) };
      return { type: "number", at: (e) => apply(...inner.map((at) => at(e))) };
    }
    piecewise(items) {
      const rule = "Piecewise takes pairs and ends with (value, True): Piecewise((value, condition), ..., (value, True)).";
      const pieces = items.map((item) => {
        if (item.type !== "pair" || item.items.length !== 2 || item.items[0].type !== "number" || item.items[1].type !== "condition") throw new FormulaError(rule);
        return [item.items[0].at, item.items[1].at];
      });
      if (!items.at(-1).items[1].always) throw new FormulaError(rule);
      return { type: "number", at: (e) => pieces.find(([, holds]) => holds(e))[0](e) };
    }
    number(node) {
      if (node.type !== "number") throw new FormulaError(`a ${node.type} stands where a number belongs; comparisons belong into Piecewise.`);
      return node;
    }
    apply(operator, left, right) {
      if (operator === "&" || operator === "|") {
        if (left.type !== "condition" || right.type !== "condition") throw new FormulaError(`'${operator}' joins conditions such as r < 1.`);
        const [a, b] = [left.at, right.at];
        return { type: "condition", at: operator === "&" ? (e) => a(e) && b(e) : (e) => a(e) || b(e) };
      }
      const [a, b] = [this.number(left).at, this.number(right).at];
      switch (operator) {
        case "+": return { type: "number", at: (e) => { const [x, y] = [a(e), b(e)]; return [x[0] + y[0], x[1] + y[1]]; } };
        case "-": return { type: "number", at: (e) => { const [x, y] = [a(e), b(e)]; return [x[0] - y[0], x[1] - y[1]]; } };
        case "*": return { type: "number", at: (e) => product(a(e), b(e)) };
        case "/": return { type: "number", at: (e) => quotient(a(e), b(e)) };
        case "**":
        case "^": return { type: "number", at: (e) => power(a(e), b(e)) };
        case "<": return { type: "condition", at: (e) => a(e)[0] < b(e)[0] };
        case ">": return { type: "condition", at: (e) => a(e)[0] > b(e)[0] };
        case "<=": return { type: "condition", at: (e) => a(e)[0] <= b(e)[0] };
        default: return { type: "condition", at: (e) => a(e)[0] >= b(e)[0] };
      }
    }
  }

  // The formula as {at(environment) -> dual, parameters: names it uses}; throws FormulaError.
  function parse(text, parameters) {
    const parser = new Parser(text, parameters);
    const { at } = parser.whole();
    return { at, parameters: [...parser.used] };
  }

  return { parse, times, FormulaError };
})();
