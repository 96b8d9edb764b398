/** The list of hosts: searchable, those with problems first, some rows at a time. */

import type { HostData } from "../page-server/page-data.ts";
import { find, make, makeButton, replaceChildren, setText } from "./dom.ts";
import type { PageState } from "./page-state.ts";
import { agentText, countText, lossText, pathText, roundTripText, stateText } from "./words.ts";

const ROWS_AT_ONCE = 100;
const RANKS = { bad: 0, lossy: 1 } as Readonly<Record<string, number>>;

interface Row {
  readonly element: HTMLTableRowElement;
  readonly cells: readonly HTMLElement[];
}

export class HostsTable {
  readonly #body = find("hosts", HTMLTableElement).tBodies[0] ?? make("tbody");
  readonly #search = find("search", HTMLInputElement);
  readonly #onlyProblems = find("only-problems", HTMLInputElement);
  readonly #hits = find("hit-count", HTMLSpanElement);
  readonly #more = find("more-hosts", HTMLButtonElement);
  readonly #rows = new Map<string, Row>();
  readonly #onSelect: (id: string) => void;
  #limit = ROWS_AT_ONCE;
  #state: PageState | null = null;

  constructor(onSelect: (id: string) => void) {
    this.#onSelect = onSelect;
    const again = (): void => {
      this.#limit = ROWS_AT_ONCE;
      this.#render();
    };
    this.#search.addEventListener("input", again);
    this.#onlyProblems.addEventListener("change", again);
    this.#more.addEventListener("click", () => {
      this.#limit += ROWS_AT_ONCE;
      this.#render();
    });
  }

  show(state: PageState): void {
    this.#state = state;
    this.#render();
  }

  #render(): void {
    const state = this.#state;
    if (state === null) return;
    const found = this.#found(state);
    const shown = found.slice(0, this.#limit);
    const rows = shown.map((host) => this.#rowOf(host, state));
    replaceChildren(this.#body, rows);
    const kept = new Set(shown.map(({ id }) => id));
    for (const id of this.#rows.keys()) if (!kept.has(id)) this.#rows.delete(id);
    setText(this.#hits, countText(found.length, "host"));
    const left = found.length - shown.length;
    this.#more.hidden = left === 0;
    setText(this.#more, `Show ${Math.min(left, ROWS_AT_ONCE)} more of ${left}`);
  }

  #found(state: PageState): readonly HostData[] {
    const words = this.#search.value.toLowerCase().split(/\s+/).filter(Boolean);
    const isWanted = (host: HostData): boolean => {
      if (this.#onlyProblems.checked && state.levelOf(host) !== "bad") return false;
      if (words.length === 0) return true;
      const text = textOf(host, state);
      return words.every((word) => text.includes(word));
    };
    const rank = (host: HostData): number =>
      host.id === state.self ? -1 : (RANKS[state.levelOf(host)] ?? 2);
    return state.ordered.filter(isWanted).sort((a, b) => rank(a) - rank(b));
  }

  #rowOf(host: HostData, state: PageState): HTMLTableRowElement {
    const row = this.#rows.get(host.id) ?? this.#newRow(host.id);
    this.#rows.set(host.id, row);
    const level = state.levelOf(host);
    const causes = [...new Set(state.pairsOf(host.id).map(({ cause }) => cause))];
    const texts = [
      host.name,
      causes.length > 0 ? causes.join(", ") : stateText(level, host),
      roundTripText(host.roundTripMs),
      lossText(host.loss),
      pathText(host.path),
      host.id,
      host.addresses,
      `${agentText(host)}, ${host.backend}`,
    ];
    row.cells.forEach((cell, index) => {
      setText(cell, texts[index] ?? "");
    });
    row.element.className = level;
    return row.element;
  }

  #newRow(id: string): Row {
    const name = makeButton("", "link", () => this.#onSelect(id));
    const head = make("th", "", name);
    head.scope = "row";
    const state = make("span", "state");
    const cells = ["number", "number", "", "mono", "mono", ""].map((className) => make("td", className));
    const element = make("tr", "", head, make("td", "", state), ...cells);
    return { element, cells: [name, state, ...cells] };
  }
}

function textOf(host: HostData, state: PageState): string {
  const causes = state.pairsOf(host.id).map(({ cause }) => cause);
  const parts = [host.name, host.id, host.addresses, host.nodeId ?? "", agentText(host), host.backend];
  return [...parts, ...causes].join(" ").toLowerCase();
}
