/** `tulle connectivity --containers`: from a container of this host to one on each peer, which go when it ends. */

import { spawn } from "node:child_process";
import { afterEach, beforeAll, expect, it } from "vitest";
import { FlannelPeer } from "../support/flannel-peer.ts";
import { describeWithEtcd, type Host, TULLE, useEtcdLab } from "../support/hosts.ts";

/** Leaves the subnet that a test writes by hand out of what hosts lease. */
const CONFIG = {
  Network: "10.2.0.0/16",
  SubnetMin: "10.2.100.0",
  SubnetMax: "10.2.199.0",
  Backend: { Type: "vxlan" },
};

interface Path {
  readonly peer: string;
  readonly from: string;
  readonly to: string;
  readonly isToContainer: boolean;
  readonly lost: number;
  readonly mtuBytes: number | null;
  readonly cause: { readonly code: string; readonly text: string } | null;
}

const drop = (rule: string): readonly string[] => [
  "nft add table inet fault",
  'nft "add chain inet fault c { type filter hook forward priority -500; }"',
  `nft "add rule inet fault c ${rule} drop"`,
];

describeWithEtcd("paths between containers", () => {
  const net = useEtcdLab("container-paths", { hosts: 3, config: CONFIG });
  const sh = (host: Host, ...commands: readonly string[]): void => {
    for (const command of commands) host.run("sh", "-c", command);
  };
  const command = ["connectivity", "--containers", "--json", "--count=5"];
  const store = () => [`--etcd-endpoints=${net.etcd.endpoints.join()}`, `--etcd-prefix=${net.prefix}`];
  const run = (...args: readonly string[]): { readonly paths: readonly Path[]; readonly code: number } => {
    const words = [...TULLE, ...command, ...store(), ...args].map((word) => `'${word}'`);
    const [paths = "", code] = net
      .host(1)
      .run("sh", "-c", `${words.join(" ")}; echo "exit $?"`)
      .split("exit ");
    return { paths: JSON.parse(paths), code: Number(code) };
  };
  const measure = (...args: readonly string[]): readonly Path[] => run(...args).paths;
  const keyOf = async (number: number) => (await net.host(number).daemon.status())?.lease.key ?? "";
  const linksOf = (host: Host): string => host.run("sh", "-c", "ip -o link | grep -c veth || true").trim();
  let second = "";
  let undo: () => void = () => undefined;

  beforeAll(async () => {
    const flannel = new FlannelPeer(net, net.host(3), "10.2.7.0");
    flannel.join("02:42:0a:02:07:01");
    for (const number of [1, 2]) {
      sh(net.host(number), "sysctl -qw net.ipv4.ip_forward=1");
      await net.host(number).daemon.start(...net.flags);
    }
    flannel.learnPeers();
    second = await keyOf(2);
    const isNamed = ({ peers }: { peers: readonly { host?: object }[] }) =>
      peers.length === 2 && peers.some(({ host }) => host !== undefined);
    await net.host(1).daemon.until(isNamed, "knows the name of its peer");
  });
  afterEach(() => {
    undo();
    undo = () => undefined;
  });

  it("are measured without a bridge, and to a host of flannel itself", () => {
    const paths = measure();
    expect(paths.map(({ lost, cause }) => ({ lost, cause }))).toEqual([
      { lost: 0, cause: null },
      { lost: 0, cause: null },
    ]);
    expect(paths.find(({ peer }) => peer === second)).toMatchObject({
      isToContainer: true,
      to: second.replace(".0-24", ".253"),
      mtuBytes: 1450,
    });
    expect(paths.find(({ peer }) => peer !== second)).toMatchObject({ isToContainer: false, to: "10.2.7.0" });
  });

  it("are measured through the bridge of the containers, beside those that are there", async () => {
    const [one, two] = [net.host(1).addContainer(), net.host(2).addContainer()];
    const [path] = measure(second);
    expect(path).toMatchObject({ isToContainer: true, lost: 0, cause: null });
    expect([path?.from, path?.to]).not.toContain(one.address);
    expect([path?.from, path?.to]).not.toContain(two.address);
    expect(path?.to).toMatch(/\.254$/);
    const [named] = measure(two.address);
    expect(named).toMatchObject({ to: two.address, isToContainer: true, lost: 0, cause: null });
    const left = async () => [linksOf(net.host(1)), linksOf(net.host(2))];
    await expect.poll(left).toEqual(["1", "1"]);
    expect(
      net.etcd.ctl("get", "--prefix", "--keys-only", `${net.prefix}/tulle/container-probes/requests/`),
    ).toBe("");
  });

  it.each([
    [
      "the peer does not forward",
      2,
      ["sysctl -qw net.ipv4.ip_forward=0"],
      /answers itself, but its containers/,
    ],
    ["this host does not let them out", 1, drop("oifname flannel.1"), /this host does not forward/],
    ["this host does not let them in", 1, drop("iifname flannel.1"), /this host does not forward/],
  ] as const)("tell that %s", (_, number, commands, text) => {
    const host = net.host(number);
    undo = () => sh(host, "nft delete table inet fault 2>/dev/null || sysctl -qw net.ipv4.ip_forward=1");
    sh(host, ...commands);
    const [path] = measure(second);
    expect(path?.cause).toMatchObject({ code: "containers-cut-off", text: expect.stringMatching(text) });
  });

  it("tell that this host does not forward, to a host of flannel too", () => {
    undo = () => sh(net.host(1), "sysctl -qw net.ipv4.ip_forward=1");
    sh(net.host(1), "sysctl -qw net.ipv4.ip_forward=0");
    const text = expect.stringMatching(/this host does not forward/);
    const cause = { code: "containers-cut-off", text };
    expect(measure()).toMatchObject([{ cause }, { cause }]);
  });

  it("leave a bridge down that is, on either side", () => {
    const [here, there] = [net.host(1), net.host(2)];
    const isDown = (host: Host): boolean => !/,UP/.test(host.run("ip", "link", "show", "docker0"));
    undo = () => sh(there, "ip link set docker0 up");
    sh(there, "ip link set docker0 down");
    expect(measure(second)[0]).toMatchObject({ isToContainer: false });
    expect(isDown(there)).toBe(true);
    undo();
    undo = () => sh(here, "ip link set docker0 up");
    sh(here, "ip link set docker0 down");
    expect(() => here.run(...TULLE, ...command, ...store(), second)).toThrow(
      /bridge docker0 of this host's containers is down/,
    );
    expect(isDown(here)).toBe(true);
  });

  it("tell that TCP is dropped on the way to containers", () => {
    const host = net.host(2);
    undo = () => sh(host, "nft delete table inet fault");
    sh(host, ...drop("meta l4proto tcp"));
    expect(measure(second)[0]?.cause?.code).toBe("tcp-lost");
  });

  it("are broken where they lose packets, and not known where nothing answers", () => {
    expect(run(second)).toMatchObject({ code: 0 });
    const absent = second.replace(".0-24", ".99");
    expect(run(absent)).toMatchObject({ code: 3, paths: [{ to: absent, cause: null }] });
    const host = net.host(2);
    undo = () => sh(host, "nft delete table inet fault");
    sh(host, ...drop("meta l4proto icmp numgen random mod 3 0"));
    const { code, paths } = run(second, "--count=40");
    expect(code).toBe(1);
    expect(paths[0]?.cause).toMatchObject({
      code: "packets-lost",
      text: expect.stringMatching(/ of 40 packets/),
    });
  });

  it("leave no container of a program that was killed, and serve the next one", async () => {
    const [program = "", ...args] = net.host(1).enter(...TULLE, ...command, ...store(), "--count=1000");
    const child = spawn(program, args, { stdio: "ignore" });
    await expect.poll(() => linksOf(net.host(2))).toBe("2");
    child.kill("SIGKILL");
    await expect.poll(() => linksOf(net.host(1)), { timeout: 10_000 }).toBe("1");
    expect(measure(second)[0]).toMatchObject({ isToContainer: true, lost: 0 });
  });
});
