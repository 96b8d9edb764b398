/** SIGHUP: settings that may change while the daemon runs do, and packets and files show it. */

import { writeFileSync } from "node:fs";
import { join } from "node:path";
import process from "node:process";
import { afterAll, beforeAll, expect, it } from "vitest";
import { createLab, fileStoreOf, type Host, type Lab } from "../support/hosts.ts";
import { describeAsRoot } from "../support/netns.ts";

describeAsRoot("a reload", () => {
  let lab: Lab;
  let host: Host;
  let configFile: string;

  beforeAll(async () => {
    lab = createLab("reload");
    host = lab.addHost();
    configFile = join(lab.directory, "tulled.yaml");
    writeFileSync(configFile, "ip-masq: false\n");
    const store = await fileStoreOf(lab, { Network: "10.2.0.0/16", Backend: { Type: "vxlan" } });
    await host.daemon.start(`--store=${store}`, `--config=${configFile}`);
  });
  afterAll(() => lab.dispose());

  const reload = (text: string): void => {
    writeFileSync(configFile, text);
    process.kill(host.daemon.pid ?? 0, "SIGHUP");
  };
  const masquerades = (): boolean => host.run("iptables-save", "-t", "nat").includes("MASQUERADE");

  it("switches the masquerade on and off, in the firewall and in subnet.env", async () => {
    expect(masquerades()).toBe(false);
    reload("ip-masq: true\nip-masq-exclude: [172.16.0.0/12]\n");
    await expect.poll(masquerades, { timeout: 5000 }).toBe(true);
    await expect.poll(() => host.subnetEnv().ipMasq).toBe(true);
    expect(host.run("iptables-save", "-t", "nat")).toContain("-d 172.16.0.0/12");
    reload("ip-masq: false\n");
    await expect.poll(masquerades, { timeout: 5000 }).toBe(false);
    await expect.poll(() => host.subnetEnv().ipMasq).toBe(false);
  });
});
