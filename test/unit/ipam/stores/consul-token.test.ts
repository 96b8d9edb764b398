/** Token files that hold more than a token: found before a server is asked. */

import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, it } from "vitest";
import { systemClock } from "../../../../ipam/clock.ts";
import { silentLogger } from "../../../../ipam/log.ts";
import { openConsulStore } from "../../../../ipam/stores/consul/store.ts";

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "tulle-token-"));
});
afterEach(() => rmSync(folder, { recursive: true }));

it.each(["b1946ac9\nb1946ac9\n", "b1946ac9\0", "b1946ac9\u200b", "# token\nb1946ac9"])(
  "names the file that holds %j",
  async (text) => {
    const tokenFile = join(folder, "token");
    writeFileSync(tokenFile, text);
    const environment = { log: silentLogger, clock: systemClock, random: () => 0, dateMs: () => 0 };
    // Nothing listens there.
    const connection = openConsulStore({ addresses: ["127.0.0.1:1"], tokenFile }, environment);
    try {
      const list = connection.network("net").feed.list(AbortSignal.timeout(5000));
      await expect(list).rejects.toMatchObject({
        code: "TULLE_STORE_AUTH",
        message: `consul-token-file ${tokenFile} holds a line break or another character that no token has: write the token alone into it`,
      });
    } finally {
      await connection.close();
    }
  },
);
