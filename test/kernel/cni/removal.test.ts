/** What DEL and GC remove, whatever is missing by then. */

import { existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { type CniContainer, CniHost, NETWORK_NAME, SUBNET_ENV } from "../../support/cni-host.ts";
import { PROGRAMS } from "../../support/hosts.ts";
import { describeAsRoot } from "../../support/netns.ts";

const GC = { cniVersion: "1.1.0", "cni.dev/valid-attachments": [] };

describeAsRoot("tulle-cni removes", () => {
  let host: CniHost;
  beforeEach(() => {
    host = new CniHost("fault");
  });
  afterEach(() => host.dispose());

  const add = (container: CniContainer, config = {}) => {
    const answer = host.call("ADD", { container, config });
    expect(answer.exitCode, answer.stdout).toBe(0);
    return answer.json;
  };
  const reservationFile = (name: string) => join(host.dir, "ipam", NETWORK_NAME, name);

  describe("DEL", () => {
    const del = (container: CniContainer, config = {}, environment = {}) => {
      expect(host.call("DEL", { container, config, environment })).toMatchObject({ exitCode: 0, stdout: "" });
      expect(host.leftovers()).toEqual([]);
    };

    it("of what never was, twice", () => {
      const container = host.addContainer();
      del(container);
      del(container);
    });

    it("with an empty namespace path", () => {
      const container = host.addContainer();
      add(container);
      del(container, {}, { CNI_NETNS: undefined });
    });

    it("after the namespace vanished, and where only its file is left", () => {
      for (const CNI_NETNS of ["/run/netns/tulle-nowhere", join(host.dir, "file")]) {
        writeFileSync(join(host.dir, "file"), "");
        const container = host.addContainer();
        add(container);
        container.netns.dispose();
        del(container, {}, { CNI_NETNS });
      }
    });

    it("without subnet.env", () => {
      const container = host.addContainer();
      add(container);
      rmSync(host.subnetFile);
      del(container);
    });

    it("where its warnings cannot be written, as to a log on a full disk", () => {
      const container = host.addContainer();
      add(container);
      rmSync(host.subnetFile);
      rmSync(host.stateDir, { recursive: true });
      const program = ["sh", "-c", 'exec "$0" 2>/dev/full', join(PROGRAMS, "tulle-cni")];
      expect(host.call("DEL", { container, program })).toMatchObject({ exitCode: 0 });
      expect(host.leftovers()).toEqual([]);
    });

    it.each([
      ["no", (file: string) => rmSync(file)],
      ["an empty", (file: string) => writeFileSync(file, "")],
      ["half a", (file: string) => writeFileSync(file, readFileSync(file).subarray(0, 40))],
    ])("with %s record", (_, damage) => {
      const container = host.addContainer();
      add(container);
      damage(join(host.stateDir, host.states()[0] ?? ""));
      del(container);
    });

    it("after the configuration changed to another bridge, type and folder", () => {
      const container = host.addContainer();
      add(container);
      del(container, {
        delegate: { type: "macvlan", master: "nothing" },
        ipam: { dataDir: join(host.dir, "other") },
      });
    });

    it("after the host's subnet changed", () => {
      const container = host.addContainer();
      add(container);
      host.writeSubnetEnv(["FLANNEL_NETWORK=10.9.0.0/16", "FLANNEL_SUBNET=10.9.3.1/24", ...SUBNET_ENV.rest]);
      del(container);
    });

    it("of a container whose id is too long for a record, which ADD refuses", () => {
      const container = host.addContainer();
      const environment = { CNI_CONTAINERID: "x".repeat(300) };
      expect(host.call("ADD", { container, environment }).json).toMatchObject({ code: 4 });
      del(container, {}, environment);
    });

    it("with the path of the host's own namespace: frees everything and says so by code 8", () => {
      const container = host.addContainer();
      add(container);
      const environment = { CNI_NETNS: "/proc/self/ns/net" };
      expect(host.call("DEL", { container, environment }).json).toMatchObject({ code: 8 });
      expect(host.leftovers()).toEqual([]);
      del(container, {}, { CNI_NETNS: undefined });
    });

    it.each([
      ["while its own exists", {}],
      ["after its own vanished, with the plugin bridge", { ipMasq: true }],
    ])("with the path of another container's namespace, %s: leaves that container alone", (_, delegate) => {
      const asked = join(host.dir, "asked");
      const bridge = join(host.pluginDir, "bridge");
      writeFileSync(bridge, `#!/bin/sh\necho "$CNI_COMMAND $CNI_NETNS" >>${asked}\n`, { mode: 0o755 });
      const [container, other] = [host.addContainer(), host.addContainer()];
      const config = { delegate: { isDefaultGateway: true, ...delegate } };
      add(container, config);
      const [port] = host.leftovers();
      const prevResult = add(other, config);
      if ("ipMasq" in delegate) host.netns.ip(`link delete ${port}`);
      const call = { container, config, environment: { CNI_NETNS: other.netns.path } };
      expect(host.call("DEL", call)).toMatchObject({ exitCode: 0, stdout: "" });
      expect(host.states()).toEqual([`cbr0:${other.id}:eth0`]);
      const check = host.call("CHECK", { container: other, config: { ...config, prevResult } });
      expect(check, check.stdout).toMatchObject({ exitCode: 0, stdout: "" });
      expect(existsSync(asked) ? readFileSync(asked, "utf8") : "").not.toContain(other.netns.path);
    });

    it("with the path of a namespace that is now of a container on a named network: leaves that one alone", () => {
      const [container, other] = [host.addContainer(), host.addContainer()];
      add(container);
      host.netns.ip(
        `link add tp-0123456789ab type veth peer name eth0 netns ${other.netns.name}`,
        "link set tp-0123456789ab up",
      );
      const environment = { CNI_NETNS: other.netns.path };
      expect(host.call("DEL", { container, environment })).toMatchObject({ exitCode: 0, stdout: "" });
      expect(other.netns.ipJson(["link", "show", "eth0"])).toHaveLength(1);
    });

    it("with a prevResult that makes no sense", () => {
      const container = host.addContainer();
      add(container);
      del(container, { prevResult: "nonsense" });
    });
  });

  it.each(["cni.dev/valid-attachments", "cni.dev/attachments"])(
    "GC frees what is not listed in %s and keeps what is",
    (key) => {
      const [kept, stale] = [host.addContainer(), host.addContainer()];
      const prevResult = add(kept);
      add(stale);
      writeFileSync(reservationFile("10.5.72.200"), "another\r\neth0");
      writeFileSync(reservationFile("10.5.72.201"), "");
      const config = { cniVersion: "1.1.0", [key]: [{ containerID: kept.id, ifname: "eth0" }] };
      expect(host.call("GC", { config })).toMatchObject({ exitCode: 0, stdout: "" });
      expect(host.reservations()).toEqual(["10.5.72.2"]);
      expect(host.states()).toEqual([`cbr0:${kept.id}:eth0`]);
      expect(host.call("CHECK", { container: kept, config: { prevResult } }).exitCode).toBe(0);
    },
  );

  it("GC without a list frees nothing, and says so", () => {
    add(host.addContainer());
    const answer = host.call("GC", { config: { cniVersion: "1.1.0" } });
    expect(answer).toMatchObject({ exitCode: 0, stdout: "" });
    expect(answer.stderr).toContain("cni.dev/valid-attachments is missing");
    expect(host.reservations()).toHaveLength(1);
  });

  it("GC rejects what is not a list, and a null list is an empty one, as Go writes it", () => {
    add(host.addContainer());
    const call = (list: string | null) =>
      host.call("GC", {
        stdin: JSON.stringify({ ...host.config, ...GC, "cni.dev/valid-attachments": list }),
      });
    expect(call("all").json).toMatchObject({ code: 7, msg: expect.stringContaining('"all" is not a list') });
    expect(host.reservations()).toHaveLength(1);
    expect(call(null)).toMatchObject({ exitCode: 0, stdout: "" });
    expect(host.reservations()).toEqual([]);
  });

  it("reads what flannel left, so that its containers can be removed", () => {
    const container = host.addContainer();
    mkdirSync(join(host.dir, "ipam", NETWORK_NAME), { recursive: true });
    mkdirSync(host.stateDir);
    writeFileSync(reservationFile("10.5.72.9"), `${container.id}\r\neth0`);
    const delegate = {
      type: "bridge",
      name: NETWORK_NAME,
      ipam: { type: "host-local", dataDir: join(host.dir, "ipam") },
    };
    writeFileSync(join(host.stateDir, container.id), JSON.stringify(delegate));
    container.netns.exec("ip", ["link", "add", "eth0", "type", "veth", "peer", "name", "far"]);
    expect(host.call("DEL", { container }).exitCode).toBe(0);
    expect(host.leftovers()).toEqual([]);
    expect(container.netns.ipJson(["link", "show", "type", "veth"])).toEqual([]);
  });
});
