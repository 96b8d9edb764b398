/**
 * Bounds how many lines of one message a log takes: what a peer, a store or a broken disk can cause a thousand times
 * a second must not fill the journal. Of each minute the first lines are written, then every tenfold one with a
 * count. A message is a fixed text, so it names its series. Pure.
 */

/** Lines of one message that a window takes before it only counts. */
const LINES = 20;
const WINDOW_MS = 60_000;
/** More messages than the program has; it bounds the memory. */
const MOST_SERIES = 1000;

interface Series {
  startedMs: number;
  written: number;
  /** Lines beyond LINES in this window, and how many of them make the next count due. */
  beyond: number;
  nextCount: number;
  /** Dropped lines, in this window or the one before, that no written line has counted yet. */
  untold: number;
}

export class LineLimit {
  readonly #series = new Map<string, Series>();

  /**
   * Null when the line is to be dropped; else the number of lines that were dropped since the last written one.
   * `nowMs` may be any clock: one that jumps backwards starts a new window.
   */
  admit(message: string, nowMs: number): number | null {
    const series = this.#current(message, nowMs);
    if (series.written < LINES) {
      series.written += 1;
      return takeUntold(series);
    }
    series.beyond += 1;
    if (series.beyond === series.nextCount) {
      series.nextCount *= 10;
      return takeUntold(series);
    }
    series.untold += 1;
    return null;
  }

  #current(message: string, nowMs: number): Series {
    const known = this.#series.get(message);
    const age = nowMs - (known?.startedMs ?? 0);
    if (known !== undefined && age >= 0 && age < WINDOW_MS) return known;
    if (this.#series.size >= MOST_SERIES) this.#series.clear();
    const series = { startedMs: nowMs, written: 0, beyond: 0, nextCount: 10, untold: known?.untold ?? 0 };
    this.#series.set(message, series);
    return series;
  }
}

function takeUntold(series: Series): number {
  const { untold } = series;
  series.untold = 0;
  return untold;
}
