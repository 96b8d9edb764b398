/** All paths as a matrix: a row for each host that sends, a column for each that receives. */

import type { HostData, PairData } from "../page-server/page-data.ts";
import { find, makeSvg, setText } from "./dom.ts";
import { shortName } from "./host-names.ts";
import { measuredLevel, type PageState } from "./page-state.ts";
import { lossText, roundTripText, seenText } from "./words.ts";

export const MOST_HOSTS = 200;
const WIDTH = 760;
const LARGEST_CELL = 34;
/** Rows of smaller cells are lower than a name. */
const SMALLEST_NAMED_CELL = 11;
/** An outline would cover smaller cells. */
const SMALLEST_OUTLINED_CELL = 6;
/** Of the panel, on both sides. */
const PADDING = 34;
const LONGEST_NAME = 24;
/** Of a letter, on the average. */
const LETTER_WIDTH = 6.8;

export class Matrix {
  readonly #svg = find("matrix", SVGSVGElement);
  readonly #text = find("matrix-cell", HTMLOutputElement);
  readonly #limit = find("matrix-limit", HTMLParagraphElement);
  readonly #cells = makeSvg("g", {});
  readonly #cursor = makeSvg("rect", { class: "cursor" });
  #state: PageState | null = null;
  #hosts: readonly HostData[] = [];
  #cell = 0;
  #origin = 0;
  #at: { row: number; column: number } = { row: 0, column: 0 };
  /** What the text is about; null before a person has chosen a cell. */
  #told: string | null = null;

