/** The shipped file for systemd-networkd, on a host whose own file configures every device. */

import { readFileSync } from "node:fs";
import { afterAll, beforeAll, expect, it } from "vitest";
import { BootedHost, describeWithSystemd } from "../../support/booted-host.ts";
import { DEVICES } from "../../support/device-names.ts";
import { SOON } from "../../support/patience.ts";

const SHIPPED = readFileSync(new URL("../../../deploy/networkd/10-tulle.network", import.meta.url), "utf8");
const ADDRESS = "198.51.100.7";

const PREPARE = `
mkdir -p etc/systemd/network
cat > etc/systemd/network/10-tulle.network <<'FILE'
${SHIPPED}
FILE
printf '[Match]\\nName=*\\n[Network]\\nAddress=${ADDRESS}/24\\n' > etc/systemd/network/50-every-device.network
`;

describeWithSystemd("systemd-networkd", () => {
  let host: BootedHost;

  beforeAll(async () => {
    host = new BootedHost("networkd");
    await host.boot(PREPARE);
  });
  afterAll(() => host.dispose());

  it("leaves the devices of tulle alone, those of named networks too", async () => {
    host.systemctl("start", "systemd-networkd");
    for (const name of [...DEVICES, "other"]) host.netns.ip(`link add ${name} type bridge`);
    const withAddress = (): readonly string[] =>
      host.netns.ipJson(["-4", "address", "show", "to", ADDRESS]).map(({ ifname }) => `${ifname}`);
    await expect.poll(withAddress, SOON).toContain("other");
    expect(withAddress().filter((name) => DEVICES.includes(name))).toEqual([]);
  });
});
