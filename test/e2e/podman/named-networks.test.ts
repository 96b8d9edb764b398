/** podman 5 on two hosts without Docker, and Docker on a third, all on one named network by tulle-netavark. */

import { execFileSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import process from "node:process";
import { afterAll, beforeAll, expect, it } from "vitest";
import {
  Address,
  compactPerFamily,
  entriesOf,
  type Family,
  type PerFamily,
} from "../../../ipam/addresses/ip.ts";
import { CniHost } from "../../support/cni-host.ts";
import { createImage, DockerHost } from "../../support/docker.ts";
import { addressOn, pings, SLEEP, until } from "../../support/docker-lab.ts";
import { describeOnNewest, NEWEST } from "../../support/engines.ts";
import { describeWithEtcd, PROGRAMS, TULLE, useEtcdLab } from "../../support/hosts.ts";
import { netavarkSettings, PodmanHost } from "../../support/podman.ts";

const CONFIG = { Network: "10.2.0.0/16", Backend: { Type: "vxlan" } };
const SERVE = ["-p", "8080:80", "--entrypoint", '["httpd","-f","-p","80","-h","/bin"]'];
/** By host: podman alone with either engine of the firewall, then Docker. */
const FLAGS: Readonly<Record<number, readonly string[]>> = {
  1: ["--docker-plugin=off", "--firewall=iptables"],
  2: ["--docker-plugin=off", "--firewall=nft"],
};
const OUTSIDE = { 4: /inet (169\.254\.\d+\.\d+)/, 6: /inet6 (fd66:ffdf:a2ec::[\da-f]+)/ } as const;
const GATEWAYS = { 4: "169.254.96.1", 6: "fd66:ffdf:a2ec::1" } as const;
const SEGMENT_DEVICE = /\bt[pbv]-|br-tulle/;

describeOnNewest("podman 5 on named networks", describeWithEtcd, () => {
  const net = useEtcdLab("podnets", { hosts: 3, config: CONFIG, families: [4, 6] });
  const hosts: CniHost[] = [];
  const podmans: PodmanHost[] = [];
  let docker: DockerHost;

  const startAgent = (number: number) =>
    net.host(number).daemon.start(...net.flags, ...(FLAGS[number] ?? []));
  const tulle = (...args: readonly string[]) => net.host(3).run(...TULLE, ...args, ...net.flags.slice(0, 1));
  const podman = (number: number): PodmanHost => {
    const found = podmans[number - 1];
    if (found === undefined) throw new Error("there is no such host");
    return found;
  };
  /** `podman network create` on a host, with its folders. */
  const join_ = (number: number, network: string, ...options: readonly string[]) => {
    const { dir, stateDir } = hosts[number - 1] as CniHost;
    const folders = {
      run_dir: join(net.host(number).runDirectory, "tulle"),
      state_dir: stateDir,
      address_dir: join(dir, "ipam"),
    };
    const given = Object.entries({ ...folders, network }).flatMap(([key, value]) => [
      "-o",
      `${key}=${value}`,
    ]);
    podman(number).run("network", "create", "-d", "tulle-netavark", ...given, ...options, network);
  };
  const exec = (number: number, name: string, ...command: readonly string[]) =>
    podman(number).run("exec", name, ...command);
  const reaches = (number: number, name: string, to: string): boolean => {
    try {
      return exec(number, name, "ping", "-c1", "-W2", to).includes(" 0% packet loss");
    } catch {
      return false;
    }
  };
  const addressOf = (number: number, name: string, network = "blue", key = "IPAddress") =>
    podman(number).run("inspect", "-f", `{{.NetworkSettings.Networks.${network}.${key}}}`, name);
  /** By family: what a container has on tulle0. */
  const outsideOf = (number: number, name: string): PerFamily<string> => {
    const shown = exec(number, name, "ip", "address", "show", "tulle0");
    return compactPerFamily((family) => OUTSIDE[family].exec(shown)?.[1]);
  };
  const ipv6Routes = (number: number, name: string) => exec(number, name, "ip", "-6", "route");
  const hostOf = (number: number, family: Family): string => net.host(number).addresses[family] ?? "";
  const links = (number: number) => net.host(number).netns.exec("ip", ["-o", "link"]);

  beforeAll(async () => {
    await Promise.all([1, 2, 3].map(startAgent));
    for (const number of [1, 2]) {
      const cni = new CniHost("podnets", net.host(number));
      hosts.push(cni);
      podmans.push(new PodmanHost(cni, NEWEST, netavarkSettings(join(cni.dir, "networks"), [PROGRAMS])));
    }
    docker = new DockerHost(net.host(3), NEWEST);
    await docker.start(createImage(net.lab.directory), "--dns=169.254.53.53");
    tulle("network", "create", "blue", "--ipv6");
    tulle("network", "create", "red");
  });
  afterAll(async () => {
    for (const podman of podmans) podman.dispose();
    docker?.dispose();
    for (const host of hosts) host.dispose();
  });

  it("starts nothing of named networks before podman asks, and names a network that is missing", () => {
    expect(links(1)).not.toMatch(SEGMENT_DEVICE);
    expect(net.host(1).netns.exec("ip", ["-o", "address"])).not.toContain("169.254.53.53");
    expect(() => join_(1, "nope")).toThrow(/no network .*nope.*tulle network create nope/);
    expect(() => join_(1, "blue", "--subnet", "10.9.0.0/24")).toThrow(/leave --subnet out/);
  });

  it("joins containers of podman and of Docker to one network, by address and by name", async () => {
    for (const number of [1, 2]) join_(number, "blue");
    podman(1).start("web", "blue", "--network-alias", "www", ...SERVE);
    podman(2).start("far", "blue");
    docker.runContainer("whale", { options: ["--network", "blue"], command: SLEEP });
    await until(() => reaches(2, "far", addressOf(1, "web")), 20_000);
    await until(() => reaches(2, "far", addressOf(1, "web", "blue", "GlobalIPv6Address")), 20_000);
    for (const name of ["web", "www", "web.blue", "whale"])
      await until(() => reaches(2, "far", name), 20_000);
    await until(() => reaches(1, "web", "far"), 20_000);
    await until(() => pings(docker, "whale", "web"), 20_000);
    await until(() => pings(docker, "whale", "far"), 20_000);
    expect(reaches(1, "web", addressOn(docker, "whale", "blue"))).toBe(true);
    const id = podman(1).run("inspect", "-f", "{{.Id}}", "web").slice(0, 12);
    expect(pings(docker, "whale", id)).toBe(true);
  });

  it("answers A, AAAA and PTR, and passes other names to the host's resolvers", () => {
    const address = addressOf(1, "web");
    const shown = exec(2, "far", "nslookup", "web", "169.254.53.53");
    expect(shown).toContain(address);
    expect(shown).toContain(addressOf(1, "web", "blue", "GlobalIPv6Address"));
    expect(exec(2, "far", "nslookup", address, "169.254.53.53")).toContain("web.blue");
    expect(exec(2, "far", "cat", "/etc/resolv.conf")).toMatch(/^nameserver 169\.254\.53\.53$/m);
  });

  it("tulle ps shows the containers of all engines and hosts", () => {
    const list = JSON.parse(tulle("ps", "--json"));
    const shown = list.map(({ names, hostName, engine }: never) => [names?.[0], hostName, engine].join(" "));
    expect(shown).toHaveLength(3);
    expect(tulle("ps")).toMatch(/^web +blue .* netavark /m);
    expect(tulle("ps")).toMatch(/^whale +blue .* docker /m);
  });

  it("leads outside, publishes ports, and keeps networks apart", async () => {
    join_(1, "red");
    podman(1).start("other", "red");
    expect(exec(1, "web", "ip", "route")).toMatch(/default via 169\.254\.96\.1 dev tulle0 .*metric/);
    await until(() => reaches(1, "web", net.host(2).address));
    for (const host of [hostOf(1, 4), `[${hostOf(1, 6)}]`]) {
      const url = `http://${host}:8080/busybox`;
      expect(net.host(2).netns.exec("busybox", ["wget", "-q", "-O/dev/null", url])).toBe("");
      expect(exec(2, "far", "wget", "-q", "-O/dev/null", url)).toBe("");
    }
    for (const address of Object.values(outsideOf(1, "web")))
      expect(reaches(1, "other", address)).toBe(false);
    expect(reaches(1, "other", addressOf(1, "web"))).toBe(false);
    expect(reaches(1, "other", "web")).toBe(false);
  });

  it("leads outside by IPv6 from networks that have it, with either engine of the firewall", async () => {
    podman(1).start("near", "blue");
    for (const [number, name, other] of [
      [1, "web", 2],
      [2, "far", 1],
    ] as const) {
      const [from, to] = [outsideOf(number, name), hostOf(other, 6)];
      expect(Number.parseInt(from[6]?.split("::")[1] ?? "", 16)).toBe(
        Number(Address.parse(from[4] ?? "").value & 0xfffn),
      );
      expect(ipv6Routes(number, name)).toMatch(/default via fd66:ffdf:a2ec::1 dev tulle0 .*metric 10000/);
      await until(() => reaches(number, name, to), 20_000);
    }
    const [near, web] = [outsideOf(1, "near"), outsideOf(1, "web")];
    for (const [family, address] of entriesOf(web)) {
      expect(reaches(1, "near", address), address).toBe(false);
      // Nor does the host route what its bridge does not switch.
      const ways = { near: address, web: near[family] ?? "" };
      for (const [name, to] of Object.entries(ways)) {
        const pid = podman(1).run("inspect", "-f", "{{.State.Pid}}", name).trim();
        const route = [to, "via", GATEWAYS[family], "dev", "tulle0"];
        execFileSync("nsenter", ["-t", pid, "-n", "ip", "route", "add", ...route]);
      }
      expect(reaches(1, "near", address), address).toBe(false);
    }
    expect(outsideOf(1, "other")).not.toHaveProperty("6");
    expect(ipv6Routes(1, "other")).not.toContain("default");
    podman(1).run("rm", "--force", "--time", "0", "near");
  });

  it("hides containers behind their hosts, with either engine of the firewall", async () => {
    for (const [number, name, other] of [
      [1, "web", 2],
      [2, "far", 1],
    ] as const) {
      for (const [family, address] of entriesOf(outsideOf(number, name))) {
        await until(() => reaches(number, name, hostOf(other, family)));
        const route = [address, "via", hostOf(number, family)];
        const { netns } = net.host(other);
        netns.exec("ip", ["route", "add", ...route]);
        const ping = () => netns.exec("ping", ["-c1", "-W1", address]);
        expect(ping, address).toThrow();
        netns.exec("ip", ["route", "del", ...route]);
      }
    }
    expect(net.host(2).netns.exec("nft", ["list", "tables"])).toMatch(/namednets/);
  });

  it("gives containers of an internal network no way outside, and none to the host", async () => {
    tulle("network", "create", "shut", "--internal", "--ipv6");
    join_(1, "shut");
    podman(1).start("inner", "shut");
    expect(exec(1, "inner", "ip", "route")).not.toContain("default");
    expect(exec(1, "inner", "ip", "-o", "link")).not.toContain("tulle0");
    expect(ipv6Routes(1, "inner")).not.toContain("default");
    for (const gateway of Object.values(GATEWAYS)) expect(reaches(1, "inner", gateway), gateway).toBe(false);
    expect(() => podman(1).start("open", "shut", "-p", "9090:80")).toThrow(
      /internal network publishes no ports/,
    );
    podman(1).run("rm", "--force", "--ignore", "--time", "0", "inner", "open");
  });

  it("takes the way outside with the last network that gives one", () => {
    podman(1).start("both", "red", "--network", "shut");
    expect(exec(1, "both", "ip", "-o", "link")).toContain("tulle0");
    podman(1).run("network", "disconnect", "red", "both");
    expect(exec(1, "both", "ip", "-o", "link")).not.toContain("tulle0");
    expect(exec(1, "both", "ip", "route")).not.toContain("default");
    expect(exec(1, "both", "ip", "-o", "-4", "address")).toMatch(/ eth\d /);
    podman(1).run("rm", "--force", "--time", "0", "both");
  });

  it("puts a container on two named networks, one way outside for both", async () => {
    podman(1).run("network", "connect", "red", "web");
    await until(() => reaches(1, "other", "web"), 20_000);
    expect(exec(1, "web", "ip", "-o", "link").match(/tulle0/g)).toHaveLength(1);
    podman(1).run("network", "disconnect", "red", "web");
    expect(reaches(1, "other", "web")).toBe(false);
    await until(() => reaches(2, "far", "web"));
    expect(reaches(1, "web", net.host(2).address)).toBe(true);
  });

  it("gives and takes IPv6 outside with the networks that have it", async () => {
    const published = () =>
      net
        .host(1)
        .netns.exec("nft", ["list", "tables"])
        .match(/ip6? tulle-ports-\S+/g);
    const others = published();
    podman(1).start("two", "red", "-p", "8081:80");
    for (const name of ["other", "two"]) podman(1).run("network", "connect", "blue", name);
    await until(() => reaches(1, "other", hostOf(2, 6)), 20_000);
    expect(published()?.length).toBe((others?.length ?? 0) + 2);
    podman(1).run("network", "disconnect", "red", "two");
    expect(published()?.length).toBe((others?.length ?? 0) + 2);
    for (const name of ["other", "two"]) {
      if (name === "two") podman(1).run("network", "connect", "red", name);
      podman(1).run("network", "disconnect", "blue", name);
    }
    expect(published()?.length).toBe((others?.length ?? 0) + 1);
    podman(1).run("rm", "--force", "--time", "0", "two");
    expect(published()).toEqual(others);
    expect(outsideOf(1, "other")).not.toHaveProperty("6");
    expect(ipv6Routes(1, "other")).not.toContain("default");
    expect(reaches(1, "other", hostOf(2, 4))).toBe(true);
  });

  it("keeps IPv6 within the network on a host that has it switched off", async () => {
    const setting = "net.ipv6.conf.default.disable_ipv6";
    net.host(2).netns.exec("sysctl", ["-qw", `${setting}=1`]);
    podman(2).start("within", "blue");
    net.host(2).netns.exec("sysctl", ["-qw", `${setting}=0`]);
    expect(Object.keys(outsideOf(2, "within"))).toEqual(["4"]);
    await until(() => reaches(2, "within", addressOf(1, "web", "blue", "GlobalIPv6Address")), 20_000);
    podman(2).run("rm", "--force", "--time", "0", "within");
  });

  it("gives what --ip and --mac-address ask for, once on all hosts", () => {
    const address = addressOf(1, "web").replace(/\d+$/, "77");
    podman(1).start("fixed", "blue", "--ip", address, "--mac-address", "02:00:00:00:00:77");
    expect(exec(1, "fixed", "ip", "-o", "address")).toContain(`${address}/24`);
    expect(exec(1, "fixed", "ip", "-o", "link")).toContain("02:00:00:00:00:77");
    expect(() => podman(2).start("second", "blue", "--ip", address)).toThrow(/held by host/);
    expect(() => podman(2).start("third", "blue", "--mac-address", "02:00:00:00:00:77")).toThrow(
      /belongs to fixed/,
    );
    for (const number of [1, 2])
      podman(number).run("rm", "--force", "--ignore", "--time", "0", "fixed", "second", "third");
    expect(tulle("ps")).not.toContain("fixed");
  });

  it("starts a container again whose conmon and process were killed", async () => {
    const [conmon, pid] = podman(1)
      .run("inspect", "-f", "{{.State.ConmonPid}} {{.State.Pid}}", "web")
      .split(" ");
    for (const each of [conmon, pid]) process.kill(Number(each), "SIGKILL");
    // The first time podman only finds that its monitor is gone.
    await until(() => {
      podman(1).run("restart", "--time", "0", "web");
      return true;
    }, 20_000);
    await until(() => reaches(2, "far", "web"), 20_000);
    await until(() => reaches(1, "web", net.host(2).address));
    expect(tulle("ps").match(/^web /gm)).toHaveLength(1);
  });

  it("fails at once while tulled is away, and lets containers go", async () => {
    await net.host(1).daemon.stop();
    const startMs = performance.now();
    expect(() => podman(1).start("late", "blue")).toThrow(/tulled does not answer.*it does not run/);
    expect(performance.now() - startMs).toBeLessThan(20_000);
    podman(1).run("rm", "--force", "--time", "0", "web");
    expect(reaches(2, "far", addressOn(docker, "whale", "blue"))).toBe(true);
    podman(1).run("rm", "--force", "--ignore", "late");
    await startAgent(1);
    // Without a call of podman: "other" is known from the disk, and "web" is gone from the kernel.
    await until(() => !tulle("ps").includes("web "), 150_000);
    expect(tulle("ps")).toMatch(/^other +red /m);
  }, 240_000);

  it("leaves nothing when all are removed", async () => {
    docker.docker("rm", "-f", "whale");
    for (const number of [1, 2]) podman(number).run("rm", "--all", "--force", "--time", "0");
    for (const number of [1, 2]) {
      await until(() => !/\bt[pbv]-/.test(links(number)), 20_000);
      expect(net.host(number).netns.exec("nft", ["list", "tables"])).not.toContain("tulle-ports-");
      const { stateDir, dir } = hosts[number - 1] as CniHost;
      expect(
        readFileSync(join(net.host(number).stateDirectory, "netavark-endpoints.json"), "utf8"),
      ).toContain('"endpoints":[]');
      for (const folder of [stateDir, join(dir, "ipam", "tulle-outside")])
        expect(
          hosts[number - 1]?.leftovers().filter((name) => name !== "lock" && !/eth0|br-tulle/.test(name)),
          folder,
        ).toEqual([]);
    }
    await until(() => JSON.parse(tulle("ps", "--json")).length === 0);
    const rules = { 1: ["ip6tables-save"], 2: ["nft", "list", "ruleset"] } as const;
    for (const number of [1, 2] as const) {
      const [program, ...args] = rules[number];
      await until(() => !net.host(number).netns.exec(program, args).includes("fd66:"), 20_000);
    }
  });
});