  constructor(onSelect: (id: string) => void) {
    this.#svg.append(this.#cells, this.#cursor);
    this.#svg.setAttribute("tabindex", "0");
    this.#svg.addEventListener("pointermove", (event) => this.#point(event));
    const select = (): void => {
      const host = this.#hosts[this.#at.row];
      if (host !== undefined) onSelect(host.id);
    };
    this.#svg.addEventListener("click", (event) => {
      if (this.#point(event)) select();
    });
    this.#svg.addEventListener("keydown", (event) => {
      const step = STEPS[event.key];
      if (step !== undefined) {
        event.preventDefault();
        this.#move(this.#at.row + step[0], this.#at.column + step[1]);
      } else if (event.key === "Enter") select();
    });
  }

  show(state: PageState): void {
    const isShown = state.hosts.size <= MOST_HOSTS;
    this.#limit.hidden = isShown;
    this.#svg.toggleAttribute("hidden", !isShown);
    setText(
      this.#limit,
      `The matrix shows up to ${MOST_HOSTS} hosts; this network has ${state.hosts.size}. Problems are above, and the view Hosts can be searched.`,
    );
    if (!isShown) return;
    this.#state = state;
    this.#hosts = state.ordered;
    this.#draw(state);
  }

  #draw(state: PageState): void {
    const count = this.#hosts.length;
    const names = this.#hosts.map(({ id }) => shortName(state.nameOf(id), LONGEST_NAME));
    const room = find("panel-matrix", HTMLElement).clientWidth - PADDING;
    const cellIn = (width: number): number =>
      Math.min(LARGEST_CELL, Math.min(WIDTH, width) / Math.max(1, count));
    const origin = Math.max(0, ...names.map(({ length }) => length)) * LETTER_WIDTH + 14;
    const isNamed = cellIn(room - origin) >= SMALLEST_NAMED_CELL;
    this.#origin = isNamed ? origin : 4;
    this.#cell = cellIn(room - this.#origin);
    const size = this.#origin + count * this.#cell + 4;
    this.#svg.setAttribute("viewBox", `0 0 ${size} ${size}`);
    this.#svg.setAttribute("width", String(size));
    this.#svg.classList.toggle("outlined", this.#cell >= SMALLEST_OUTLINED_CELL);
    const places = new Map(this.#hosts.map(({ id }, index) => [id, index]));
    const parts: SVGElement[] = [];
    this.#hosts.forEach((host, index) => {
      parts.push(this.#row(index, isWholeReport(host, state) ? "quiet" : "unknown"));
      if (isNamed) parts.push(...this.#namesAt(index, names[index] ?? ""));
    });
    const own = state.self === null ? undefined : places.get(state.self);
    if (own !== undefined) {
      this.#hosts.forEach((host, column) => {
        if (column !== own) parts.push(this.#square(own, column, measuredLevel(host)));
      });
    }
    this.#hosts.forEach((_, index) => {
      parts.push(this.#square(index, index, "diagonal"));
    });
    for (const { from, to } of state.pairs) {
      const row = places.get(from);
      const column = places.get(to);
      if (row !== undefined && column !== undefined) parts.push(this.#square(row, column, "bad"));
    }
    this.#cells.replaceChildren(...parts);
    this.#move(this.#at.row, this.#at.column, false);
    // Not for each round trip: a screen reader reads it out.
    if (this.#told !== null && this.#told !== this.#subject()) this.#tell();
  }

  #row(row: number, className: string): SVGElement {
    const { y } = this.#corner(row, 0);
    const width = this.#hosts.length * this.#cell;
    return makeSvg("rect", { x: this.#origin, y, width, height: this.#side, class: className });
  }

  #square(row: number, column: number, className: string): SVGElement {
    const { x, y } = this.#corner(row, column);
    return makeSvg("rect", { x, y, width: this.#side, height: this.#side, class: className });
  }

  #namesAt(index: number, name: string): readonly SVGElement[] {
    const middle = this.#origin + (index + 0.5) * this.#cell;
    const end = this.#origin - 6;
    return [
      makeSvg("text", { x: end, y: middle + 4, class: "end" }, name),
      makeSvg("text", { transform: `translate(${middle + 4} ${end}) rotate(-90)`, class: "start" }, name),
    ];
  }

  #corner(row: number, column: number): { x: number; y: number } {
    return { x: this.#origin + column * this.#cell, y: this.#origin + row * this.#cell };
  }

  get #side(): number {
    return this.#cell > 8 ? this.#cell - 1.5 : this.#cell - 0.4;
  }

  /** False beside the cells. */
  #point(event: MouseEvent): boolean {
    const box = this.#svg.getBoundingClientRect();
    const scale = this.#svg.viewBox.baseVal.width / box.width;
    const place = (pixels: number): number => Math.floor((pixels * scale - this.#origin) / this.#cell);
    const column = place(event.clientX - box.left);
    const row = place(event.clientY - box.top);
    const isInside = [row, column].every((at) => at >= 0 && at < this.#hosts.length);
    if (isInside) this.#move(row, column);
    return isInside;
  }

  #move(row: number, column: number, isTold = true): void {
    const last = this.#hosts.length - 1;
    const within = (at: number): number => Math.max(0, Math.min(last, at));
    this.#at = { row: within(row), column: within(column) };
    const { x, y } = this.#corner(this.#at.row, this.#at.column);
    for (const [name, value] of Object.entries({ x, y, width: this.#side, height: this.#side }))
      this.#cursor.setAttribute(name, String(value));
    if (isTold) this.#tell();
  }

  #tell(): void {
    this.#told = this.#subject();
    setText(this.#text, this.#describe());
  }

  /** The hosts of the cell, and the cause when the path is broken. */
  #subject(): string {
    const { row, column } = this.#at;
    return [this.#hosts[row]?.id, this.#hosts[column]?.id, this.#brokenPath()?.cause].join(" ");
  }

  #brokenPath(): PairData | undefined {
    const [from, to] = [this.#hosts[this.#at.row]?.id, this.#hosts[this.#at.column]?.id];
    return this.#state?.pairs.find((pair) => pair.from === from && pair.to === to);
  }

  #describe(): string {
    const from = this.#hosts[this.#at.row];
    const to = this.#hosts[this.#at.column];
    const state = this.#state;
    if (from === undefined || to === undefined || state === null) return "";
    const nameOf = (id: string): string => state.nameOf(id);
    if (from === to) return nameOf(from.id);
    const way = `${nameOf(from.id)} → ${nameOf(to.id)}: `;
    const bad = this.#brokenPath();
    if (bad !== undefined) return `${way}${bad.cause}, ${seenText(bad, nameOf)}`;
    if (from.id === state.self) return `${way}${roundTripText(to.roundTripMs)}, loss ${lossText(to.loss)}`;
    if (from.nodeId === null) return `${way}not known: flanneld does not report`;
    if (isWholeReport(from, state)) return `${way}no problem reported`;
    return `${way}not known: of the broken paths of ${nameOf(from.id)} not all are listed`;
  }
}

/** Whether a path that a host does not name as broken works, as far as the host knows. */
function isWholeReport({ id, nodeId }: HostData, { counted }: PageState): boolean {
  return nodeId !== null && !Object.hasOwn(counted, id);
}

const STEPS: Readonly<Record<string, readonly [number, number]>> = {
  ArrowUp: [-1, 0],
  ArrowDown: [1, 0],
  ArrowLeft: [0, -1],
  ArrowRight: [0, 1],
};
