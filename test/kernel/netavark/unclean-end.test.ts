/** Containers of podman on the host's subnet that are set up again, without a teardown of what they had before. */

import { afterEach, beforeEach, expect, it } from "vitest";
import { type CniContainer, CniHost } from "../../support/cni-host.ts";
import { callNetavark } from "../../support/netavark.ts";
import { describeAsRoot } from "../../support/netns.ts";

const PORT = { container_port: 80, host_ip: "", host_port: 8080, protocol: "tcp", range: 1 };

describeAsRoot("tulle-netavark, after podman was killed", () => {
  let host: CniHost;
  beforeEach(() => {
    host = new CniHost("killed");
  });
  afterEach(() => host.dispose());

  const call = (verb: string, container: CniContainer, ports: object[] = [], options = {}) => {
    const answer = callNetavark(host, verb, { container, ports: ports as never, options });
    expect(answer, answer.stdout).toMatchObject({ exitCode: 0, stderr: "" });
    return answer.json;
  };
  const tables = () => host.netns.exec("nft", ["list", "tables"]);

  it.each([
    ["another namespace", () => host.addContainer().netns],
    ["the same namespace", null],
  ])("sets a container up again in %s, with its address, and without its former ports", (_, next) => {
    const former = host.addContainer();
    const options = { static_ips: ["10.5.72.9"] };
    call("setup", former, [PORT], options);
    const container = { id: former.id, netns: next === null ? former.netns : next() };
    const { interfaces } = call("setup", container, [], options);
    expect(interfaces.eth0.subnets).toEqual([{ ipnet: "10.5.72.9/24", gateway: "10.5.72.1" }]);
    expect(former.netns.ipJson(["link", "show", "type", "veth"])).toHaveLength(next === null ? 1 : 0);
    expect(container.netns.exec("ping", ["-c1", "-W2", "10.5.72.1"])).toContain(" 0% packet loss");
    expect(tables()).not.toContain("tulle-ports");
    call("teardown", container);
    expect([...host.leftovers()].filter((name) => name !== "lock")).toEqual([]);
  });

  it("leaves a container alone that has another interface on the network", () => {
    const container = host.addContainer();
    call("setup", container, [PORT]);
    call("setup", container, [], { interface_name: "eth1" });
    expect(container.netns.ipJson(["link", "show", "type", "veth"])).toHaveLength(2);
    expect(tables()).toContain("tulle-ports");
  });
});
