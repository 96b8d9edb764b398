/**
 * Debian's Chromium in a network namespace, driven by playwright-core over a pipe. It reaches what the namespace reaches.
 *
 * Its own sandbox is off: tests run as root, for whom Chromium has none.
 */

import { chmodSync, existsSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import process from "node:process";
import { type Browser, chromium } from "playwright-core";
import type { TestNetns } from "./netns.ts";

const PROGRAM = "/usr/bin/chromium";

/** Why no browser can be had here; null when it can. With CI set a test that lacks it fails instead of being skipped. */
export function missingBrowser(): string | null {
  return existsSync(PROGRAM) || process.env.CI ? null : "Debian's package chromium is not installed";
}

export interface OpenBrowser {
  readonly browser: Browser;
  close(): Promise<void>;
}

/** Starts a browser. It ends with `close()`, and when this process ends. */
export async function openBrowser(netns: Pick<TestNetns, "path">): Promise<OpenBrowser> {
  const folder = mkdtempSync(join(tmpdir(), "tulle-browser-"));
  const launcher = join(folder, "chromium");
  const enter = `exec setpriv --pdeathsig KILL nsenter --net=${netns.path} ${PROGRAM} "$@"`;
  writeFileSync(launcher, `#!/bin/sh\nHOME=${folder}\nexport HOME\n${enter}\n`);
  chmodSync(launcher, 0o755);
  const browser = await chromium.launch({
    executablePath: launcher,
    args: ["--no-sandbox", "--disable-dev-shm-usage", "--disable-gpu", "--disable-background-networking"],
  });
  return {
    browser,
    close: async () => {
      await browser.close();
      rmSync(folder, { recursive: true, force: true });
    },
  };
}
