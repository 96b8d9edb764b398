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
import { applyChange, applyChanges, type FileChange } from "../../../../agent/docker/file-change.ts";
import {
  chooseTarget,
  planDaemonJson,
  planDropIn,
  planUnset,
  readSubnetFile,
  type SetupPaths,
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
});
afterEach(() => rmSync(folder, { recursive: true }));

async function setUp(): Promise<readonly FileChange[]> {
  const { settings } = await readSubnetFile(paths.subnetFile);
  const changes = await planDaemonJson(settings, paths);
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

  it("carry IPv6 as a range, for which Docker has no bip", async () => {
    writeFileSync(
      paths.subnetFile,
      `${SUBNET_ENV}FLANNEL_IPV6_NETWORK=fd00:2::/48\nFLANNEL_IPV6_SUBNET=fd00:2:0:54::1/64\n`,
    );
    await setUp();
    expect(JSON.parse(daemonJson())).toMatchObject({ ipv6: true, "fixed-cidr-v6": "fd00:2:0:54::/64" });
  });

  it.each([
    ["comments", '{ "debug": true } // mine', /not valid JSON/],
    ["half a file", '{ "debug": ', /not valid JSON/],
    ["another bridge", '{ "bridge": "br0" }', /no bip beside it/],
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
  const setUpDropIn = async (): Promise<readonly FileChange[]> => {
    const changes = await planDropIn("/usr/bin/tulle", paths);
    for (const change of changes) await applyChange(change);
    return changes;
  };

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
    expect(await chooseTarget(null, paths)).toBe("drop-in");
    await expect(chooseTarget("daemon-json", paths)).rejects.toThrow(
      /--bip=10.2.54.1\/24 --mtu 1450 --ip-masq/,
    );
    await setUpDropIn();
    expect(dropIn()).toContain("\nExecStart=/usr/sbin/dockerd -H fd:// $OTHERS $TULLE_DOCKER_OPTS\n");
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
    writeFileSync(paths.daemonJson, BY_HAND);
    await setUp();
    await setUpDropIn();
    expect(daemonJson()).toBe(BY_HAND);
    await setUp();
    expect(() => dropIn()).toThrow("ENOENT");
  });
});
