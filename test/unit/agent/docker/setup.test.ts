import {
  chmodSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import type { SetupTarget } from "../../../../agent/docker/collisions.ts";
import { parseEngineVersion } from "../../../../agent/docker/engine-version.ts";
import { applyChange, applyChanges, type FileChange } from "../../../../agent/docker/file-change.ts";
import {
  planSetup,
  planUnset,
  readSubnetFile,
  type SetupPaths,
  type SetupPlan,
} from "../../../../agent/docker/setup.ts";

const SUBNET_ENV = `FLANNEL_NETWORK=10.2.0.0/16
FLANNEL_SUBNET=10.2.54.1/24
FLANNEL_MTU=1450
FLANNEL_IPMASQ=true
`;
const BY_HAND = `{
\t"mtu" : 9000,
\t"log-opts": { "max-size": "10m" }
}`;
const UNIT = `[Unit]
Description=Docker

[Service]
ExecStart=/usr/sbin/dockerd -H fd:// \\
  $DOCKER_OPTS
`;

let folder: string;
let paths: SetupPaths;
/** Any program: it is not called. */
let tulle = process.execPath;

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "tulle-docker-"));
  paths = {
    subnetFile: join(folder, "subnet.env"),
    daemonJson: join(folder, "docker/daemon.json"),
    unitDirectory: join(folder, "system"),
  };
  mkdirSync(join(folder, "docker"));
  mkdirSync(join(folder, "system/docker.service.d"), { recursive: true });
  writeFileSync(paths.subnetFile, SUBNET_ENV);
  tulle = process.execPath;
});
afterEach(() => rmSync(folder, { recursive: true }));

const IPV6 = "FLANNEL_IPV6_NETWORK=fd00:2::/48\nFLANNEL_IPV6_SUBNET=fd00:2:0:54::1/64\n";
const writeSubnetEnv = (text: string): void => writeFileSync(paths.subnetFile, text);

async function plan(asked: SetupTarget | null, version: string | null = null): Promise<SetupPlan> {
  const subnet = await readSubnetFile(paths.subnetFile);
  return await planSetup(asked, subnet, tulle, paths, async () =>
    version === null ? null : parseEngineVersion(`Docker version ${version}, build 1`),
  );
}

async function setUp(asked: SetupTarget | null = "daemon-json"): Promise<readonly FileChange[]> {
  const { changes } = await plan(asked);
  for (const change of changes) await applyChange(change);
  return changes;
}

async function unset(): Promise<void> {
  for (const change of await planUnset(paths)) await applyChange(change);
}

const daemonJson = (): string => readFileSync(paths.daemonJson, "utf8");
const writeUnit = (text = UNIT): void => writeFileSync(join(paths.unitDirectory, "docker.service"), text);

