/** The page: takes what the daemon tells, and shows the view that is open, at most once in a frame. */

import { Connection } from "./connection.ts";
import { Detail } from "./detail.ts";
import { find, setText } from "./dom.ts";
import { HostsTable } from "./hosts-table.ts";
import { Matrix } from "./matrix.ts";
import { NetworksView } from "./networks-view.ts";
import { PageState } from "./page-state.ts";
import { Picture } from "./picture.ts";
import { Problems } from "./problems.ts";
import { Tabs } from "./tabs.ts";
import { countText } from "./words.ts";

const state = new PageState();
let selected: string | null = null;
let isScheduled = false;

const select = (id: string | null): void => {
  selected = id;
  detail.open(id);
  render();
  if (id !== null) detail.focus();
};
const detail = new Detail(select);
const problems = new Problems(select);
const picture = new Picture(select);
const matrix = new Matrix(select);
const hosts = new HostsTable(select);
const networks = new NetworksView();
const tabs = new Tabs(() => render());

function render(): void {
  isScheduled = false;
  showHeader();
  problems.show(state);
  if (tabs.view === "picture") picture.show(state, selected);
  else if (tabs.view === "matrix") matrix.show(state);
  else if (tabs.view === "hosts") hosts.show(state);
  else networks.show(state);
  detail.show(state);
}

function schedule(): void {
  if (isScheduled) return;
  isScheduled = true;
  // A page in the background gets no frames, and needs none.
  requestAnimationFrame(render);
}

function showHeader(): void {
  const { own, self, badHosts } = state;
  const broken =
    badHosts === 0
      ? "all paths work, as far as is known"
      : `${badHosts.toLocaleString("en")} with broken paths`;
  setText(
    find("summary", HTMLElement),
    self === null
      ? `this host has not joined its network: ${own?.summary ?? ""}`
      : `${countText(state.hosts.size, "host")}, ${broken}`,
  );
  find("summary", HTMLElement).classList.toggle("broken", badHosts > 0);
  setText(find("network", HTMLElement), [own?.ranges.join(", "), own?.backend].filter(Boolean).join(" · "));
  document.title = badHosts === 0 ? "tulle" : `(${badHosts}) tulle`;
}

const CONNECTION_TEXTS = {
  connecting: "connecting…",
  live: "live",
  silent: "no news from the daemon; the picture may be old",
  locked: "token needed",
  lost: "connection lost, trying again; the picture is old",
} as const;

function showWork(isShown: boolean): void {
  find("work", HTMLElement).hidden = !isShown;
  find("login", HTMLElement).hidden = isShown;
}

const connection = new Connection({
  onAll(data) {
    showWork(true);
    state.replace(data);
    schedule();
  },
  onUpdate(update) {
    state.take(update);
    schedule();
  },
  onState(name) {
    const place = find("connection", HTMLElement);
    if (place.dataset.state === name) return;
    place.dataset.state = name;
    setText(place, CONNECTION_TEXTS[name]);
  },
  onDenied() {
    showWork(false);
    this.onState("locked");
    find("token", HTMLInputElement).focus();
  },
});

find("login", HTMLFormElement).addEventListener("submit", (event) => {
  event.preventDefault();
  const input = find("token", HTMLInputElement);
  void connection.give(input.value.trim()).then((problem) => {
    setText(find("login-error", HTMLElement), problem ?? "");
    input.value = "";
    if (problem === null) void connection.open();
  });
});

void connection.open();
