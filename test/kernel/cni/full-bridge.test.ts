/** A bridge that takes no more ports. */

import { expect, it } from "vitest";
import { attach } from "../../../backends/attachment/attach.ts";
import type { AttachmentSpec } from "../../../backends/attachment/spec.ts";
import { Undo } from "../../../backends/attachment/undo.ts";
import { NetnsHandle, withNetns } from "../../../backends/netlink/netns.ts";
import { createNetns, describeAsRoot } from "../../support/netns.ts";

const PORT = "veth0123456789a";
const MOST_PORTS = 1023;

function specOf(netns: NetnsHandle): AttachmentSpec {
  return {
    network: "net",
    mtuBytes: 1450,
    bridge: { name: "br0", isPromiscuous: false, gateway: null },
    port: {
      ...{ name: PORT, isHairpin: false, isIsolated: false },
      vlans: { untagged: 0, tagged: [], keepsDefault: true },
    },
    container: { netns, name: "eth0", mac: null, addresses: [], routes: [] },
    rules: { masquerade: null, guardsSource: false },
  };
}

describeAsRoot("a bridge without a free port", () => {
  it("is named in the error, and no pair is left", async () => {
    const [host, container] = [createNetns("full"), createNetns("full-c")];
    host.ip(
      "link add br0 type bridge",
      "link add last type veth peer name other",
      "link set last master br0",
    );
    const lines: string[] = [];
    for (let pair = 1; 2 * pair < MOST_PORTS; pair += 1)
      lines.push(
        ...[`link add a${pair} type veth peer name b${pair}`, `link set a${pair} master br0`],
        `link set b${pair} master br0`,
      );
    host.ip(...lines);
    const [hostNetns, containerNetns] = [host, container].map(({ path }) => NetnsHandle.open(path));
    if (hostNetns === undefined || containerNetns === undefined) throw new Error("no namespaces");
    const undo = new Undo();
    // Until they wait for the kernel, both run in the host's namespace.
    const attached = withNetns(hostNetns, () => attach(specOf(containerNetns), undo));
    await expect(attached).rejects.toMatchObject({
      code: "TULLE_CONFLICT",
      message: expect.stringContaining(`br0 has ${MOST_PORTS} ports`),
    });
    expect(await withNetns(hostNetns, () => undo.run())).toEqual([]);
    expect(container.ipJson(["link", "show", "type", "veth"])).toEqual([]);
    expect(host.exec("ip", ["-br", "link", "show", "type", "veth"])).not.toContain(PORT);
  });
});
