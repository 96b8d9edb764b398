/** The one line that `systemctl status` shows: what this host is in its networks, else why it is not ready. */

import { errorMessage } from "../../ipam/errors.ts";
import { escapeText } from "../../ipam/escape.ts";
import { type Faults, guarded } from "../../ipam/faults.ts";
import type { ServiceNotifier } from "./sd-notify.ts";

/** How often the summary is compared with the line sent last: peers come and go without a call. */
const LOOK_EVERY_MS = 1000;
/** In UTF-16 units: a few lines of a terminal. */
const STATUS_LIMIT = 300;

export class ServiceStatus {
  readonly #notifier: ServiceNotifier;
  readonly #timer: NodeJS.Timeout;
  #summary: () => string = () => "starting";
  #isAnnounced = false;
  #sent = "";

  constructor(notifier: ServiceNotifier, faults: Faults) {
    this.#notifier = notifier;
    this.#timer = setInterval(
      guarded(faults, "the service status", () => this.#update()),
      LOOK_EVERY_MS,
    );
    this.#timer.unref();
  }

  /** Takes the source of the line, without a full stop. */
  follow(summary: () => string): void {
    this.#summary = summary;
    this.#update();
  }

  /** Packets can flow. */
  ready(): void {
    this.#isAnnounced = true;
    this.#sent = this.#text();
    this.#notifier.ready(this.#sent);
  }

  /** Brackets a reload, as sd_notify(3) asks for it. */
  async reload(monotonicMs: number, action: () => Promise<void>): Promise<void> {
    if (this.#isAnnounced) this.#notifier.reloading(monotonicMs);
    try {
      await action();
    } finally {
      if (this.#isAnnounced) this.ready();
    }
  }

  close(): void {
    clearInterval(this.#timer);
  }

  #text(): string {
    try {
      return escapeText(this.#summary(), STATUS_LIMIT);
    } catch (error) {
      return escapeText(`the state cannot be read: ${errorMessage(error)}`, STATUS_LIMIT);
    }
  }

  #update(): void {
    const text = this.#text();
    if (text === this.#sent) return;
    this.#sent = text;
    this.#notifier.status(text);
  }
}
