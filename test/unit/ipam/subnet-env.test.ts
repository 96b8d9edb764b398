/** subnet.env as text and as a file of the last run. */

import { mkdtemp, rm, stat, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { readPreviousSubnets, readSubnetText, writeSubnetText } from "../../../agent/network/subnet-file.ts";
import { formatSubnetEnv, parseSubnetEnv } from "../../../ipam/config/subnet-env.ts";
import { network, prefix, recordingLogger } from "../../support/lease-fixture.ts";

const V4_TEXT = `FLANNEL_NETWORK=10.2.0.0/16
FLANNEL_SUBNET=10.2.54.1/24
FLANNEL_MTU=1450
FLANNEL_IPMASQ=false
`;
const DUAL_TEXT = `FLANNEL_NETWORK=10.2.0.0/16
FLANNEL_SUBNET=10.2.54.1/24
FLANNEL_IPV6_NETWORK=fd00:2::/48
FLANNEL_IPV6_SUBNET=fd00:2:0:54::1/64
FLANNEL_MTU=1430
FLANNEL_IPMASQ=true
`;

describe("the text", () => {
  it.each([V4_TEXT, DUAL_TEXT])("is written as flannel writes it", (text) => {
    expect(formatSubnetEnv(parseSubnetEnv(text))).toBe(text);
  });

  it("is read with quotes, blanks, exports, comments and several networks", () => {
    const text = `# by hand
export FLANNEL_NETWORK = "10.2.0.0/16, 10.9.0.0/16"
FLANNEL_SUBNET='10.2.54.1/24'

FLANNEL_MTU=1450
FLANNEL_IPMASQ=false`;
    expect(parseSubnetEnv(text).networks[4]).toEqual([prefix("10.2.0.0/16"), prefix("10.9.0.0/16")]);
  });

  it.each([
    [
      "",
      "FLANNEL_NETWORK, FLANNEL_SUBNET, FLANNEL_IPV6_NETWORK, FLANNEL_IPV6_SUBNET, FLANNEL_MTU, FLANNEL_IPMASQ are missing",
    ],
    ["FLANNEL_IPV6_SUBNET=fd00::1/64", "FLANNEL_IPV6_NETWORK, FLANNEL_MTU, FLANNEL_IPMASQ are missing"],
    [V4_TEXT.replace("FLANNEL_NETWORK", "X"), "FLANNEL_NETWORK is missing"],
    [V4_TEXT.replace("FLANNEL_MTU", "X"), "FLANNEL_MTU is missing"],
    [V4_TEXT.replace("FLANNEL_IPMASQ", "X"), "FLANNEL_IPMASQ is missing"],
    [V4_TEXT.replace("1450", "0"), 'FLANNEL_MTU is "0"'],
    [V4_TEXT.replace("false", "maybe"), 'FLANNEL_IPMASQ is "maybe"'],
    [V4_TEXT.replace("10.2.54.1/24", "10.2.54.1"), 'FLANNEL_SUBNET is "10.2.54.1"'],
    [V4_TEXT.replace("10.2.54.1/24", "fd00::1/64"), 'FLANNEL_SUBNET is "fd00::1/64" (not IPv4)'],
  ])("that is wrong is a CodecError with the key and the remedy", (text, message) => {
    expect(() => parseSubnetEnv(text)).toThrow(
      expect.objectContaining({
        code: "TULLE_CODEC",
        message: expect.stringMatching(
          new RegExp(`${message.replace(/[()/.]/g, "\\$&")}.*restart the agent`),
        ),
      }),
    );
  });
});

describe("the file of the last run", () => {
  let directory: string;
  let path: string;
  beforeEach(async () => {
    directory = await mkdtemp(join(tmpdir(), "tulle-subnet-"));
    path = join(directory, "flannel", "subnet.env");
  });
  afterEach(async () => {
    await rm(directory, { recursive: true });
  });

  async function previousOf(text: string) {
    await writeFile(join(directory, "subnet.env"), text);
    const logger = recordingLogger();
    const subnets = await readPreviousSubnets(join(directory, "subnet.env"), network(), logger);
    return { subnets, lines: logger.lines };
  }

  it("names the previous subnet", async () => {
    expect(await previousOf(V4_TEXT)).toEqual({ subnets: { 4: prefix("10.2.54.0/24") }, lines: [] });
  });

  it.each([
    ["of an agent that writes no more, or by hand", "FLANNEL_SUBNET=10.2.54.1/24\n"],
    ["of a smaller network", V4_TEXT.replace("10.2.0.0/16", "10.2.32.0/19")],
    ["of a larger network", V4_TEXT.replace("10.2.0.0/16", "10.0.0.0/8")],
    ["with what this version does not write", V4_TEXT.replace("=false", "=1").replace("1450", "0")],
  ])("names the previous subnet in a file %s, as flanneld reads it", async (_, text) => {
    expect(await previousOf(text)).toEqual({ subnets: { 4: prefix("10.2.54.0/24") }, lines: [] });
  });

  it("is silently absent at the first start", async () => {
    const logger = recordingLogger();
    expect(await readPreviousSubnets(path, network(), logger)).toBeNull();
    expect(logger.lines).toEqual([]);
  });

  it.each([
    ["cut short", V4_TEXT.slice(0, 50), /cannot be used/],
    ["of another network", V4_TEXT.replace("10.2.0.0", "10.9.0.0"), /another network/],
    ["empty", "", /cannot be used/],
  ])("is ignored, and that is said, when it is %s", async (_, text, message) => {
    const { subnets, lines } = await previousOf(text);
    expect(subnets).toBeNull();
    expect(lines).toMatchObject([{ level: "warn", message: expect.stringMatching(message) }]);
  });

  it("is written with its folder, readable for all", async () => {
    await writeSubnetText(path, V4_TEXT);
    expect((await stat(path)).mode & 0o777).toBe(0o644);
    expect(readSubnetText(path)).toBe(V4_TEXT);
  });
});
