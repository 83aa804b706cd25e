// Small parts of the page: elements, numbers as read, and a slider with a box for the exact number beside it.
"use strict";

const Controls = (() => {
  const element = (tag, properties = {}, ...children) => {
    const made = Object.assign(document.createElement(tag), properties);
    made.append(...children);
    return made;
  };
  const short = (x) => (x === null || Number.isNaN(x) ? "–" : String(Number(x.toPrecision(4))));

  const STEPS = 400;
  // How a place in 0..STEPS becomes a number: evenly between two ends, otherwise by factors around the trained value.
  function scaleOf(lower, upper, start) {
    if (lower !== null && upper !== null) {
      const margin = (upper - lower) / 100;
      return { to: (k) => lower + margin + (k / STEPS) * (upper - lower - 2 * margin), from: (x) => ((x - lower - margin) / (upper - lower - 2 * margin)) * STEPS };
    }
    const base = lower ?? 0;
    const unit = start - base;
    return { to: (k) => base + unit * 20 ** (k / (STEPS / 2) - 1), from: (x) => (Math.log((x - base) / unit) / Math.log(20) + 1) * (STEPS / 2) };
  }
  function slider({ id, label, says, start, domain, lower, upper, changed }) {
    const scale = scaleOf(lower, upper, start);
    const range = element("input", { type: "range", id, min: 0, max: STEPS, step: 1 });
    const number = element("input", { type: "number", id: `${id}-number`, step: "any" });
    range.setAttribute("aria-label", label + (says ? `: ${says}` : ""));
    number.setAttribute("aria-label", `${label}, as a number`);
    const told = element("p", { className: "says wrong", role: "status" });
    const judge = (fits) => {
      number.setAttribute("aria-invalid", String(!fits));
      told.textContent = fits ? "" : `${label} must lie in ${domain}; the curves stay where they were.`;
    };
    const show = (x) => {
      range.value = Math.round(scale.from(x));
      number.value = Number(x.toPrecision(6));
      range.setAttribute("aria-valuetext", short(x));
      judge(true);
    };
    const set = (x) => {
      show(x);
      changed(x);
    };
    range.addEventListener("input", () => {
      const x = Number(scale.to(Number(range.value)).toPrecision(4));
      number.value = x;
      range.setAttribute("aria-valuetext", short(x));
      judge(true);
      changed(x);
    });
    number.addEventListener("input", () => {
      const x = number.valueAsNumber;
      const above = lower === null || x > lower || (x === lower && domain.startsWith("["));
      const below = upper === null || x < upper || (x === upper && domain.endsWith("]"));
      const fits = Number.isFinite(x) && above && below;
      judge(fits);
      if (!fits) return;
      range.value = Math.round(scale.from(x));
      changed(x);
    });
    show(start);
    const text = element("label", { htmlFor: id }, label);
    if (says) text.append(" ", element("i", {}, says));
    return { box: element("div", { className: "slider" }, text, range, number, told), set };
  }

  return { element, short, slider };
})();
