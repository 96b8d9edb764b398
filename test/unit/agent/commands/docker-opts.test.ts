import { execFileSync } from "node:child_process";
import { link, lstat, mkdtemp, readFile, rm, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import type { Environment } from "../../../../agent/config/settings.ts";
import { runCli } from "../../../support/cli.ts";

const SUBNET_ENV = "FLANNEL_NETWORK=203.0.112.0/20\nFLANNEL_SUBNET=203.0.113.1/24\nFLANNEL_MTU=1450\n";

let directory: string;
let input: string;
let output: string;
beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), "tulle-docker-opts-"));
  input = join(directory, "subnet.env");
  output = join(directory, "docker.env");
});
afterEach(() => rm(directory, { recursive: true }));

/** What the file holds after a run. */
async function written(subnetEnv: string, args: string[], environment: Environment = {}): Promise<string> {
  await writeFile(input, subnetEnv);
  const answer = await runCli(["docker-opts", "-f", input, "-d", output, ...args], { environment });
  expect(answer).toEqual({ code: 0, out: "", err: "" });
  return await readFile(output, "utf8");
}

const BIP = 'DOCKER_OPT_BIP="--bip=203.0.113.1/24"\n';
const MTU = 'DOCKER_OPT_MTU="--mtu=1450"\n';
const MASQ = 'DOCKER_OPT_IPMASQ="--ip-masq=true"\n';
const ALL = " --bip=203.0.113.1/24 --ip-masq=true --mtu=1450";
const WITH_MASQ = `${SUBNET_ENV}FLANNEL_IPMASQ=false\n`;

describe("the file is the script's, byte for byte", () => {
  it.each<[string, string[], string]>([
    ["both forms without a choice", [], `${BIP}${MASQ}${MTU}DOCKER_OPTS="${ALL}"\n`],
    ["-i", ["-i"], BIP + MASQ + MTU],
    ["-c", ["-c"], `DOCKER_OPTS="${ALL}"\n`],
    ["-i -c", ["-i", "-c"], `${BIP}${MASQ}${MTU}DOCKER_OPTS="${ALL}"\n`],
    ["-ic in one word", ["-ic"], `${BIP}${MASQ}${MTU}DOCKER_OPTS="${ALL}"\n`],
    ["-k", ["-c", "-k", "DOCKER_NETWORK_OPTIONS"], `DOCKER_NETWORK_OPTIONS="${ALL}"\n`],
    ["-k in one word", ["-ckNET"], `NET="${ALL}"\n`],
    ["-m", ["-m"], `${BIP}${MTU}DOCKER_OPTS=" --bip=203.0.113.1/24 --mtu=1450"\n`],
  ])("%s", async (_name, args, expected) => {
    expect(await written(WITH_MASQ, args)).toBe(expected);
  });

  it("Docker does not masquerade where the agent does", async () => {
    expect(await written(`${SUBNET_ENV}FLANNEL_IPMASQ=true\n`, ["-i"])).toContain('"--ip-masq=false"');
  });

  it("what subnet.env does not say is left out", async () => {
    expect(await written(SUBNET_ENV, ["-i"])).toBe(BIP + MTU);
    expect(await written("FLANNEL_MTU=1450\n", [])).toBe(`${MTU}DOCKER_OPTS=" --mtu=1450"\n`);
    expect(await written("", [])).toBe('DOCKER_OPTS=""\n');
  });

  it("IPv6 has the options that the script lacks", async () => {
    const dual = `${WITH_MASQ}FLANNEL_IPV6_NETWORK=fd00:2::/48\nFLANNEL_IPV6_SUBNET=fd00:2:0:54::1/64\n`;
    const range = 'DOCKER_OPT_FIXED_CIDR_V6="--fixed-cidr-v6=fd00:2:0:54::/64"\n';
    expect(await written(dual, ["-i"])).toBe(`${BIP}${range}${MASQ}DOCKER_OPT_IPV6="--ipv6=true"\n${MTU}`);
    expect(await written(dual, ["-c", "--ip6tables"])).toBe(
      'DOCKER_OPTS=" --bip=203.0.113.1/24 --experimental=true --fixed-cidr-v6=fd00:2:0:54::/64 --ip6tables=true --ip-masq=true --ipv6=true --mtu=1450"\n',
    );
    expect(await written(dual.replace("MASQ=false", "MASQ=true"), ["-c", "--ip6tables"])).not.toContain(
      "ip6tables",
    );
  });

  it.each([
    [
      "IPv6 alone",
      "FLANNEL_IPV6_SUBNET=fd00:2:0:54::1/64\nFLANNEL_MTU=1430\n",
      /IPv6 only.*docker network create/,
    ],
    ["a damaged subnet", "FLANNEL_IPV6_SUBNET=fd00\n", /FLANNEL_IPV6_SUBNET is "fd00".*restart the agent/],
    ["text for a subnet", "FLANNEL_SUBNET=banana\n", /FLANNEL_SUBNET is "banana".*restart the agent/],
    ["text for an MTU", "FLANNEL_MTU=wide\n", /FLANNEL_MTU is "wide".*restart the agent/],
  ])("%s is one error, and nothing is written", async (_, text, message) => {
    await writeFile(input, text);
    const { code, err } = await runCli(["docker-opts", "-f", input, "-d", output]);
    expect(code).toBe(1);
    expect(err).toMatch(message);
    await expect(readFile(output)).rejects.toThrow("ENOENT");
  });

  it("variables of the environment take part, those of the file win", async () => {
    const environment = {
      DOCKER_OPTS: "--debug",
      DOCKER_OPT_LOG: "--log-level=warn",
      DOCKER_OPT_MTU: "--mtu=9000",
      FLANNEL_IPMASQ: "true",
    };
    expect(await written(SUBNET_ENV, [], environment)).toBe(
      `${BIP}DOCKER_OPT_IPMASQ="--ip-masq=false"\nDOCKER_OPT_LOG="--log-level=warn"\n${MTU}` +
        'DOCKER_OPTS="--debug  --bip=203.0.113.1/24 --ip-masq=false --log-level=warn --mtu=1450"\n',
    );
  });

  it("accepts a missing subnet.env", async () => {
    const answer = await runCli(["docker-opts", "-f", join(directory, "none"), "-d", output]);
    expect(answer).toEqual({ code: 0, out: "", err: "" });
    expect(await readFile(output, "utf8")).toBe('DOCKER_OPTS=""\n');
  });

  it("a wrong FLANNEL_IPMASQ is one, unless it is not asked for", async () => {
    expect(await written(`${SUBNET_ENV}FLANNEL_IPMASQ=maybe\n`, ["-m"])).toContain("--mtu");
    const { code, err } = await runCli(["docker-opts", "-f", input, "-d", output]);
    expect(code).toBe(1);
    expect(err).toMatch(/^tulle: .*FLANNEL_IPMASQ is "maybe".*\[TULLE_CONFIG\]\n$/);
  });

  it("the combined key must be a name, where the script would run it as code", async () => {
    const { code, err } = await runCli(["docker-opts", "-f", input, "-d", output, "-k", "X;reboot"]);
    expect(code).toBe(1);
    expect(err).toContain('-k "X;reboot" is not a name for a shell variable');
  });
});

