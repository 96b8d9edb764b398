/** The network as a picture. Hosts that stay keep their dots; an update touches only those that changed. */

import type { HostData, PairData } from "../page-server/page-data.ts";
import { find, makeSvg, setText } from "./dom.ts";
import { bendOf, type Layout, layOut, layOutRing, mostNamed, type Point, type Space } from "./layout.ts";
import { linksOf } from "./links.ts";
import { type Level, measuredLevel, type PageState } from "./page-state.ts";
import { type DrawnName, middleName, ringNames, ringRadius, scatteredNames } from "./picture-names.ts";
import { countText, lossText, roundTripText, stateText } from "./words.ts";

/** In pixels, where they are not known yet. */
const WIDTH = 1000;
const HEIGHT = 680;
/** Around hosts without names. */
const MARGIN = 35;
/** Lines to more hosts would hide the picture. */
const MOST_SPOKES = 100;
const MOST_CHORDS = 400;
/** More lines are thin. */
const MOST_THICK = 40;

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
  #space: Space = { width: 1, height: 1 };
  /** Of the ring of named hosts; null where there are too many for one. */
  #ring: number | null = null;
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
    new ResizeObserver(() => this.#fit()).observe(this.#svg);
  }

  show(state: PageState, selected: string | null): void {
    this.#state = state;
    const isRebuilt = this.#generation !== state.generation;
    if (isRebuilt) this.#place(state);
    this.#generation = state.generation;
    const { blamed } = state;
    for (const host of state.hosts.values()) this.#colour(host, levelIn(host, blamed));
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

  #fit(): void {
    const { clientWidth: width, clientHeight: height } = this.#svg;
    const state = this.#state;
    if (width === 0 || state === null) return;
    if (width === this.#space.width && height === this.#space.height) return;
    this.#generation = -1;
    this.show(state, this.#selected);
  }

  #place(state: PageState): void {
    this.#space = { width: this.#svg.clientWidth || WIDTH, height: this.#svg.clientHeight || HEIGHT };
    const { width, height } = this.#space;
    const peers = state.ordered.filter(({ id }) => id !== state.self);
    const ring = ringRadius(
      this.#space,
      peers.map(({ id }) => state.nameOf(id)),
    );
    this.#ring = peers.length <= mostNamed(ring) ? ring : null;
    const layout =
      this.#ring === null
        ? layOut(peers.length, Math.min(width, height) / 2 - MARGIN)
        : layOutRing(peers.length, ring);
    this.#svg.setAttribute("viewBox", `0 0 ${width} ${height}`);
    this.#placed.clear();
    const own = state.self === null ? undefined : state.hosts.get(state.self);
    const centre = this.#centre;
    peers.forEach((host, index) => {
      const { x, y } = layout.points[index] ?? { x: 0, y: 0 };
      const at = { x: round(centre.x + x), y: round(centre.y + y) };
      this.#add(host.id, at, layout, peers.length <= MOST_SPOKES);
    });
    if (own !== undefined)
      this.#add(own.id, centre, { ...layout, dot: Math.max(9, layout.dot * 1.3) }, false);
    const all = [...this.#placed.values()];
    this.#svg.classList.toggle("many", this.#ring === null);
    this.#dots.replaceChildren(...all.map(({ dot }) => dot));
    this.#spokes.replaceChildren(...all.flatMap(({ spoke }) => spoke ?? []));
  }

  get #centre(): Point {
    return { x: this.#space.width / 2, y: this.#space.height / 2 };
  }

  #add(id: string, at: Point, { dot: radius }: Layout, hasSpoke: boolean): void {
    const dot = makeSvg("circle", { cx: at.x, cy: at.y, r: round(radius), "data-host": id });
    const centre = this.#centre;
    const line = { x1: centre.x, y1: centre.y, x2: at.x, y2: at.y };
    const spoke = hasSpoke ? makeSvg("line", line) : null;
    this.#placed.set(id, { at, dot, spoke, shown: null, level: "" });
  }

  #colour(host: HostData, level: Level): void {
    const placed = this.#placed.get(host.id);
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
        const bend = bendOf(from.at, to.at, this.#centre);
        const isStraight = pair.from === state.self || pair.to === state.self;
        const way = isStraight ? "L" : `Q${round(bend.x)} ${round(bend.y)} `;
        const d = `M${from.at.x} ${from.at.y}${way}${to.at.x} ${to.at.y}`;
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
    this.#chords.classList.toggle("crowded", lines.length > MOST_THICK);
    this.#chords.replaceChildren(...lines);
    // In front of the hosts that work, behind those that it joins.
    const ends = [...this.#placed].filter(([id]) => state.pairsOf(id).length > 0).map(([, { dot }]) => dot);
    this.#dots.append(...ends);
  }

  #drawNames(state: PageState): void {
    const texts = this.#namesFor(state).map(({ text, attributes }) => makeSvg("text", attributes, text));
    this.#names.replaceChildren(...texts);
  }

  /** Of all hosts, or where they are too many, of those with problems. */
  #namesFor(state: PageState): readonly DrawnName[] {
    const isNamed = ({ id }: HostData): boolean => this.#ring !== null || state.pairsOf(id).length > 0;
    const hosts = state.ordered.filter(isNamed);
    const placed = hosts.flatMap(({ id }) => {
      const at = this.#placed.get(id)?.at;
      return at === undefined ? [] : [{ id, at, name: state.nameOf(id) }];
    });
    if (this.#ring === null) {
      const { blamed } = state;
      const rank = ({ id }: { readonly id: string }): number => (blamed.has(id) ? 0 : 1);
      return scatteredNames(
        placed.sort((a, b) => rank(a) - rank(b)),
        this.#space,
      );
    }
    const ring = this.#ring;
    const peers = placed.filter(({ id }) => id !== state.self);
    const own = placed.filter(({ id }) => id === state.self);
    return [...ringNames(peers, ring, this.#space), ...own.map((host) => middleName(host, ring))];
  }

  #select(id: string | null): void {
    if (this.#selected === id) return;
    for (const each of [this.#selected, id]) {
      if (each !== null) this.#placed.get(each)?.dot.toggleAttribute("data-selected", each === id);
    }
    this.#selected = id;
  }
}

/** A host whose broken paths are the problem of another one looks as it is measured. */
function levelIn(host: HostData, blamed: ReadonlySet<string>): Level {
  return blamed.has(host.id) ? "bad" : measuredLevel(host);
}

function round(value: number): number {
  return Math.round(value * 10) / 10;
}