describe("Docker's settings in daemon.json", () => {
  it("are written once, and taken out again to the byte", async () => {
    writeFileSync(paths.daemonJson, BY_HAND);
    await setUp();
    expect(JSON.parse(daemonJson())).toEqual({
      mtu: 1450,
      "log-opts": { "max-size": "10m" },
      bip: "10.2.54.1/24",
      "ip-masq": false,
    });
    expect(await setUp()).toEqual([]);
    await unset();
    expect(daemonJson()).toBe(BY_HAND);
    expect(await planUnset(paths)).toEqual([]);
  });

  it("follow a new subnet, and the file of before survives that", async () => {
    writeFileSync(paths.daemonJson, BY_HAND);
    await setUp();
    writeFileSync(paths.subnetFile, SUBNET_ENV.replace("10.2.54", "10.2.60"));
    await setUp();
    expect(JSON.parse(daemonJson()).bip).toBe("10.2.60.1/24");
    await unset();
    expect(daemonJson()).toBe(BY_HAND);
  });

  it("keep what the administrator adds later", async () => {
    writeFileSync(paths.daemonJson, BY_HAND);
    await setUp();
    writeFileSync(paths.daemonJson, daemonJson().replace("{", '{ "debug": true,'));
    await unset();
    expect(JSON.parse(daemonJson())).toEqual({ ...JSON.parse(BY_HAND), debug: true });
  });

  it("make a file where there was none, and remove it again", async () => {
    await setUp();
    expect(JSON.parse(daemonJson())).toEqual({ bip: "10.2.54.1/24", mtu: 1450, "ip-masq": false });
    writeFileSync(paths.subnetFile, SUBNET_ENV.replace("10.2.54", "10.2.60"));
    await setUp();
    await unset();
    expect(() => daemonJson()).toThrow("ENOENT");
  });

  it("go through a symbolic link and keep the file's mode", async () => {
    const real = join(folder, "managed.json");
    writeFileSync(real, BY_HAND);
    chmodSync(real, 0o600);
    symlinkSync(real, paths.daemonJson);
    await setUp();
    expect(JSON.parse(readFileSync(real, "utf8")).bip).toBe("10.2.54.1/24");
    expect(statSync(real).mode & 0o777).toBe(0o600);
    expect(statSync(`${paths.daemonJson}.before-tulle`).mode & 0o777).toBe(0o600);
    await unset();
    expect(readFileSync(real, "utf8")).toBe(BY_HAND);
  });

  it("carry IPv6 as a range, and warn where the network lost it", async () => {
    writeSubnetEnv(SUBNET_ENV + IPV6);
    await setUp();
    expect(JSON.parse(daemonJson())).toEqual({
      bip: "10.2.54.1/24",
      mtu: 1450,
      "ip-masq": false,
      ipv6: true,
      "fixed-cidr-v6": "fd00:2:0:54::/64",
    });
    writeSubnetEnv(SUBNET_ENV);
    expect((await plan(null)).warnings).toEqual([
      expect.stringMatching(/"fixed-cidr-v6" to "fd00:2:0:54::\/64".*no IPv6 any more/),
    ]);
    await unset();
    expect(() => daemonJson()).toThrow("ENOENT");
  });

  it.each([
    ["19.03.15", undefined, /Docker 19.3 cannot masquerade IPv6/],
    ["20.10.24+dfsg1", true, /Docker 20.10 masquerades IPv6 only with ip6tables, an experimental feature/],
    ["26.1.5+dfsg1", true, /Docker 26.1 masquerades IPv6 only with ip6tables/],
    ["27.0.1", undefined, null],
    ["28.5.2", undefined, null],
    [null, undefined, null],
  ])("let Docker %s masquerade IPv6 where tulled does not", async (version, ip6tables, warning) => {
    writeSubnetEnv(SUBNET_ENV.replace("true", "false") + IPV6);
    const { changes, warnings } = await plan("daemon-json", version);
    const written = JSON.parse(changes.find(({ path }) => path === paths.daemonJson)?.after ?? "");
    expect([written.ip6tables, written.experimental]).toEqual([ip6tables, ip6tables]);
    expect(warnings).toEqual(warning === null ? [] : [expect.stringMatching(warning)]);
    writeSubnetEnv(SUBNET_ENV + IPV6);
    expect(await plan("daemon-json", version)).toMatchObject({ warnings: [] });
  });

  it("are refused for a network of IPv6 alone, with the command for a network of its own", async () => {
    writeSubnetEnv(`${IPV6}FLANNEL_MTU=1430\nFLANNEL_IPMASQ=true\n`);
    await expect(setUp()).rejects.toThrow(
      /IPv6 only.*docker network create --ipv4=false --ipv6 --subnet fd00:2:0:54::\/64 --gateway fd00:2:0:54::1 .*mtu=1430.*masquerade=false/,
    );
    expect(() => daemonJson()).toThrow("ENOENT");
  });

  it.each([
    ["comments", '{ "debug": true } // mine', /not valid JSON/],
    ["half a file", '{ "debug": ', /not valid JSON/],
    ["another bridge", '{ "bridge": "br0" }', /accepts no bip together with it/],
  ])("are refused for %s, and nothing is written", async (_, text, message) => {
    writeFileSync(paths.daemonJson, text);
    await expect(setUp()).rejects.toThrow(message);
    expect(daemonJson()).toBe(text);
  });

  it("name the file that cannot be written, or is a link to nowhere", async () => {
    writeFileSync(join(folder, "file"), "");
    const inFile = join(folder, "file/daemon.json");
    await expect(applyChange({ path: inFile, before: null, after: "{}" })).rejects.toThrow(inFile);
    symlinkSync(join(folder, "nowhere"), paths.daemonJson);
    await expect(setUp()).rejects.toThrow(/daemon.json cannot be read: .* to nowhere/);
  });

  it("are made all or not at all, and leave no half-written file", async () => {
    const there = join(folder, "there");
    writeFileSync(there, "as it was");
    mkdirSync(join(folder, "directory"));
    const changes = [
      { path: join(folder, "new"), before: null, after: "text" },
      { path: there, before: "as it was", after: "text" },
      { path: join(folder, "directory"), before: null, after: "a directory cannot be replaced" },
    ];
    const before = readdirSync(folder);
    await expect(applyChanges(changes)).rejects.toThrow(/directory cannot be written/);
    expect(readdirSync(folder)).toEqual(before);
    expect(readFileSync(there, "utf8")).toBe("as it was");
  });

  it("need a subnet file", async () => {
    rmSync(paths.subnetFile);
    await expect(setUp()).rejects.toThrow(/start tulled/);
  });
});

