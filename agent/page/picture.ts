/** The network as a picture. Hosts that stay keep their dots; an update touches only those that changed. */

import type { HostData, PairData } from "../page-server/page-data.ts";
import { find, makeSvg, setText } from "./dom.ts";
import { shortName } from "./host-names.ts";
import { bendOf, type Layout, layOut, NAMED_HOSTS, type Point, roomOutside } from "./layout.ts";
import { linksOf } from "./links.ts";
import { measuredLevel, type PageState } from "./page-state.ts";
import { countText, lossText, roundTripText, stateText } from "./words.ts";

const CENTRE: Point = { x: 500, y: 340 };
/** With room for names outside. */
const NAMED_RADIUS = 215;
const RADIUS = 305;
/** Lines to more hosts would hide the picture. */
const MOST_SPOKES = 100;
const MOST_CHORDS = 400;
/** With more hosts on the ring names would cover each other, unless they point outward. */
const MOST_LEVEL_NAMES = 14;
/** Of a letter, on the average. */
const LETTER_WIDTH = 7.6;
const LINE_HEIGHT = 16;
/** Between the middle of a dot and its name, where names point outward. */
const NAME_GAP = 17;
/** Of a name: beside each dot, and under the one in the middle, is room for so many. */
const MOST_LETTERS = 36;

interface Placed {
  readonly at: Point;
  readonly dot: SVGCircleElement;
  readonly spoke: SVGLineElement | null;
  shown: HostData | null;
  level: string;
}

export class Picture {
  readonly #svg = find("picture", SVGSVGElement);
  readonly #title = find("picture-title", SVGTitleElement);
  readonly #spokes = makeSvg("g", { class: "spokes" });
  readonly #chords = makeSvg("g", { class: "chords" });
  readonly #dots = makeSvg("g", { class: "dots" });
  readonly #names = makeSvg("g", { class: "names" });
  readonly #placed = new Map<string, Placed>();
  #state: PageState | null = null;
  #generation = -1;
  #pairs: readonly PairData[] | null = null;
  /** A host has another name than the one that is drawn. */
  #isRenamed = false;
  #selected: string | null = null;

  constructor(onSelect: (id: string) => void) {
    this.#svg.append(this.#spokes, this.#dots, this.#chords, this.#names);
    this.#svg.addEventListener("click", (event) => {
      const id = event.target instanceof Element ? event.target.getAttribute("data-host") : null;
      if (id !== null) onSelect(id);
    });
    this.#svg.addEventListener("pointerover", ({ target }) => this.#explain(target));
  }

  show(state: PageState, selected: string | null): void {
    this.#state = state;
    const isRebuilt = this.#generation !== state.generation;
    if (isRebuilt) this.#place(state);
    this.#generation = state.generation;
    for (const host of state.hosts.values()) this.#colour(host, state);
    if (isRebuilt || this.#isRenamed || this.#pairs !== state.pairs) {
      this.#drawChords(state);
      this.#drawNames(state);
    }
    this.#isRenamed = false;
    this.#pairs = state.pairs;
    this.#select(selected);
    const broken = state.pairs.length === 0 ? "no broken path" : countText(state.pairs.length, "broken path");
    setText(this.#title, `The network: ${countText(state.hosts.size, "host")}, ${broken}`);
  }

  #place(state: PageState): void {
    const peers = state.ordered.filter(({ id }) => id !== state.self);
    const isNamed = peers.length <= NAMED_HOSTS;
    const layout = layOut(peers.length, isNamed ? NAMED_RADIUS : RADIUS);
    this.#placed.clear();
    const own = state.self === null ? undefined : state.hosts.get(state.self);
    peers.forEach((host, index) => {
      this.#add(host.id, moved(layout.points[index]), layout, peers.length <= MOST_SPOKES);
    });
    if (own !== undefined)
      this.#add(own.id, CENTRE, { ...layout, dot: Math.max(9, layout.dot * 1.3) }, false);
    const all = [...this.#placed.values()];
    this.#svg.classList.toggle("many", !isNamed);
    this.#dots.replaceChildren(...all.map(({ dot }) => dot));
    this.#spokes.replaceChildren(...all.flatMap(({ spoke }) => spoke ?? []));
  }

  #add(id: string, at: Point, { dot: radius }: Layout, hasSpoke: boolean): void {
    const dot = makeSvg("circle", { cx: round(at.x), cy: round(at.y), r: round(radius), "data-host": id });
    const line = { x1: CENTRE.x, y1: CENTRE.y, x2: round(at.x), y2: round(at.y) };
    const spoke = hasSpoke ? makeSvg("line", line) : null;
    this.#placed.set(id, { at, dot, spoke, shown: null, level: "" });
  }

  #colour(host: HostData, state: PageState): void {
    const placed = this.#placed.get(host.id);
    const level = state.levelOf(host);
    if (placed === undefined || (placed.shown === host && placed.level === level)) return;
    if (placed.level !== level) placed.dot.setAttribute("class", level);
    if (placed.shown?.name !== host.name) this.#isRenamed = true;
    // A host with a broken path to another may be reached well from here.
    placed.spoke?.setAttribute("class", measuredLevel(host));
    placed.shown = host;
    placed.level = level;
  }

  /** Tells what the pointer is on: thousands of titles would make the picture slow. */
  #explain(target: EventTarget | null): void {
    const id = target instanceof SVGCircleElement ? target.getAttribute("data-host") : null;
    const host = id === null ? undefined : this.#state?.hosts.get(id);
    if (host === undefined || this.#state === null || !(target instanceof SVGCircleElement)) return;
    const measures =
      host.state === null ? "" : `, ${roundTripText(host.roundTripMs)}, loss ${lossText(host.loss)}`;
    const text = `${host.name}: ${stateText(this.#state.levelOf(host), host)}${measures}`;
    target.replaceChildren(makeSvg("title", {}, text));
  }

  #drawChords(state: PageState): void {
    const lines = linksOf(state.pairs, state.self)
      .slice(0, MOST_CHORDS)
      .flatMap(({ pair, back }) => {
        const from = this.#placed.get(pair.from);
        const to = this.#placed.get(pair.to);
        if (from === undefined || to === undefined) return [];
        const bend = bendOf(from.at, to.at, CENTRE);
        const isStraight = pair.from === state.self || pair.to === state.self;
        const way = isStraight ? "L" : `Q${round(bend.x)} ${round(bend.y)} `;
        const d = `M${round(from.at.x)} ${round(from.at.y)}${way}${round(to.at.x)} ${round(to.at.y)}`;
        const path = makeSvg("path", {
          d,
          "data-host": pair.from,
          class: back === null ? "one-way" : "both-ways",
        });
        const arrow = back === null ? "→" : "⇄";
        path.append(
          makeSvg("title", {}, `${state.nameOf(pair.from)} ${arrow} ${state.nameOf(pair.to)}: ${pair.cause}`),
        );
        return [path];
      });
    this.#chords.replaceChildren(...lines);
    // In front of the hosts that work, behind those that it joins.
    const ends = [...this.#placed].filter(([id]) => state.pairsOf(id).length > 0).map(([, { dot }]) => dot);
    this.#dots.append(...ends);
  }

  #drawNames(state: PageState): void {
    const peers = state.hosts.size - 1;
    const names = peers > NAMED_HOSTS ? this.#namesOfBad(state) : this.#allNames(state);
    this.#names.replaceChildren(...names);
  }

  #allNames({ hosts, ordered }: PageState): readonly SVGTextElement[] {
    const place = hosts.size - 1 <= MOST_LEVEL_NAMES ? levelName : outwardName;
    return ordered.flatMap(({ id, name }) => {
      const placed = this.#placed.get(id);
      return placed === undefined ? [] : [place(placed.at, name)];
    });
  }

  /** Of hosts with problems as many as do not cover each other. */
  #namesOfBad(state: PageState): readonly SVGTextElement[] {
    const boxes: Box[] = [];
    return state.ordered.flatMap(({ id, name }) => {
      const placed = this.#placed.get(id);
      if (placed === undefined || state.pairsOf(id).length === 0) return [];
      const { x, y } = placed.at;
      const isRight = x >= CENTRE.x;
      const short = shortName(name, MOST_LETTERS);
      const width = short.length * LETTER_WIDTH;
      const box = { left: isRight ? x + 10 : x - 10 - width, top: y - LINE_HEIGHT / 2, width };
      if (boxes.some((other) => doOverlap(box, other))) return [];
      boxes.push(box);
      const side = isRight ? "start" : "end";
      return [makeSvg("text", { x: round(x + (isRight ? 12 : -12)), y: round(y + 5), class: side }, short)];
    });
  }

  #select(id: string | null): void {
    if (this.#selected === id) return;
    for (const each of [this.#selected, id]) {
      if (each !== null) this.#placed.get(each)?.dot.toggleAttribute("data-selected", each === id);
    }
    this.#selected = id;
  }
}

