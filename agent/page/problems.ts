/** What is wrong, in front of everything else. */

import { find, make, makeButton, replaceChildren, setText } from "./dom.ts";
import { type Link, type PageState, type Problem, problemsOf } from "./page-state.ts";
import { ageText, countText } from "./words.ts";

const SHOWN_AT_FIRST = 4;
/** Of the hosts of one problem. */
const MOST_NAMED = 6;
const MOST_SHOWN = 200;

interface Card {
  readonly element: HTMLLIElement;
  readonly age: HTMLElement;
  readonly since: number;
}

export class Problems {
  readonly #list = find("problem-list", HTMLUListElement);
  readonly #none = find("no-problems", HTMLParagraphElement);
  readonly #more = find("more-problems", HTMLButtonElement);
  readonly #cards = new Map<string, Card>();
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
    const problems = problemsOf(state.pairs, state.self);
    const sentences = sentencesOf(state);
    const items = [
      ...problems.map((problem) => () => this.#cardOf(problem, state)),
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
    const ends = problem.links.flatMap(({ pair }) => [state.nameOf(pair.from), state.nameOf(pair.to)]);
    const id = JSON.stringify([problem, ends]);
    const known = this.#cards.get(id);
    if (known !== undefined) return known;
    const age = make("span", "age");
    const [first] = problem.links;
    const element = make("li", "problem");
    if (first === undefined) return this.#remember(id, { element, age, since: 0 });
    const { pair } = first;
    const title =
      problem.hub === null ? this.#linkTitle(first, state) : this.#hubTitle(problem.hub, problem, state);
    const head = make("p", "pair", ...title, " ", make("code", "cause", pair.cause), age);
    element.append(head, ...seenOf(problem, first, state));
    element.append(make("p", "remedy", make("b", "", "What to do: "), `${pair.remedy}.`));
    const since = Math.min(...problem.links.map(({ pair }) => pair.since));
    return this.#remember(id, { element, age, since });
  }

  #linkTitle({ pair, back }: Link, state: PageState): readonly Node[] {
    const arrow = make("span", "arrow", back === null ? " → " : " ⇄ ");
    arrow.setAttribute("aria-label", back === null ? " to " : " and ");
    arrow.setAttribute("role", "img");
    return [this.#hostButton(pair.from, state), arrow, this.#hostButton(pair.to, state)];
  }

  #hubTitle(hub: string, { links }: Problem, state: PageState): readonly (Node | string)[] {
    const others = links.map(({ pair }) => (pair.from === hub ? pair.to : pair.from));
    const named = others.slice(0, MOST_NAMED).flatMap((id) => [this.#hostButton(id, state), ", "]);
    const left = others.length - MOST_NAMED;
    const rest = left > 0 ? [`and ${left} more`] : [];
    const list = left > 0 ? named : named.slice(0, -1);
    return [
      this.#hostButton(hub, state),
      ` and ${countText(others.length, "other host")}: `,
      ...list,
      ...rest,
    ];
  }

  #hostButton(id: string, state: PageState): HTMLButtonElement {
    return makeButton(state.nameOf(id), "link", () => this.#onSelect(id));
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

/** What both ends of a link see; of several links the first is an example. */
function seenOf({ hub }: Problem, { pair, back }: Link, state: PageState): readonly HTMLElement[] {
  const isBackTold = hub === null && back !== null && (back.cause !== pair.cause || back.seen !== pair.seen);
  return (isBackTold ? [pair, back] : [pair]).map(({ from, to, seen }) =>
    make("p", "seen", `${state.nameOf(from)}, on the path to ${state.nameOf(to)}: ${seen}.`),
  );
}

/** Beside broken paths: this host's other problems, counted paths, and why the picture may be incomplete. */
function sentencesOf(state: PageState): readonly string[] {
  const counted = Object.entries(state.counted).map(
    ([id, count]) => `${state.nameOf(id)} has ${countText(count, "more broken path")}.`,
  );
  const own = (state.own?.problems ?? []).map((text) => `This host: ${text}`);
  return [...counted, ...own, ...state.notes];
}