describe("Docker's settings in a drop-in", () => {
  const dropIn = (): string =>
    readFileSync(join(paths.unitDirectory, "docker.service.d/50-tulle.conf"), "utf8");
  const setUpDropIn = () => setUp("drop-in");

  it("keep the unit's command and read the subnet at each start", async () => {
    writeUnit();
    await setUpDropIn();
    expect(dropIn()).toContain(
      "ExecStart=\nExecStart=/usr/sbin/dockerd -H fd:// $DOCKER_OPTS $TULLE_DOCKER_OPTS\n",
    );
    expect(await setUpDropIn()).toEqual([]);
    await unset();
    expect(() => dropIn()).toThrow("ENOENT");
  });

  it("replace options that stand in the unit by hand, in any spelling", async () => {
    writeUnit(UNIT.replace("$DOCKER_OPTS", "--bip=10.2.54.1/24 --mtu 1450 --ip-masq $OTHERS"));
    await expect(setUp("daemon-json")).rejects.toThrow(
      /gives --bip=10\.2\.54\.1\/24, .*gives --mtu 1450, .*gives --ip-masq, /,
    );
    await setUp(null);
    expect(dropIn()).toContain("\nExecStart=/usr/sbin/dockerd -H fd:// $OTHERS $TULLE_DOCKER_OPTS\n");
  });

  it("carry IPv6, and replace those options in the unit only where the network has it", async () => {
    writeUnit(UNIT.replace("$DOCKER_OPTS", "--ipv6 --fixed-cidr-v6 fd00:9::/64"));
    await setUpDropIn();
    expect(dropIn()).toContain("dockerd -H fd:// --ipv6 --fixed-cidr-v6 fd00:9::/64 $TULLE_DOCKER_OPTS\n");
    writeSubnetEnv(SUBNET_ENV + IPV6);
    const { start } = await plan("drop-in");
    expect(start?.arguments).toEqual([
      ...["-H", "fd://", "--bip=10.2.54.1/24", "--ip-masq=false", "--mtu=1450"],
      ...["--ipv6=true", "--fixed-cidr-v6=fd00:2:0:54::/64"],
    ]);
    await setUpDropIn();
    expect(dropIn()).toContain("dockerd -H fd:// $TULLE_DOCKER_OPTS\n");
    expect(dropIn()).toContain("docker-opts -c -k TULLE_DOCKER_OPTS ");
    writeFileSync(paths.daemonJson, '{ "ipv6": true }');
    await expect(setUpDropIn()).rejects.toThrow(/daemon\.json sets "ipv6", and dockerd refuses/);
    rmSync(paths.daemonJson);
    writeSubnetEnv(SUBNET_ENV.replace("true", "false") + IPV6);
    const old = await plan("drop-in", "20.10.24");
    expect(old.start?.arguments.slice(-2)).toEqual(["--ip6tables=true", "--experimental=true"]);
    expect(old.changes.at(0)?.after).toContain("docker-opts -c --ip6tables -k TULLE_DOCKER_OPTS ");
  });

  it("call the program that was named, without the options of Docker's last start", async () => {
    writeUnit();
    const called = (): string | undefined => /^ExecStartPre=(.*) docker-opts -c /m.exec(dropIn())?.[1];
    await setUpDropIn();
    expect(called()).toBe(`/usr/bin/env -u TULLE_DOCKER_OPTS ${process.execPath}`);
    tulle = join(folder, '50% "$of" all');
    writeFileSync(tulle, "#!/bin/sh\n", { mode: 0o755 });
    await setUpDropIn();
    expect(called()).toBe(`/usr/bin/env -u TULLE_DOCKER_OPTS "${folder}/50%% \\"$$of\\" all"`);
  });

  it.each([
    ["is not there", () => join(folder, "none")],
    ["is no file", () => folder],
    ["cannot be run", () => paths.subnetFile],
    ["is relative", () => "node"],
  ])("reject a program that %s", async (_, program) => {
    writeUnit();
    tulle = program();
    await expect(setUpDropIn()).rejects.toThrow(`--tulle "${tulle}" is wrong: give the absolute path`);
    expect(() => dropIn()).toThrow("ENOENT");
    await setUp("daemon-json");
  });

  it("follow the administrator's own drop-ins in systemd's order", async () => {
    writeUnit();
    const own = (name: string, text: string): void =>
      writeFileSync(join(paths.unitDirectory, "docker.service.d", name), text);
    own("20-b.conf", "[Service]\nExecStart=\nExecStart=/opt/dockerd --two\n");
    own("10-a.conf", "[Service]\nExecStart=\nExecStart=/opt/dockerd --one\n");
    await setUpDropIn();
    expect(dropIn()).toContain("\nExecStart=/opt/dockerd --two $TULLE_DOCKER_OPTS\n");
  });

  it("take the place of those in daemon.json, and the other way round", async () => {
    writeUnit();
    const others = BY_HAND.replace('\t"mtu" : 9000,\n', "");
    writeFileSync(paths.daemonJson, others);
    await setUp();
    await setUpDropIn();
    expect(daemonJson()).toBe(others);
    await setUp();
    expect(() => dropIn()).toThrow("ENOENT");
  });
});

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
    const planned = await planSetup(target, subnet, tulle, paths, async () => null, resolvers);
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
