/** What `docker network create` and `docker run` can ask of named networks, on two hosts: IPv6, ranges, MTU, broadcast. */

import { afterAll, beforeAll, expect, it } from "vitest";
import { type DockerHost, describeWithDocker } from "../../support/docker.ts";
import { create, DockerLab, networksOf, outcomeOf, SLEEP, until } from "../../support/docker-lab.ts";

describeWithDocker("options of named networks", (engines) => {
  let lab: DockerLab;
  let host1: DockerHost;
  let host2: DockerHost;

  beforeAll(async () => {
    lab = new DockerLab("options", 2, engines);
    await lab.build();
    [host1, host2] = [lab.docker(1), lab.docker(2)];
  });
  afterAll(() => lab.dispose());

  /** Creates a network on the first host and waits for it on the second. */
  async function both(name: string, ...options: readonly string[]): Promise<void> {
    create(host1, name, ...options);
    await until(() => networksOf(host2).includes(name));
  }

  const run = (docker: DockerHost, name: string, network: string, ...options: readonly string[]): void =>
    docker.runContainer(name, { options: ["--network", network, ...options], command: SLEEP });

  /** The client of the engine's own package: a newer one refuses --mac-address to an engine before 25. */
  const ownClient = (docker: DockerHost, ...args: readonly string[]): string =>
    docker.run("timeout", "30", "/usr/bin/docker", "-H", "unix:///run/docker.sock", ...args);

  const inside = (docker: DockerHost, container: string, script: string): string =>
    docker.exec(container, "sh", "-c", script);

  const address = (docker: DockerHost, container: string, network: string, field: string): string =>
    docker.docker(
      "inspect",
      "--format",
      `{{(index .NetworkSettings.Networks "${network}").${field}}}`,
      container,
    );

  const reaches = (docker: DockerHost, from: string, to: string): boolean =>
    outcomeOf(docker, "exec", from, "ping", "-c", "1", "-W", "2", to).ok;

  it("--ipv6 gives a range of each family, and containers reach each other by both", async () => {
    await both("dual", "--ipv6");
    run(host1, "d1", "dual");
    run(host2, "d2", "dual");
    for (const field of ["IPAddress", "GlobalIPv6Address"]) {
      const far = address(host2, "d2", "dual", field);
      expect(far).not.toBe("");
      await until(() => reaches(host1, "d1", far), 20_000);
    }
    const six = address(host2, "d2", "dual", "GlobalIPv6Address");
    expect(host1.exec("d1", "ping", "-6", "-c", "1", "-s", "1402", six)).toContain("1 packets received");
    // Answered from the host's entries: nothing is asked on the wire.
    expect(inside(host1, "d1", "ip -6 neigh show dev eth0")).toContain(`${six} lladdr`);
  });

  it("names have AAAA records, and a reverse one", async () => {
    const six = address(host2, "d2", "dual", "GlobalIPv6Address");
    await until(() => inside(host1, "d1", "nslookup -type=aaaa d2.").includes(six), 20_000);
    expect(inside(host1, "d1", "nslookup -type=a d2.")).toContain(address(host2, "d2", "dual", "IPAddress"));
    expect(inside(host1, "d1", `nslookup ${six}`)).toContain("d2");
    expect(inside(host1, "d1", "ping -6 -c 1 d2")).toContain("1 packets received");
  });

  it("names are found on a host whose firewall drops what comes in", async () => {
    const input = (rule: string): string => host1.run("iptables", ...rule.split(" "));
    for (const rule of ["-i lo", "-m conntrack --ctstate ESTABLISHED", "-p udp --dport 8472", "-p icmp"])
      input(`-A INPUT ${rule} -j ACCEPT`);
    input("-P INPUT DROP");
    const four = address(host2, "d2", "dual", "IPAddress");
    await until(() => inside(host1, "d1", "nslookup -type=a d2. || true").includes(four), 20_000);
    input("-P INPUT ACCEPT");
    input("-F INPUT");
  });

  it("--subnet and --gateway of both families, --ip and --ip6", async () => {
    const subnets = ["--subnet", "10.8.0.0/24", "--subnet", "fd08::/64"];
    await both("given", "--ipv6", ...subnets, "--gateway", "10.8.0.254", "--gateway", "fd08::fe");
    run(host1, "g1", "given", "--ip", "10.8.0.10", "--ip6", "fd08::10");
    run(host2, "g2", "given", "--ip", "10.8.0.20", "--ip6", "fd08::20");
    expect(inside(host1, "g1", "ip address show eth0")).toMatch(/inet 10\.8\.0\.10\/24.*inet6 fd08::10\/64/s);
    for (const far of ["10.8.0.20", "fd08::20"]) await until(() => reaches(host1, "g1", far), 20_000);
    for (const wrong of [
      ["--ip", "10.8.0.254"],
      ["--ip", "10.8.0.20"],
      ["--ip6", "fd08::fe"],
      ["--ip6", "fd08::20"],
    ]) {
      const { ok, text } = outcomeOf(host1, "run", "--rm", "--network", "given", ...wrong, "box", "true");
      expect(`${ok} ${text}`).toMatch(/^false .*(fd08::|10\.8\.0\.)/s);
    }
    host1.docker("rm", "-f", "g1");
    run(host2, "g3", "given", "--ip", "10.8.0.10", "--ip6", "fd08::10");
    await until(() => reaches(host2, "g2", "fd08::10"), 20_000);
  });

  it("--internal leaves no way outside", async () => {
    await both("inner", "--internal");
    run(host1, "i1", "inner");
    run(host2, "i2", "inner");
    await until(() => reaches(host1, "i1", address(host2, "i2", "inner", "IPAddress")), 20_000);
    expect(inside(host1, "i1", "ip link")).not.toContain("eth1");
    expect(inside(host1, "i1", "ip route")).not.toContain("default");
  });

  it("--ip-range and --aux-address bound what containers get, on every host", async () => {
    const range = ["--subnet", "10.7.0.0/24", "--ip-range", "10.7.0.128/29", "--aux-address", "x=10.7.0.130"];
    await both("ranged", ...range);
    const names = ["r1", "r2", "r3", "r4", "r5", "r6", "r7"];
    const given = names.map((name, at) => {
      const docker = at % 2 === 0 ? host1 : host2;
      run(docker, name, "ranged");
      return address(docker, name, "ranged", "IPAddress");
    });
    const numbers = given.map((each) => Number(each.replace("10.7.0.", "")));
    expect(new Set(numbers).size).toBe(names.length);
    for (const number of numbers) expect([128, 129, 131, 132, 133, 134, 135]).toContain(number);
    const full = outcomeOf(host2, "run", "--rm", "--network", "ranged", "box", "true");
    expect(`${full.ok} ${full.text}`).toMatch(/^false .*ranged/s);
  });

  it("--mac-address is the container's on every host, and no other container's", async () => {
    const mac = "02:42:aa:bb:cc:01";
    const options = ["--network", "dual", "--mac-address", mac];
    ownClient(host1, "run", "--detach", "--name", "m1", ...options, "box", ...SLEEP);
    expect(inside(host1, "m1", "cat /sys/class/net/eth0/address")).toBe(mac);
    const far = address(host1, "m1", "dual", "IPAddress");
    await until(() => reaches(host2, "d2", far), 20_000);
    expect(inside(host2, "d2", "ip neigh show dev eth0")).toContain(`${far} lladdr ${mac}`);
    expect(() => ownClient(host2, "run", "--rm", ...options, "box", "true")).toThrow(
      /02:42:aa:bb:cc:01 belongs to m1/,
    );
  });

  it("-o mtu counts in containers, and -o vni on the wire", async () => {
    await both("small", "-o", "mtu=1300", "-o", "vni=70000");
    run(host1, "s1", "small");
    run(host2, "s2", "small");
    expect(inside(host1, "s1", "cat /sys/class/net/eth0/mtu")).toBe("1300");
    expect(host2.host.run("ip", "-d", "link", "show", "type", "vxlan")).toContain("vxlan id 70000");
    const far = address(host2, "s2", "small", "IPAddress");
    await until(() => outcomeOf(host1, "exec", "s1", "ping", "-c", "1", "-s", "1272", far).ok, 20_000);
    const again = outcomeOf(
      host2,
      ...["network", "create", "-d", "tulle", "--ipam-driver", "tulle"],
      "-o",
      "vni=70000",
      "other",
    );
    expect(`${again.ok} ${again.text}`).toMatch(/^false .*vni=70000 belongs to network small/s);
    for (const option of ["mtu=100000", "mtu=x", "vni=1", "broadcast=perhaps", "colour=red"]) {
      const create = ["network", "create", "-d", "tulle", "--ipam-driver", "tulle", "-o", option, "wrong"];
      const { ok, text } = outcomeOf(host1, ...create);
      expect(`${ok} ${text}`).toContain(`false`);
      expect(text).toContain(option.split("=")[0]);
    }
    expect(networksOf(host1)).not.toContain("wrong");
  });

  it("-o broadcast=on: broadcast and multicast reach the members of that network and nothing else", async () => {
    await both("loud", "--subnet", "10.6.0.0/24", "--ipv6", "-o", "broadcast=on");
    run(host1, "l1", "loud");
    run(host2, "l2", "loud");
    const received = (docker: DockerHost, container: string): number =>
      Number(inside(docker, container, "cat /sys/class/net/eth0/statistics/rx_packets"));
    await until(() => reaches(host1, "l1", address(host2, "l2", "loud", "IPAddress")), 20_000);
    const others = [
      [host2, "d2"],
      [host1, "d1"],
      [host2, "s2"],
    ] as const;
    const send = (target: string): void =>
      void inside(
        host1,
        "l1",
        `for n in $(seq 20); do ping -c 1 -W 1 -I eth0 ${target} >/dev/null & done; wait`,
      );
    for (const target of ["10.6.0.255", "224.0.0.251"]) {
      const before = received(host2, "l2");
      const beside = others.map(([docker, container]) => received(docker, container));
      send(target);
      expect(received(host2, "l2") - before).toBeGreaterThanOrEqual(20);
      for (const [at, [docker, container]] of others.entries())
        expect(received(docker, container) - (beside[at] ?? 0)).toBeLessThan(10);
    }
    // Every station answers an echo request to all nodes (RFC 4443, 4.2).
    const link = inside(host2, "l2", "ip -6 address show dev eth0 scope link").match(/fe80::[0-9a-f:]+/)?.[0];
    const answers = inside(host1, "l1", "ping -6 -c 2 -I eth0 ff02::1 || true");
    expect(answers).toContain(`from ${link}`);
    const quiet = inside(host1, "d1", "ping -6 -c 2 -W 1 -I eth0 ff02::1 || true");
    const far = inside(host2, "d2", "ip -6 address show dev eth0 scope link").match(/fe80::[0-9a-f:]+/)?.[0];
    expect(quiet).not.toContain(`from ${far}`);
  });

  it("leave nothing behind", async () => {
    for (const docker of [host1, host2])
      docker.docker("rm", "--force", ...docker.docker("ps", "--all", "--quiet").split("\n"));
    await until(() => {
      // One whose last container is still leaving another host is put back.
      for (const name of networksOf(host2)) outcomeOf(host2, "network", "rm", name);
      return [host1, host2].every((docker) => networksOf(docker).length === 0);
    }, 20_000);
    for (const { host } of lab.dockers) await until(() => !/\bt[pcbv]-/.test(host.run("ip", "-o", "link")));
    const left = lab.net.etcd.ctl(
      "get",
      "--prefix",
      "--keys-only",
      `${lab.net.prefix}/tulle/named/addresses/`,
    );
    expect(left).toBe("");
  });
});
