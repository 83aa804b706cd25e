// Log-ratios from a file that was dropped on the page.
"use strict";

const RatioFile = (() => {
  class RatioFileError extends Error {}
  const SAY = "drop what `sapo-analysis replay --histogram` writes, a run's metrics.jsonl, or JSON with a list of log-ratios";

  // What a dropped file says of the log-ratios, and in words how it was read; throws RatioFileError.
  function read(text) {
    let rows;
    try {
      const whole = JSON.parse(text);
      if (Array.isArray(whole) ? whole.some((x) => typeof x !== "object") : whole.edges || whole.log_ratio) return readOne(whole);
      rows = Array.isArray(whole) ? whole : [whole];
    } catch (error) {
      if (error instanceof RatioFileError) throw error;
      try {
        rows = text.split("\n").filter((line) => line.trim()).map((line) => JSON.parse(line));
      } catch {
        throw new RatioFileError(`the file is neither JSON nor JSON Lines; ${SAY}.`);
      }
    }
    const listed = rows.flatMap((row) => row?.log_ratio ?? []);
    if (listed.length) return listOf(listed);
    return metricsOf(rows);
  }
  function readOne(whole) {
    if (!whole.edges) return listOf(Array.isArray(whole) ? whole : whole.log_ratio);
    const { edges, counts } = whole;
    const total = Array.isArray(counts) ? counts.reduce((a, b) => a + b, 0) : NaN;
    const rises = Array.isArray(edges) && edges.every((x, i) => Number.isFinite(x) && (i === 0 || x > edges[i - 1]));
    if (!rises || !(total > 0) || edges.length !== counts.length + 1 || counts.some((n) => !(n >= 0))) {
      throw new RatioFileError(`a histogram needs rising edges, one more than its counts, which are >= 0 and not all 0; ${SAY}.`);
    }
    const points = counts.map((_, i) => (edges[i] + edges[i + 1]) / 2);
    return { points, weights: counts.map((n) => n / total), says: `a histogram of ${total} log-ratios, each bin at its middle` };
  }
  function listOf(numbers) {
    const points = [numbers].flat(Infinity);
    if (!points.length || !points.every(Number.isFinite)) throw new RatioFileError(`its log-ratios are not all numbers; ${SAY}.`);
    return { points, weights: points.map(() => 1 / points.length), says: `${points.length} log-ratios` };
  }
  function metricsOf(rows) {
    const epochs = rows.map((row) => row?.epoch ?? 1);
    const last = rows.filter((row, i) => epochs[i] === Math.max(...epochs) && Number.isFinite(row?.log_ratio_mean) && Number.isFinite(row?.log_ratio_var));
    if (!last.length) throw new RatioFileError(`it holds no log-ratios; ${SAY}.`);
    const average = (of) => last.reduce((sum, row) => sum + of(row), 0) / last.length;
    const m = average((row) => row.log_ratio_mean);
    const s = Math.sqrt(Math.max(0, average((row) => row.log_ratio_var + row.log_ratio_mean ** 2) - m * m));
    return { normal: [m, s], says: `metrics of ${last.length} updates of the last epoch: log r taken as normal, mean ${m.toPrecision(3)}, standard deviation ${s.toPrecision(3)}` };
  }

  return { read, RatioFileError };
})();
