/**
 * Notices that the certificate files of a connection were replaced.
 *
 * New files that cannot be used are said once, and the connection stays with the old ones: between two writes of
 * whoever installs them, certificate and key do not fit each other.
 */

import { FailureSeries } from "../log.ts";
import type { StoreEnvironment, TlsFiles } from "./options.ts";
import { readTlsFiles, type TlsMaterial } from "./tls-files.ts";

/** Certificate files are looked at again at most this often, and at each new connection. */
const RECHECK_MS = 10_000;

export class TlsRenewal {
  readonly #files: TlsFiles;
  readonly #environment: StoreEnvironment;
  readonly #failures: FailureSeries;
  #checkedMs = Number.NEGATIVE_INFINITY;

  constructor(files: TlsFiles, environment: StoreEnvironment) {
    this.#files = files;
    this.#environment = environment;
    this.#failures = new FailureSeries(
      environment.log,
      "new certificate files are not usable, staying with the old ones",
      "new certificate files are in use",
    );
  }

  /** True when other files than `current` are there by now, and fit. Never rejects. */
  async isDue(current: TlsMaterial): Promise<boolean> {
    const nowMs = this.#environment.clock.monotonicMs();
    if (nowMs - this.#checkedMs < RECHECK_MS) return false;
    this.#checkedMs = nowMs;
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