function moved(point: Point = { x: 0, y: 0 }): Point {
  return { x: CENTRE.x + point.x, y: CENTRE.y + point.y };
}

interface Box {
  readonly left: number;
  readonly top: number;
  readonly width: number;
}

function doOverlap(a: Box, b: Box): boolean {
  const isApart = a.left + a.width < b.left || b.left + b.width < a.left;
  return !isApart && Math.abs(a.top - b.top) < LINE_HEIGHT;
}

/** Outside of the ring; that of this host below it. */
function levelName({ x, y }: Point, name: string): SVGTextElement {
  const dx = x - CENTRE.x;
  const dy = y - CENTRE.y;
  const length = Math.hypot(dx, dy);
  if (length < 1) return ownName({ x, y }, name);
  const side = Math.abs(dx) < 25 ? "middle" : dx > 0 ? "start" : "end";
  const gap = 18;
  return makeSvg(
    "text",
    { x: round(x + (dx / length) * gap), y: round(y + (dy / length) * (gap + 2) + 5), class: side },
    shortName(name, MOST_LETTERS),
  );
}

/** Along the line from the middle, and never upside down. */
function outwardName({ x, y }: Point, name: string): SVGTextElement {
  const angle = Math.atan2(y - CENTRE.y, x - CENTRE.x);
  if (Math.hypot(x - CENTRE.x, y - CENTRE.y) < 1) return ownName({ x, y }, name);
  const isLeft = Math.abs(angle) > Math.PI / 2;
  const degrees = (angle * 180) / Math.PI + (isLeft ? 180 : 0);
  const room = roomOutside(angle, NAMED_RADIUS + NAME_GAP, CENTRE);
  const short = shortName(name, Math.min(MOST_LETTERS, Math.floor(room / LETTER_WIDTH)));
  const at = `translate(${round(x)} ${round(y)}) rotate(${round(degrees)})`;
  return makeSvg(
    "text",
    { transform: at, x: isLeft ? -NAME_GAP : NAME_GAP, y: 5, class: isLeft ? "end" : "start" },
    short,
  );
}

function ownName({ x, y }: Point, name: string): SVGTextElement {
  return makeSvg("text", { x, y: y + 32, class: "middle" }, shortName(name, MOST_LETTERS));
}

function round(value: number): number {
  return Math.round(value * 10) / 10;
}
