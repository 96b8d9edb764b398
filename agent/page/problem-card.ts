/** One problem for a person: which hosts, what was seen, what to do, and its paths on demand. */

import type { PairData } from "../page-server/page-data.ts";
import { make, makeButton } from "./dom.ts";
import { evidenceOf, type Problem } from "./grouping.ts";
import type { Link } from "./links.ts";
import type { PageState } from "./page-state.ts";
import { countText, namedText, seenText } from "./words.ts";

/** Of the hosts on one side of a problem. */
const MOST_NAMED = 6;
/** Of a problem that hosts see in several ways. */
const MOST_CAUSES = 3;
const MOST_PATHS = 200;
/** Of hosts that a remedy names. */
const MOST_JOINED = 3;

export interface Card {
  readonly element: HTMLLIElement;
  readonly age: HTMLElement;
  /** As in PairData. */
  readonly since: number;
}

export interface CardOptions {
  readonly state: PageState;
  readonly onSelect: (id: string) => void;
  /** Problems whose paths are shown, by their first host: they stay open when the problem changes. */
  readonly open: Set<string>;
}

type Nodes = readonly (Node | string)[];

export function makeCard(problem: Problem, options: CardOptions): Card {
  const age = make("span", "age");
  const causes = causesOf(problem);
  const isGroup = problem.links.length > 1;
  const element = make("li", "problem");
  element.append(make("p", "pair", ...titleOf(problem, options), age), ...membersOf(problem, options));
  for (const pairs of causes.slice(0, MOST_CAUSES))
    element.append(...causeParts(pairs, isGroup, options.state));
  if (isGroup) element.append(pathList(problem, options));
  for (const control of element.querySelectorAll<HTMLElement>("button, summary"))
    control.dataset.key = `${problem.left[0]} ${control.textContent}`;
  const since = Math.min(...problem.links.map(({ pair }) => pair.since));
  return { element, age, since };
}

function titleOf({ left, right, links }: Problem, options: CardOptions): Nodes {
  const all = options.state.hosts.size;
  const [hub = ""] = left;
  const [first] = links;
  if (first !== undefined && links.length === 1) return linkParts(first, options);
  if (right.length === 0)
    return [`Every path among ${left.length === all ? "all" : "these"} ${left.length} hosts is broken`];
  if (left.length > 1)
    return [
      left.length + right.length === all
        ? "The network is in two parts: every path between them is broken"
        : "Every path between these two groups of hosts is broken",
    ];
  const others =
    right.length === all - 1 ? `all ${right.length} other hosts` : countText(right.length, "host");
  return [hostButton(hub, options), ` has broken paths to ${others}`];
}

/** Who is concerned, where the title does not say it. */
function membersOf({ left, right, links }: Problem, options: CardOptions): readonly HTMLElement[] {
  if (links.length === 1) return [];
  if (right.length === 0) return [make("p", "members", ...namesOf(left, options))];
  if (left.length === 1) return [make("p", "members", ...namesOf(right, options))];
  return [left, right].map((side) =>
    make("p", "members", `${countText(side.length, "host")}: `, ...namesOf(side, options)),
  );
}

function namesOf(ids: readonly string[], options: CardOptions): Nodes {
  const names = ids
    .slice(0, MOST_NAMED)
    .flatMap((id, index) => [...(index === 0 ? [] : [", "]), hostButton(id, options)]);
  const left = ids.length - MOST_NAMED;
  return left > 0 ? [...names, ` and ${left} more`] : names;
}

/** What hosts see by one cause; the cause that most paths have comes first. */
function causesOf({ links }: Problem): readonly (readonly PairData[])[] {
  const causes = new Map<string, PairData[]>();
  for (const pair of links.flatMap(evidenceOf)) {
    const known = causes.get(pair.cause);
    if (known === undefined) causes.set(pair.cause, [pair]);
    else known.push(pair);
  }
  return [...causes.values()].sort((a, b) => b.length - a.length);
}

/** A cause, what was seen, of several paths as an example, and what to do. */
function causeParts(pairs: readonly PairData[], isGroup: boolean, state: PageState): readonly HTMLElement[] {
  const [first] = pairs;
  if (first === undefined) return [];
  const nameOf: NameOf = (id) => state.nameOf(id);
  const seen = pairs.map((pair) => seenText(pair, nameOf));
  const shown = isGroup ? [`For example, ${seen[0]}`] : new Set(seen);
  const remedy = namedText(first.remedy, reportersOf(pairs, nameOf), peerOf(pairs, nameOf));
  return [
    ...[...shown].map((text, index) =>
      make("p", "seen", ...(index === 0 ? [codeOf(first.cause), " "] : []), text),
    ),
    make("p", "remedy", make("b", "", "What to do: "), `${remedy}.`),
  ];
}

type NameOf = (id: string) => string;

/** What "this host" is in a remedy for all the pairs. */
function reportersOf(pairs: readonly PairData[], nameOf: NameOf): string {
  const hosts = distinct(pairs.map(({ from }) => from));
  const isOfBothEnds = distinct(pairs.map(({ to }) => to)).length > 1 && !pairs[0]?.isOwnFault;
  if (hosts.length > 1 && isOfBothEnds) return "the other host";
  return hosts.length > MOST_JOINED ? "each of these hosts" : hosts.map(nameOf).join(" and ");
}

/** What "the peer" is. */
function peerOf(pairs: readonly PairData[], nameOf: NameOf): string {
  const [peer = "", ...others] = distinct(pairs.map(({ to }) => to));
  return others.length === 0 ? nameOf(peer) : "the peer";
}

function distinct(ids: readonly string[]): readonly string[] {
  return [...new Set(ids)];
}

/** Filled when it is opened: it may be long. */
function pathList({ left, links }: Problem, options: CardOptions): HTMLDetailsElement {
  const [key = ""] = left;
  const list = make("ul", "plain");
  const title = `The ${countText(links.length, "broken path")}`;
  const details = make("details", "", make("summary", "", title), list);
  const fill = (): void => {
    const items = links.slice(0, MOST_PATHS).map((link) => {
      const codes = [...new Set(evidenceOf(link).map(({ cause }) => cause))];
      return make("li", "", ...linkParts(link, options), ...codes.flatMap((code) => [" ", codeOf(code)]));
    });
    const rest = links.length - items.length;
    list.replaceChildren(...items, ...(rest > 0 ? [make("li", "", `and ${rest} more`)] : []));
  };
  details.open = options.open.has(key);
  if (details.open) fill();
  details.addEventListener("toggle", () => {
    if (!details.open) options.open.delete(key);
    else if (!options.open.has(key)) {
      options.open.add(key);
      fill();
    }
  });
  return details;
}

function linkParts({ pair, back }: Link, options: CardOptions): Nodes {
  const arrow = make("span", "arrow", back === null ? " → " : " ⇄ ");
  arrow.setAttribute("aria-label", back === null ? " to " : " and ");
  arrow.setAttribute("role", "img");
  return [hostButton(pair.from, options), arrow, hostButton(pair.to, options)];
}

function hostButton(id: string, { state, onSelect }: CardOptions): HTMLButtonElement {
  return makeButton(state.nameOf(id), "link", () => onSelect(id));
}

function codeOf(cause: string): HTMLElement {
  return make("code", "cause", cause);
}