describe("where it is written", () => {
  it("a link, as /dev/stdout is one, is written through and stays", async () => {
    const target = join(directory, "target");
    await writeFile(target, "before");
    await symlink(target, output);
    await written(WITH_MASQ, ["-c"]);
    expect((await lstat(output)).isSymbolicLink()).toBe(true);
    expect(await readFile(target, "utf8")).toBe(`DOCKER_OPTS="${ALL}"\n`);
  });

  it.each<[string, () => Promise<string>]>([
    ["the same path", async () => input],
    ["another spelling of it", async () => join(directory, "x", "..", "subnet.env")],
    ["a link to it", () => symlink(input, output).then(() => output)],
    ["a second name of it", () => link(input, output).then(() => output)],
    [
      "a path through a linked folder",
      () => symlink(directory, join(directory, "alias")).then(() => join(directory, "alias/subnet.env")),
    ],
  ])("%s as -f is refused, and the file stays", async (_, makePath) => {
    await writeFile(input, WITH_MASQ);
    const { code, err } = await runCli(["docker-opts", "-f", input, "-d", await makePath()]);
    expect(code).toBe(1);
    expect(err).toMatch(/^tulle: -d .* is the file that -f .* reads.*name another file.*\n$/);
    expect(await readFile(input, "utf8")).toBe(WITH_MASQ);
  });

  it("a FIFO that has no reader is reported instead of waited for", async () => {
    execFileSync("mkfifo", [output]);
    await writeFile(input, WITH_MASQ);
    const { code, err } = await runCli(["docker-opts", "-f", input, "-d", output]);
    expect(code).toBe(1);
    expect(err).toContain(`-d ${output} cannot be written`);
  });

  it("a directory that is missing is named", async () => {
    const path = join(directory, "none", "docker.env");
    const { code, err } = await runCli(["docker-opts", "-f", input, "-d", path]);
    expect(code).toBe(1);
    expect(err).toContain(`-d ${path} cannot be written`);
  });
});

describe("other forms", () => {
  beforeEach(() => writeFile(input, WITH_MASQ));

  it("flags for a command line", async () => {
    const { out } = await runCli(["docker-opts", "-f", input, "--format", "flags"]);
    expect(out).toBe("--bip=203.0.113.1/24 --ip-masq=true --mtu=1450\n");
  });

  it("settings of daemon.json", async () => {
    const { out } = await runCli(["docker-opts", "-f", input, "--format", "daemon-json", "-m"]);
    expect(JSON.parse(out)).toEqual({ bip: "203.0.113.1/24", mtu: 1450 });
  });

  it("need the file", async () => {
    const { code, err } = await runCli(["docker-opts", "-f", join(directory, "none"), "--format", "flags"]);
    expect(code).toBe(1);
    expect(err).toContain("start tulled, or name its subnet file");
  });
});
