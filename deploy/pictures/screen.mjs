/**
 * What a screen shows over time, from what a program wrote to its terminal: as much of ECMA-48 as tulle writes, which is
 * line breaks, carriage returns and styles. Pure.
 */

/** Select Graphic Rendition parameters, and the style after them. */
const STYLES = {
  0: () => ({}),
  1: (style) => ({ ...style, weight: "bold" }),
  2: (style) => ({ ...style, weight: "dim" }),
  22: ({ weight, ...style }) => style,
  31: (style) => ({ ...style, colour: "red" }),
  32: (style) => ({ ...style, colour: "green" }),
  33: (style) => ({ ...style, colour: "yellow" }),
  36: (style) => ({ ...style, colour: "cyan" }),
  39: ({ colour, ...style }) => style,
};

/**
 * The looks of all rows, in the order of time: `{ row, fromMs, untilMs, spans }`. `untilMs` is null for those that remain;
 * spans are `{ column, text, style }`, without blanks around them. Throws for a sequence that it does not know.
 */
export function looksOf(chunks) {
  const screen = new Screen();
  const looks = [];
  const last = new Map();
  for (const { atMs, text } of chunks) {
    for (const row of screen.write(text)) {
      const spans = screen.spansOf(row);
      const before = last.get(row);
      if (before !== undefined) before.untilMs = atMs;
      last.delete(row);
      if (spans.length === 0) continue;
      const look = { row, fromMs: atMs, untilMs: null, spans };
      looks.push(look);
      last.set(row, look);
    }
  }
  return looks;
}

class Screen {
  #rows = [[]];
  #row = 0;
  #column = 0;
  #style = {};

  /** Returns the numbers of the rows that changed. */
  write(text) {
    const changed = new Set();
    // biome-ignore lint/suspicious/noControlCharactersInRegex: the escape character begins a sequence.
    for (const [part, parameters] of text.matchAll(/\x1b\[([\d;]*)m|[\s\S]/gu)) {
      if (parameters !== undefined) this.#applyStyle(parameters);
      else if (part === "\r") this.#column = 0;
      else if (part === "\n") this.#nextRow();
      else if (part < " ") throw new Error(`control character ${JSON.stringify(part)} is not known`);
      else {
        this.#rows[this.#row][this.#column++] = { character: part, style: this.#style };
        changed.add(this.#row);
      }
    }
    return changed;
  }

  /** Neighbouring characters of one style; a gap of two blanks divides them. */
  spansOf(row) {
    const cells = Array.from(this.#rows[row], (cell) => cell ?? { character: " ", style: {} });
    const spans = [];
    for (const [column, { character, style }] of cells.entries()) {
      const span = spans.at(-1);
      if (span !== undefined && span.style === style) span.text += character;
      else spans.push({ column, text: character, style });
    }
    return spans.flatMap(wordsOf);
  }

  #applyStyle(parameters) {
    for (const parameter of (parameters || "0").split(";")) {
      const apply = STYLES[parameter];
      if (apply === undefined) throw new Error(`style ${parameter} is not known`);
      this.#style = apply(this.#style);
    }
  }

  #nextRow() {
    this.#row += 1;
    this.#rows[this.#row] ??= [];
  }
}

function wordsOf({ column, text, style }) {
  return [...text.matchAll(/\S+(?: \S+)*/gu)].map((match) => ({
    column: column + [...text.slice(0, match.index)].length,
    text: match[0],
    style,
  }));
}
