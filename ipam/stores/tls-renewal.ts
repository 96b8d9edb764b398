/**
 * Detects that the certificate files of a connection were replaced.
 *
 * New files that cannot be used are logged once, and the connection stays with the old ones: between the two writes of an
 * installation, certificate and key do not match.
 */

import { FailureSeries } from "../log.ts";
import type { StoreEnvironment, TlsFiles } from "./options.ts";
import { readTlsFiles, type TlsMaterial } from "./tls-files.ts";

/** Certificate files are checked at most this often, and read at each new connection. */
const RECHECK_MS = 10_000;

export class TlsRenewal {
  readonly #files: TlsFiles;
  readonly #environment: StoreEnvironment;
  readonly #failures: FailureSeries;
  #checkedMs = Number.NEGATIVE_INFINITY;
  #check: Promise<boolean> | null = null;

  constructor(files: TlsFiles, environment: StoreEnvironment) {
    this.#files = files;
    this.#environment = environment;
    this.#failures = new FailureSeries(
      environment.log,
      "new certificate files are not usable, staying with the old ones",
      "new certificate files are in use",
    );
  }

  /** True when the files differ from `current` by now, and match each other. Never rejects. */
  async isDue(current: TlsMaterial): Promise<boolean> {
    // A call that came meanwhile must not use a connection that is about to be left.
    if (this.#check !== null) return await this.#check;
    const nowMs = this.#environment.clock.monotonicMs();
    if (nowMs - this.#checkedMs < RECHECK_MS) return false;
    this.#checkedMs = nowMs;
    this.#check = this.#differs(current);
    return await this.#check.finally(() => {
      this.#check = null;
    });
  }

  async #differs(current: TlsMaterial): Promise<boolean> {
    try {
      const { fingerprint } = await readTlsFiles(this.#files, this.#environment.dateMs());
      this.#failures.succeeded();
      return fingerprint !== current.fingerprint;
    } catch (error) {
      this.#failures.failed(error);
      return false;
    }
  }
}
