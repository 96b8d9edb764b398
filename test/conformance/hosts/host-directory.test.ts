/** Names of hosts over every store: two hosts see each other's, and damage is one sentence. */

import { expect, it } from "vitest";
import { systemClock } from "../../../ipam/clock.ts";
import { HostDirectory } from "../../../ipam/hosts/host-directory.ts";
import { profileRecord } from "../../../ipam/hosts/host-profile.ts";
import { silentLogger } from "../../../ipam/log.ts";
import { hostId } from "../../support/named-networks/lab.ts";
import { SOON } from "../../support/patience.ts";
import { describeStores } from "../../support/stores/conformance.ts";

const signal = AbortSignal.timeout(300_000);

await describeStores("directory of hosts", (store) => {
  it("shows every host's name, and that of one that changed", async () => {
    const network = store.network();
    const start = (number: number, version: string) => {
      const stop = new AbortController();
      const profile = { name: `node${number}`, version, kernel: "6.1.0", backends: ["vxlan"] };
      const directory = new HostDirectory({
        ...{ store: network, clock: systemClock, random: () => 0, logger: silentLogger },
        ...{ host: hostId(number), profile, present: () => new Set<string>() },
      });
      const ended = directory.run(stop.signal);
      const end = async (): Promise<void> => {
        stop.abort();
        await ended;
      };
      return { directory, end };
    };
    const [one, two] = [start(1, "1.0.0"), start(2, "1.0.0")];
    const seen = (number: number) => () => one.directory.profileOf(hostId(number));
    await expect.poll(seen(2), SOON).toMatchObject({ name: "node2", version: "1.0.0" });
    await expect.poll(seen(1), SOON).toMatchObject({ name: "node1" });
    const written = await network.records.read(profileRecord(hostId(2)), signal);
    await two.end();
    const again = start(2, "1.0.0");
    await expect.poll(() => again.directory.profileOf(hostId(1)), SOON).not.toBeNull();
    expect(await network.records.read(profileRecord(hostId(2)), signal)).toEqual(written);
    await again.end();
    const newer = start(2, "1.1.0");
    await expect.poll(seen(2), SOON).toMatchObject({ version: "1.1.0" });
    await network.records.write(profileRecord(hostId(3)), "\u001b[2J", null, signal);
    await expect.poll(() => one.directory.problem, SOON).toMatch(/^host record hosts\/0+3 is ignored/);
    expect(seen(2)()).not.toBeNull();
    await one.end();
    await newer.end();
  }, 60_000);
});
