/** The views as tabs: arrow keys move between them (WAI-ARIA Authoring Practices, tabs). */

import { find } from "./dom.ts";

export type View = "picture" | "matrix" | "hosts" | "networks";
const VIEWS: readonly View[] = ["picture", "matrix", "hosts", "networks"];

export class Tabs {
  readonly #onChange: () => void;
  #view: View = "picture";

  constructor(onChange: () => void) {
    this.#onChange = onChange;
    const wanted = location.hash.slice(1);
    this.#view = VIEWS.find((view) => view === wanted) ?? "picture";
    VIEWS.forEach((view, index) => {
      tabOf(view).addEventListener("click", () => this.#select(view));
      tabOf(view).addEventListener("keydown", (event) => {
        const step = event.key === "ArrowRight" ? 1 : event.key === "ArrowLeft" ? -1 : 0;
        const next = step === 0 ? undefined : VIEWS[(index + step + VIEWS.length) % VIEWS.length];
        if (next === undefined) return;
        this.#select(next);
        tabOf(next).focus();
      });
    });
    this.#mark();
  }

  get view(): View {
    return this.#view;
  }

  #select(view: View): void {
    this.#view = view;
    history.replaceState(null, "", view === "picture" ? location.pathname : `#${view}`);
    this.#mark();
    this.#onChange();
  }

  #mark(): void {
    for (const view of VIEWS) {
      const isChosen = view === this.#view;
      tabOf(view).setAttribute("aria-selected", String(isChosen));
      tabOf(view).tabIndex = isChosen ? 0 : -1;
      find(`panel-${view}`, HTMLElement).hidden = !isChosen;
    }
  }
}

function tabOf(view: View): HTMLButtonElement {
  return find(`tab-${view}`, HTMLButtonElement);
}
