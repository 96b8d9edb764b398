/** Makes and finds elements. Text only ever becomes a text node. */

const SVG = "http://www.w3.org/2000/svg";

/** An element of index.html. Throws when there is none of this kind. */
export function find<T extends Element>(id: string, kind: new () => T): T {
  const found = document.getElementById(id);
  if (found instanceof kind) return found;
  throw new Error(`index.html has no ${kind.name} #${id}`);
}

type Child = Node | string;

/** `make("td", "number", "5 ms")`: an element with a class and contents. */
export function make<K extends keyof HTMLElementTagNameMap>(
  tag: K,
  className = "",
  ...children: readonly Child[]
): HTMLElementTagNameMap[K] {
  const element = document.createElement(tag);
  if (className !== "") element.className = className;
  element.append(...children);
  return element;
}

export function makeSvg<K extends keyof SVGElementTagNameMap>(
  tag: K,
  attributes: Readonly<Record<string, string | number>>,
  text?: string,
): SVGElementTagNameMap[K] {
  const element = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, String(value));
  if (text !== undefined) element.textContent = text;
  return element;
}

export function makeButton(text: string, className: string, act: () => void): HTMLButtonElement {
  const button = make("button", className, text);
  button.type = "button";
  button.addEventListener("click", act);
  return button;
}

/** Writes it only when it differs: a status that is written again is read out again. */
export function setText(element: Element, text: string): void {
  if (element.textContent !== text) element.textContent = text;
}

/** Replaces the children and keeps the focus: on its element, else on the new one with the same `data-key`. */
export function replaceChildren(parent: Element, children: readonly Node[]): void {
  const isSame =
    parent.childNodes.length === children.length &&
    children.every((child, index) => parent.childNodes[index] === child);
  if (isSame) return;
  const focused = document.activeElement;
  const isWithin = focused instanceof HTMLElement && parent.contains(focused);
  parent.replaceChildren(...children);
  if (!isWithin) return;
  const heirs = [...parent.querySelectorAll<HTMLElement>("[data-key]")];
  const heir = heirs.find(({ dataset }) => dataset.key === focused.dataset.key);
  (parent.contains(focused) ? focused : heir)?.focus({ preventScroll: true });
}
