// Log-ratios from a file that was dropped on the page.
"use strict";

const RatioFile = (() => {
  class RatioFileError extends Error {}
  const SAY = "drop what `sapo-analysis replay --histogram` writes, a run's metrics.jsonl or ratios/step-N.safetensors, or JSON with a list of log-ratios";
  const MOST = 20000; // log-ratios that are kept one by one

  // What a dropped file says of the log-ratios, and in words how it was read; throws RatioFileError.
  async function read(file) {
    return file.name.endsWith(".safetensors") ? readTensors(await file.arrayBuffer()) : readText(await file.text());
  }
  // The last epoch's log-ratios of the tokens that count, as the trainer keeps them.
  function readTensors(buffer) {
    try {
      const length = Number(new DataView(buffer).getBigUint64(0, true));
      const header = JSON.parse(new TextDecoder().decode(new Uint8Array(buffer, 8, length)));
      const bytes = ({ data_offsets: [start, end] }) => buffer.slice(8 + length + start, 8 + length + end);
      const { log_ratio, counts } = header;
      const ends = Object.values(header).map((one) => one.data_offsets?.[1] ?? 0);
      if (Math.max(...ends) !== buffer.byteLength - 8 - length) throw new RangeError("not whole");
      if (log_ratio.dtype !== "F32" || counts.dtype !== "U8") throw new RangeError("other types");
      const [shares, all] = [new Uint8Array(bytes(counts)), new Float32Array(bytes(log_ratio))];
      return listOf([...all.slice(all.length - shares.length)].filter((_, i) => shares[i]));
    } catch (error) {
      if (error instanceof RatioFileError) throw error;
      throw new RatioFileError(`it holds no log-ratios that a run kept; ${SAY}.`);
    }
  }
  function readText(text) {
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
    if (points.length <= MOST) return { points, weights: points.map(() => 1 / points.length), says: `${points.length} log-ratios` };
    const sorted = Float64Array.from(points).sort();
    const bounds = [...Array(MOST + 1).keys()].map((i) => Math.round((i * sorted.length) / MOST));
    const parts = bounds.slice(1).map((end, i) => sorted.subarray(bounds[i], end));
    return {
      points: parts.map((part) => part.reduce((a, b) => a + b, 0) / part.length),
      weights: parts.map((part) => part.length / sorted.length),
      says: `${points.length} log-ratios, in ${MOST} groups of neighbours, each at its mean`,
    };
  }
  function metricsOf(rows) {
    const epochs = rows.map((row) => row?.epoch ?? 1);
    const newest = epochs.reduce((a, b) => Math.max(a, b), -Infinity);
    const last = rows.filter((row, i) => epochs[i] === newest && Number.isFinite(row?.log_ratio_mean) && Number.isFinite(row?.log_ratio_var));
    if (!last.length) throw new RatioFileError(`it holds no log-ratios; ${SAY}.`);
    const average = (of) => last.reduce((sum, row) => sum + of(row), 0) / last.length;
    const m = average((row) => row.log_ratio_mean);
    const s = Math.sqrt(Math.max(0, average((row) => row.log_ratio_var + row.log_ratio_mean ** 2) - m * m));
    return { normal: [m, s], says: `metrics of ${last.length} updates of the last epoch: log r taken as normal, mean ${m.toPrecision(3)}, standard deviation ${s.toPrecision(3)}` };
  }

  return { read, RatioFileError };
})();
