/** What is known of one host. */

import type { EventData, HostData, PairData } from "../page-server/page-data.ts";
import { fetchList } from "./connection.ts";
import { find, make, makeButton, replaceChildren, setText } from "./dom.ts";
import type { PageState } from "./page-state.ts";
import {
  agentText,
  ageText,
  countText,
  lossText,
  namedText,
  pathText,
  roundTripText,
  seenText,
  stateText,
} from "./words.ts";

const MOST_EVENTS = 30;
const MOST_PAIRS = 50;
const WORST_PEERS = 10;

export class Detail {
  readonly #aside = find("detail", HTMLElement);
  readonly #title = find("detail-title", HTMLHeadingElement);
  readonly #body = find("detail-body", HTMLDivElement);
  readonly #onSelect: (id: string) => void;
  #id: string | null = null;
  #text = "";
  /** Null while they cannot be read. */
  #events: readonly EventData[] | null = [];
  #eventRevision = -1;
  #opener: HTMLElement | null = null;

  constructor(onSelect: (id: string | null) => void) {
    this.#onSelect = onSelect;
    const close = (): void => {
      onSelect(null);
      this.#opener?.focus();
    };
    find("close-detail", HTMLButtonElement).addEventListener("click", close);
    document.addEventListener("keydown", (event) => {
      if (event.key === "Escape" && this.#id !== null) close();
    });
  }

  /** Opens the host, or closes with null. */
  open(id: string | null): void {
    const focused = document.activeElement;
    if (id !== null && focused instanceof HTMLElement && !this.#aside.contains(focused))
      this.#opener = focused;
    this.#id = id;
    this.#text = "";
    this.#aside.hidden = id === null;
  }

  focus(): void {
    this.#aside.focus();
  }

  show(state: PageState): void {
    if (this.#id === null) return;
    this.#followEvents(state);
    this.#render(state);
  }

  #render(state: PageState): void {
    if (this.#id === null) return;
    const host = state.hosts.get(this.#id);
    setText(this.#title, host?.name ?? "This host has left");
    const parts = host === undefined ? [] : this.#parts(host, state);
    // What has not changed stays: a person may have selected text in it.
    const text = parts.map(({ textContent }) => textContent).join("\n");
    if (text === this.#text) return;
    this.#text = text;
    const hadFocus = this.#body.contains(document.activeElement);
    replaceChildren(this.#body, parts);
    if (hadFocus && !this.#body.contains(document.activeElement)) this.focus();
  }

  /** `list` tells the buttons of one host apart. */
  #hostButton(id: string, list: string, state: PageState): HTMLButtonElement {
    const button = makeButton(state.nameOf(id), "link", () => this.#onSelect(id));
    button.dataset.key = `${list} ${id}`;
    return button;
  }

  #parts(host: HostData, state: PageState): readonly HTMLElement[] {
    const isOwn = host.id === state.self;
    return [
      factList(factsOf(host, state)),
      ...this.#pairs(host, state),
      ...(isOwn ? [...ownProblems(state), ...this.#peers(state)] : []),
      ...(isOwn
        ? []
        : [make("p", "hint", `Devices and repairs are known on the host itself: "tulle status".`)]),
      ...this.#eventList(host, isOwn),
    ];
  }

  #pairs(host: HostData, state: PageState): readonly HTMLElement[] {
    const pairs = state.pairsOf(host.id);
    const counted = Object.hasOwn(state.counted, host.id) ? (state.counted[host.id] ?? 0) : 0;
    if (pairs.length + counted === 0) return [];
    const told = new Set<string>();
    const items = pairs.slice(0, MOST_PAIRS).map((pair) => {
      const isTold = told.has(pair.cause);
      told.add(pair.cause);
      return this.#pair(pair, isTold, host.id, state);
    });
    const left = pairs.length + counted - items.length;
    const rest = items.length === 0 ? `${left}, which are not listed` : `and ${left} more`;
    if (left > 0) items.push(make("li", "", rest));
    return [make("h3", "", "Broken paths"), make("ul", "plain", ...items)];
  }

  /** What to do is told once for each cause. */
  #pair(pair: PairData, isTold: boolean, id: string, state: PageState): HTMLLIElement {
    const { from, to, cause, remedy, since } = pair;
    const other = from === id ? to : from;
    const way = from === id ? "to " : "seen from ";
    const peer = this.#hostButton(other, way, state);
    const head = make("p", "", way, peer, " ", make("code", "cause", cause));
    const age = make("p", "hint", `for ${ageText(state.now - since)}`);
    const nameOf = (host: string): string => state.nameOf(host);
    const text = `${namedText(remedy, nameOf(from), nameOf(to))}.`;
    const todo = isTold ? [] : [make("p", "remedy", make("b", "", "What to do: "), text)];
    return make("li", "", head, make("p", "", seenText(pair, nameOf)), ...todo, age);
  }

  #peers(state: PageState): readonly HTMLElement[] {
    const peers = state.ordered.filter(({ id, roundTripMs }) => id !== state.self && roundTripMs !== null);
    const slow = peers.sort((a, b) => (b.roundTripMs ?? 0) - (a.roundTripMs ?? 0)).slice(0, WORST_PEERS);
    if (slow.length === 0) return [];
    const items = slow.map((peer) => {
      const name = this.#hostButton(peer.id, "slow", state);
      return make("li", "", name, ` ${roundTripText(peer.roundTripMs)}, loss ${lossText(peer.loss)}`);
    });
    return [make("h3", "", "Longest round trips"), make("ul", "plain", ...items)];
  }

  #eventList(host: HostData, isOwn: boolean): readonly HTMLElement[] {
    const isAbout = ({ fields }: EventData): boolean =>
      fields.some(
        ([, value]) => value.includes(host.id) || (host.nodeId !== null && value.includes(host.nodeId)),
      );
    const title = isOwn ? "Last events" : "Last events of this page's host about it";
    if (this.#events === null) return [make("h3", "", title), make("p", "hint", "not available now")];
    const events = isOwn ? this.#events : this.#events.filter(isAbout);
    if (events.length === 0) return [make("h3", "", title), make("p", "hint", "none")];
    return [
      make("h3", "", title),
      make("ul", "plain events", ...events.slice(0, MOST_EVENTS).map(eventItem)),
    ];
  }

  #followEvents(state: PageState): void {
    const { events } = state.revisions;
    if (events === this.#eventRevision) return;
    this.#eventRevision = events;
    void fetchList<EventData>("/api/events").then((list) => {
      this.#events = list;
      this.#render(state);
      // Asked again with the next update: a daemon that does not answer sends none.
      if (list === null) this.#eventRevision = -1;
    });
  }
}

function factsOf(host: HostData, state: PageState): readonly (readonly [string, string])[] {
  const level = state.levelOf(host);
  const isOwn = host.id === state.self;
  const measured: readonly (readonly [string, string])[] = [
    ["Path from this page's host", pathText(host.path)],
    ["Round trip", roundTripText(host.roundTripMs)],
    ["Loss", lossText(host.loss)],
  ];
  return [
    ["State", stateText(level, host)],
    ["Lease", host.id + (host.isReservation ? " (a reservation)" : "")],
    ["Public address", host.addresses],
    ["Backend", host.backend],
    ["Agent", agentText(host)],
    ...(host.kernel === null ? [] : [["Kernel release", host.kernel] as const]),
    ...(host.nodeId === null ? [] : [["Node id", host.nodeId] as const]),
    ...(isOwn ? (state.own?.facts.filter(([name]) => name !== "Lease") ?? []) : measured),
  ];
}

function factList(facts: readonly (readonly [string, string])[]): HTMLElement {
  return make("dl", "", ...facts.flatMap(([name, value]) => [make("dt", "", name), make("dd", "", value)]));
}

function ownProblems({ own }: PageState): readonly HTMLElement[] {
  const problems = own?.problems ?? [];
  if (problems.length === 0) return [];
  const items = problems.map((text) => make("li", "", text));
  return [make("h3", "", countText(problems.length, "problem")), make("ul", "plain", ...items)];
}

function eventItem({ time, level, message, fields }: EventData): HTMLLIElement {
  const stamp = make("time", "", time.replace("T", " ").replace(/\.\d+Z$/, " UTC"));
  const values = fields.map(([name, value]) => `${name}=${value}`).join(" ");
  return make("li", `event-${level}`, stamp, ` ${message} `, make("span", "hint", values));
}
