/** What `tulle docker setup` writes, and `unset` takes back. */

import {
  chmodSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { formatDropIn } from "../../../../agent/docker/drop-in.ts";
import { applyChange, applyChanges } from "../../../../agent/docker/file-change.ts";
import { readServiceCommand } from "../../../../agent/docker/service-command.ts";
import { planUnset } from "../../../../agent/docker/setup-changes.ts";
import {
  BY_HAND,
  daemonJson,
  folder,
  IPV6,
  paths,
  plan,
  SUBNET_ENV,
  setProgram,
  setUp,
  tulle,
  UNIT,
  unset,
  useDockerFiles,
  writeSubnetEnv,
  writeUnit,
} from "../../../support/docker-setup-lab.ts";

useDockerFiles();

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

  it("read the subnet file that was named, else tulled's usual one", async () => {
    writeUnit();
    const read = (): string | undefined => /^ExecStartPre=.* -d \S+(.*)$/m.exec(dropIn())?.[1];
    await setUpDropIn();
    expect(read()).toBe(` -f ${paths.subnetFile}`);
    const service = await readServiceCommand(paths.unitDirectory);
    if (service === null) throw new Error("there is no unit");
    const usual = { removed: [], tulle, ip6tables: false, subnetFile: "/run/flannel/subnet.env" };
    expect(formatDropIn(service, usual)).not.toContain(" -f ");
  });

  it("call the program that was named, without the options of Docker's last start", async () => {
    writeUnit();
    const called = (): string | undefined => /^ExecStartPre=(.*) docker-opts -c /m.exec(dropIn())?.[1];
    await setUpDropIn();
    expect(called()).toBe(`/usr/bin/env -u TULLE_DOCKER_OPTS ${process.execPath}`);
    setProgram(join(folder, '50% "$of" all'));
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
    setProgram(program());
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
