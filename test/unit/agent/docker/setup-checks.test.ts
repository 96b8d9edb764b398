/** What `tulle docker setup` finds in options and files that are there. */

import { readdirSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { beforeEach, describe, expect, it } from "vitest";
import type { SetupTarget } from "../../../../agent/docker/collisions.ts";
import { applyChange } from "../../../../agent/docker/file-change.ts";
import { planSetup, readSubnetFile, type SetupPlan } from "../../../../agent/docker/setup.ts";
import {
  BY_HAND,
  daemonJson,
  folder,
  paths,
  plan,
  SUBNET_ENV,
  setUp,
  tulle,
  UNIT,
  unset,
  useDockerFiles,
  writeUnit,
} from "../../../support/docker-setup-lab.ts";

useDockerFiles();

describe("options that collide with the subnet", () => {
  const environmentFile = (): string => join(folder, "default-docker");
  const write = (options: string, more = ""): void =>
    writeUnit(`[Service]\n${more}ExecStart=/usr/sbin/dockerd -H fd:// ${options}\n`);

  beforeEach(() => writeFileSync(environmentFile(), 'DOCKER_OPTS="--bip=192.0.2.1/24 -D"\n'));

  it.each<[string, string, RegExp]>([
    ["--bridge=br0", "", /docker\.service gives --bridge=br0, and dockerd accepts no bip/],
    ["-b br0", "", /gives -b br0,/],
    ["-bbr0", "", /gives -bbr0,/],
    ["-Db br0", "", /gives -Db br0,/],
    ["-b=none", "", /gives -b=none,/],
    ["-b=", "", /gives -b=,/],
    ["-bip=10.2.54.1/24", "", /gives -bip=10\.2\.54\.1\/24, and dockerd accepts no bip/],
    ['"--bridge" "br0"', "", /gives --bridge br0,/],
    ["--fixed-cidr=192.0.2.0/25", "", /--fixed-cidr=192\.0\.2\.0\/25, which is outside of 10\.2\.54\.0\/24/],
    ["--default-gateway 192.0.2.9", "", /--default-gateway 192\.0\.2\.9, which is outside/],
    ["--default-gateway=10.2.54.1", "", /--default-gateway=10\.2\.54\.1, which is not a free address/],
    ["--default-gateway=10.2.54.255", "", /which is not a free address of 10\.2\.54\.0\/24/],
    ["--default-gateway=nonsense", "", /--default-gateway=nonsense, which is outside/],
    ["$NET", 'Environment="NET=--bridge br0" OTHER=x\n', /NET in .*docker\.service gives --bridge br0/],
    ["$NET", "Environment=NET=-bbr0\n", /NET in .* gives -bbr0/],
    [`--bridge=\${NET}`, "Environment=NET=br0\n", /docker\.service gives --bridge=br0/],
  ])("are refused in both places, and nothing is written: %s %s", async (options, more, message) => {
    write(options, more);
    for (const target of [null, "daemon-json", "drop-in"] as const)
      await expect(setUp(target)).rejects.toThrow(message);
    expect(readdirSync(join(folder, "docker"))).toEqual([]);
    expect(readdirSync(join(folder, "system/docker.service.d"))).toEqual([]);
  });

  it.each([
    [
      '{ "bridge": "br0" }',
      /daemon\.json sets "bridge" to "br0", and dockerd accepts no bip together with it/,
    ],
    ['{ "fixed-cidr": "192.0.2.0/25" }', /sets "fixed-cidr" .* outside of 10\.2\.54\.0\/24/],
    ['{ "default-gateway": "192.0.2.9" }', /sets "default-gateway" .* outside/],
  ])("are refused in daemon.json too: %s", async (text, message) => {
    write("");
    writeFileSync(paths.daemonJson, text);
    for (const target of [null, "daemon-json", "drop-in"] as const)
      await expect(setUp(target)).rejects.toThrow(message);
    expect(daemonJson()).toBe(text);
  });

  it.each<[string, string, RegExp]>([
    [
      "$DOCKER_OPTS",
      "EnvironmentFile=-ENV\n",
      /DOCKER_OPTS in .*default-docker gives --bip=192\.0\.2\.1\/24/,
    ],
    ["$DOCKER_OPTS", "EnvironmentFile=ENV\nEnvironment=DOCKER_OPTS=\n", /default-docker gives --bip/],
    ["--mtu=1400", "", /docker\.service gives --mtu=1400/],
    ["--mtu $MTU", "Environment=MTU=1400\n", /docker\.service gives --mtu 1400/],
    ["--ip-masq=false", "", /gives --ip-masq=false/],
  ])("go to the drop-in, whose options come last: %s %s", async (options, more, message) => {
    write(options, more.replace("ENV", environmentFile()));
    await expect(setUp("daemon-json")).rejects.toThrow(message);
    const { changes, start } = await plan(null);
    expect(changes[0]?.path).toContain("50-tulle.conf");
    expect(start?.arguments.slice(-3)).toEqual(["--bip=10.2.54.1/24", "--ip-masq=false", "--mtu=1450"]);
  });

  it("are warned of where the drop-in cannot take them out", async () => {
    write("$DOCKER_OPTS", `EnvironmentFile=${environmentFile()}\n`);
    expect((await plan(null)).warnings).toEqual([
      expect.stringMatching(/DOCKER_OPTS in .* gives --bip=192\.0\.2\.1\/24; tulle's option comes last/),
    ]);
    write("--fixed-cidr=10.2.54.128/25 --default-gateway=10.2.54.7");
    expect((await plan(null)).warnings).toEqual([
      expect.stringContaining("--fixed-cidr=10.2.54.128/25, which fits only while"),
      expect.stringContaining("--default-gateway=10.2.54.7, which fits only while"),
    ]);
    writeFileSync(paths.subnetFile, SUBNET_ENV.replace("IPMASQ=true", "IPMASQ=false"));
    write("--iptables=false");
    expect((await plan(null)).warnings).toEqual([expect.stringContaining("Docker masquerades nothing")]);
  });

  it("are those that systemd passes on, after resets and masks", async () => {
    write("$A $B $C", "Environment=A=-bbr0 B=-bbr1 C=-bbr2\n");
    const own = join(paths.unitDirectory, "docker.service.d");
    writeFileSync(
      join(own, "10.conf"),
      "[Service]\nEnvironment=\nEnvironment=A=-D\nUnsetEnvironment=B\n[Install]\nEnvironment=C=-bbr3\n",
    );
    symlinkSync("/dev/null", join(own, "20.conf"));
    expect((await plan("daemon-json")).start?.arguments).toEqual(["-H", "fd://", "-D"]);
  });

  it("with a file of their own are looked for there", async () => {
    const other = join(folder, "other.json");
    writeFileSync(other, '{ "mtu": 1400 }');
    write(`--config-file ${other}`);
    await expect(setUp("daemon-json")).rejects.toThrow(`give --daemon-json ${other}`);
    await expect(setUp("drop-in")).rejects.toThrow(`${other} sets "mtu"`);
    writeFileSync(other, '{ "debug": true }');
    const { start } = await plan("drop-in");
    expect(start).toMatchObject({ config: '{ "debug": true }', program: "/usr/sbin/dockerd" });
    expect(start?.arguments).not.toContain(other);
  });

  it("that a drop-in repeats in daemon.json are refused", async () => {
    write("");
    writeFileSync(paths.daemonJson, '{ "mtu": 1400 }');
    await expect(setUp("drop-in")).rejects.toThrow(/daemon\.json sets "mtu", and dockerd refuses/);
  });

  it.each([
    ["a shell", "ExecStart=/bin/sh -c 'exec /usr/bin/dockerd $DOCKER_OPTS'", /through \/bin\/sh/],
    ["a colon", "ExecStart=:/usr/bin/dockerd", /begins with a colon/],
    ["two commands", "ExecStart=/usr/bin/dockerd\nExecStart=/usr/bin/dockerd", /2 ExecStart commands/],
  ])("make the drop-in impossible behind %s", async (_, text, message) => {
    writeUnit(`[Service]\nEnvironment=DOCKER_OPTS=-D\n${text}\n`);
    await expect(setUp("drop-in")).rejects.toThrow(message);
    expect((await plan(null)).changes[0]?.path).toContain("daemon.json");
  });

  it.each([["ExecStart=\nExecStart=/opt/dockerd"], ["EnvironmentFile="]])(
    "make the drop-in impossible when a later one says %j",
    async (text) => {
      write("-D");
      const later = join(paths.unitDirectory, "docker.service.d/90-later.conf");
      writeFileSync(later, `[Service]\n${text}\n`);
      await expect(setUp("drop-in")).rejects.toThrow(`${later} comes after 50-tulle.conf and sets`);
      expect((await plan(null)).changes[0]?.path).toContain("daemon.json");
    },
  );

  it("are taken out of the command that dockerd checks, word by word", async () => {
    const other = join(folder, "other.json");
    writeFileSync(other, "{}");
    write("--mtu $MTU $ALL -D", `Environment=MTU=1400 "ALL=--config-file ${other} --icc=false"\n`);
    const { changes, start } = await plan("drop-in");
    const ours = ["--bip=10.2.54.1/24", "--ip-masq=false", "--mtu=1450"];
    expect(start?.arguments).toEqual(["-H", "fd://", "--icc=false", "-D", ...ours]);
    expect(changes[0]?.after).toContain("ExecStart=/usr/sbin/dockerd -H fd:// $ALL -D $TULLE_DOCKER_OPTS\n");
  });

  it("lose their drop-in although daemon.json is as it should be", async () => {
    write("");
    await setUp("daemon-json");
    writeFileSync(join(paths.unitDirectory, "docker.service.d/50-tulle.conf"), "[Service]\n");
    const changes = await setUp("daemon-json");
    expect(changes.map(({ path, after }) => [path.replace(/.*\//, ""), after])).toEqual([
      ["50-tulle.conf", null],
    ]);
  });

  it("are found behind a shell as well", async () => {
    const command = "ExecStart=/bin/sh -c 'exec /usr/bin/dockerd $DOCKER_OPTS'";
    writeUnit(`[Service]\nEnvironmentFile=${environmentFile()}\n${command}\n`);
    await expect(setUp(null)).rejects.toThrow(/DOCKER_OPTS in .* gives --bip/);
  });
});

describe("Docker's DNS servers", () => {
  const OURS = "169.254.53.53";
  async function setUpNames(
    resolvers: readonly string[] | null,
    target: SetupTarget | null = "daemon-json",
  ): Promise<SetupPlan> {
    const subnet = await readSubnetFile(paths.subnetFile);
    const planned = await planSetup({
      target,
      subnet,
      tulle,
      paths,
      resolvers,
      readVersion: async () => null,
    });
    for (const change of planned.changes) await applyChange(change);
    return planned;
  }
  const dns = () => JSON.parse(daemonJson()).dns;

  it("begin with ours, then the host's, and are taken out again", async () => {
    writeFileSync(paths.daemonJson, BY_HAND);
    await setUpNames(["192.0.2.1", "192.0.2.2", "192.0.2.3"]);
    expect(dns()).toEqual([OURS, "192.0.2.1", "192.0.2.2"]);
    expect((await setUpNames(["192.0.2.9"])).changes).toEqual([]);
    await unset();
    expect(daemonJson()).toBe(BY_HAND);
  });

  it("keep the administrator's behind ours", async () => {
    writeFileSync(paths.daemonJson, '{ "dns": ["192.0.2.7"] }');
    await setUpNames(["192.0.2.1"]);
    expect(dns()).toEqual([OURS, "192.0.2.7"]);
    await unset();
    expect(daemonJson()).toBe('{ "dns": ["192.0.2.7"] }');
  });

  it("stay as they are where names are not served", async () => {
    await setUpNames(null);
    expect(dns()).toBeUndefined();
    await setUpNames([]);
    expect(dns()).toEqual([OURS]);
    await setUpNames(null);
    expect(dns()).toEqual([OURS]);
  });

  it("are in daemon.json beside a drop-in too, alone", async () => {
    writeFileSync(paths.daemonJson, BY_HAND.replace('"mtu" : 9000,', ""));
    writeUnit();
    await setUpNames(["192.0.2.1"]);
    await setUpNames(["192.0.2.1"], "drop-in");
    expect(JSON.parse(daemonJson())).toEqual({ dns: [OURS, "192.0.2.1"], "log-opts": { "max-size": "10m" } });
    expect((await setUpNames(["192.0.2.1"], null)).changes).toEqual([]);
    await unset();
    expect(JSON.parse(daemonJson())).toEqual({ "log-opts": { "max-size": "10m" } });
  });

  it("on the command line are left alone, with a warning unless ours is first", async () => {
    writeUnit(UNIT.replace("-H fd://", "-H fd:// --dns 192.0.2.7 --dns=192.0.2.8"));
    const { warnings } = await setUpNames(["192.0.2.1"]);
    expect(dns()).toBeUndefined();
    expect(warnings).toEqual([expect.stringContaining("gives --dns=192.0.2.7")]);
    writeUnit(UNIT.replace("-H fd://", `-H fd:// --dns=${OURS}`));
    expect((await setUpNames(["192.0.2.1"])).warnings).toEqual([]);
  });
});
