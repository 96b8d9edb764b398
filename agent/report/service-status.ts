/**
 * The one line that `systemctl status` shows: what this host is in its network, else what it waits for.
 *
 * Decides nothing: readiness comes from the agent, and the reason why there is none is the last one that was logged.
 */

import { escapeText } from "../../ipam/escape.ts";
import type { LogFields } from "../../ipam/log.ts";
import type { AdjustableLogger } from "./log.ts";
import type { ServiceNotifier } from "./sd-notify.ts";

/** What is asked again and again. */
export interface ServiceView {
  readonly isReady: boolean;
  /** Null before this host has joined its network. */
  readonly summary: string | null;
}

/** Longest problem, in UTF-16 units: one line of a terminal or three. */
const STATUS_LIMIT = 300;

const NOT_JOINED: ServiceView = { isReady: false, summary: null };

/** Peers come and go without a line in the log. */
const LOOK_EVERY_MS = 1000;

export class ServiceStatus {
  readonly #notifier: ServiceNotifier;
  readonly #timer: NodeJS.Timeout;
  #view = NOT_JOINED;
  #isAnnounced = false;
  #said = "";
  #problem = "starting";

  constructor(notifier: ServiceNotifier) {
    this.#notifier = notifier;
    this.#timer = setInterval(() => this.#update(), LOOK_EVERY_MS);
    this.#timer.unref();
  }

  /** One line without a full stop. */
  get text(): string {
    const { isReady, summary } = this.#view;
    if (isReady && summary !== null) return summary;
    return summary === null ? this.#problem : `not ready: ${this.#problem}`;
  }

  /** A log that hands everything on and keeps the last problem. */
  listenTo(logger: AdjustableLogger): AdjustableLogger {
    const heard =
      (write: (message: string, fields?: LogFields) => void) =>
      (message: string, fields: LogFields = {}): void => {
        write(message, fields);
        const details = fields.problem ?? fields.reason ?? fields.error;
        if (details === undefined) return;
        this.#problem = escapeText(`${message}: ${details}`, STATUS_LIMIT);
        this.#update();
      };
    return { ...logger, warn: heard(logger.warn), error: heard(logger.error) };
  }

  /** Whom it speaks of from now on. */
  follow(view: ServiceView): void {
    this.#view = view;
  }

  /** Packets can flow. */
  ready(): void {
    this.#isAnnounced = true;
    this.#said = this.text;
    this.#notifier.ready(this.#said);
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

  #update(): void {
    const text = this.text;
    if (text === this.#said) return;
    this.#said = text;
    this.#notifier.status(text);
  }
}
