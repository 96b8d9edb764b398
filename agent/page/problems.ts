/** What is wrong, in front of everything else. */

import { find, make, replaceChildren, setText } from "./dom.ts";
import type { Problem } from "./grouping.ts";
import type { PageState } from "./page-state.ts";
import { type Card, makeCard } from "./problem-card.ts";
import { ageText, countText } from "./words.ts";

const SHOWN_AT_FIRST = 4;
const MOST_SHOWN = 200;
/** Of hosts whose broken paths are only counted. */
const MOST_COUNTED = 3;

export class Problems {
  readonly #list = find("problem-list", HTMLUListElement);
  readonly #none = find("no-problems", HTMLParagraphElement);
  readonly #more = find("more-problems", HTMLButtonElement);
  readonly #cards = new Map<string, Card>();
  /** Of those that are open, as CardOptions. */
  readonly #open = new Set<string>();
  readonly #onSelect: (id: string) => void;
  #limit = SHOWN_AT_FIRST;
  #state: PageState | null = null;

  constructor(onSelect: (id: string) => void) {
    this.#onSelect = onSelect;
    this.#more.addEventListener("click", () => {
      this.#limit = this.#limit === SHOWN_AT_FIRST ? MOST_SHOWN : SHOWN_AT_FIRST;
      if (this.#state !== null) this.show(this.#state);
    });
  }

  show(state: PageState): void {
    this.#state = state;
    const sentences = sentencesOf(state);
    const items = [
      ...state.problems.map((problem) => () => this.#cardOf(problem, state)),
      ...sentences.map((text) => () => this.#sentence(text)),
    ];
    const cards = items.slice(0, this.#limit).map((makeItem) => makeItem());
    replaceChildren(
      this.#list,
      cards.map(({ element }) => element),
    );
    for (const card of cards) if (card.since > 0) setText(card.age, `for ${ageText(state.now - card.since)}`);
    this.#forgetBut(new Set(cards));
    // Of a network that is not joined nothing is known.
    this.#none.hidden = items.length > 0 || state.self === null;
    const left = Math.min(items.length, MOST_SHOWN) - SHOWN_AT_FIRST;
    this.#more.hidden = left <= 0;
    setText(this.#more, this.#limit === SHOWN_AT_FIRST ? `Show ${left} more` : "Show fewer");
  }

  #forgetBut(shown: ReadonlySet<Card>): void {
    for (const [id, card] of this.#cards) if (!shown.has(card)) this.#cards.delete(id);
  }

  #cardOf(problem: Problem, state: PageState): Card {
    const names = [...problem.left, ...problem.right].map((id) => state.nameOf(id));
    const id = JSON.stringify([problem.links, names, state.hosts.size]);
    const known = this.#cards.get(id);
    if (known !== undefined) return known;
    return this.#remember(id, makeCard(problem, { state, onSelect: this.#onSelect, open: this.#open }));
  }

  #sentence(text: string): Card {
    const known = this.#cards.get(text);
    if (known !== undefined) return known;
    const element = make("li", "problem sentence", make("p", "", text));
    return this.#remember(text, { element, age: make("span"), since: 0 });
  }

  #remember(id: string, card: Card): Card {
    this.#cards.set(id, card);
    return card;
  }
}

/** Beside broken paths: this host's other problems, counted paths, and why the picture may be incomplete. */
function sentencesOf(state: PageState): readonly string[] {
  const own = (state.own?.problems ?? []).map((text) => `This host: ${text}`);
  return [...countedSentences(state), ...own, ...state.notes];
}

/** Those with the most paths first. */
function countedSentences(state: PageState): readonly string[] {
  const hosts = Object.entries(state.counted).sort(([, a], [, b]) => b - a);
  const left = hosts.length - MOST_COUNTED;
  if (left <= 0)
    return hosts.map(([id, count]) => `${state.nameOf(id)} has ${countText(count, "more broken path")}.`);
  const named = hosts.slice(0, MOST_COUNTED).map(([id, count]) => `${state.nameOf(id)} (${count})`);
  return [
    `${countText(hosts.length, "host")} have more broken paths than are shown here: ${named.join(", ")} and ${left} more.`,
  ];
}
