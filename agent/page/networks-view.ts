/** Named networks and their containers, fetched when they are shown. */

import type { ContainerData, NetworkData } from "../page-server/page-data.ts";
import { fetchList } from "./connection.ts";
import { find, make, setText } from "./dom.ts";
import type { PageState } from "./page-state.ts";
import { countText } from "./words.ts";

export class NetworksView {
  readonly #note = find("networks-note", HTMLParagraphElement);
  readonly #list = find("networks", HTMLDivElement);
  #revision: number | null = -1;

  show({ revisions: { networks } }: PageState): void {
    if (networks === this.#revision) return;
    this.#revision = networks;
    if (networks === null) {
      setText(
        this.#note,
        "Named networks are off on this host: tulled serves them where Docker is installed.",
      );
      this.#list.replaceChildren();
      return;
    }
    void fetchList<NetworkData>("/api/networks").then((list) => {
      // A later answer is on its way, or networks are off meanwhile.
      if (this.#revision !== networks) return;
      if (list !== null) this.#fill(list);
      else {
        this.#revision = -1;
        setText(this.#note, "The daemon does not answer: this list may be old.");
      }
    });
  }

  #fill(networks: readonly NetworkData[]): void {
    const note = networks.length === 0 ? 'There is no named network; "tulle network create" makes one.' : "";
    setText(this.#note, note);
    this.#list.replaceChildren(...networks.map(sectionOf));
  }
}

function sectionOf({ name, subnets, vni, isInternal, containers, others }: NetworkData): HTMLElement {
  const total = countText(containers.length + others, "container");
  const facts = [subnets, `VNI ${vni}`, ...(isInternal ? ["internal"] : []), total].join(" · ");
  const section = make("section", "named", make("h3", "", name), make("p", "hint", facts));
  if (containers.length > 0) section.append(tableOf(name, containers));
  if (others > 0) section.append(make("p", "hint", `and ${others} more; "tulle ps" lists all`));
  return section;
}

function tableOf(network: string, containers: readonly ContainerData[]): HTMLElement {
  const head = make("tr", "", ...["Container", "Addresses", "Host", "Engine"].map(columnHead));
  const rows = containers.map(({ name, addresses, host, engine }) => {
    const cell = make("th", "", name);
    cell.scope = "row";
    return make("tr", "", cell, make("td", "mono", addresses), make("td", "", host), make("td", "", engine));
  });
  const caption = make("caption", "hidden", `Containers in ${network}`);
  const table = make("table", "", caption, make("thead", "", head), make("tbody", "", ...rows));
  return make("div", "wide", table);
}

function columnHead(text: string): HTMLTableCellElement {
  const cell = make("th", "", text);
  cell.scope = "col";
  return cell;
}
