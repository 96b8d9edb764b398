/**
 * `tulle docker-opts`: subnet.env as options for dockerd, in place of flannel's mk-docker-opts.sh.
 *
 * Writes one file or standard output; `tulle docker` configures and restarts Docker.
 */

import { lstatSync, realpathSync, statSync } from "node:fs";
import { basename, dirname, join, resolve } from "node:path";
import { Option } from "commander";
import { Prefix } from "../../ipam/addresses/ip.ts";
import { DEFAULT_PATHS } from "../../ipam/config/default-paths.ts";
import { readAssignments } from "../../ipam/config/subnet-env.ts";
import { ConfigError, ConflictError, errorMessage } from "../../ipam/errors.ts";
import { readForeignFile, readRequiredFile } from "../../ipam/files/read.ts";
import { replaceFile, writeThrough } from "../../ipam/files/write.ts";
import type { Environment } from "../config/settings.ts";
import {
  bridgeAddress,
  containerRange,
  daemonSettings,
  dockerFlags,
  formatDockerOpts,
  type Variables,
} from "../docker/docker-opts.ts";
import type { CommandModule } from "../terminal/command.ts";

interface DockerOptsOptions {
  readonly f: string;
  readonly d?: string;
  readonly i?: true;
  readonly c?: true;
  readonly k: string;
  readonly m?: true;
  readonly ip6tables?: true;
  readonly format: "env" | "flags" | "daemon-json";
}

const DEFAULT_OUTPUT = "/run/docker_opts.env";

const HELP = `
Without -i and -c both are written. DOCKER_OPT_… variables in the environment are passed on, and what the
combined variable holds there is put in front.

--format flags and daemon-json go to standard output unless -d is given, and need the -f file to exist;
with env a missing file gives empty options, as with the script.

For a network with an IPv6 range, --ipv6 and --fixed-cidr-v6 are added. Docker's default bridge cannot have IPv6 alone:
such a network is an error, which names the command for a network of its own.

Exit code: 1 also when a route through a gateway leads to this host's own subnet already, in which case
Docker could not use it; the file is written nevertheless.`;

export const dockerOpts: CommandModule = {
  define(command, context) {
    command
      .option("-f <file>", "subnet.env, as tulled writes it", DEFAULT_PATHS.subnetFile)
      .option("-d <file>", `file to write to (default: "${DEFAULT_OUTPUT}")`)
      .option("-i", "write each option as a variable of its own, such as DOCKER_OPT_MTU")
      .option("-c", "write all options into one variable")
      .option("-k <name>", "name of that variable", "DOCKER_OPTS")
      .option("-m", "leave --ip-masq out")
      .option(
        "--ip6tables",
        "for Docker 20.10 to 26, where it masquerades IPv6: --ip6tables and --experimental",
      )
      .addOption(
        new Option("--format <form>", "what to write")
          .choices(["env", "flags", "daemon-json"])
          .default("env"),
      )
      .addHelpText("after", HELP)
      .action(async (options: DockerOptsOptions) => {
        const output = outputOf(options);
        if (output !== null) refuseSameFile(options.f, output);
        const file = readVariables(options.f, options.format === "env");
        const variables = new Map([...environmentVariables(context.environment), ...file]);
        const text = formatOptions(variables, options);
        if (output === null) context.out.write(text);
        else await writeText(output, text);
        if (options.format !== "env") return;
        const bridge = bridgeAddress(variables);
        if (bridge !== null) await refuseGatewayRoute(Prefix.of(bridge.address, bridge.length));
        const range = containerRange(variables);
        if (range !== null) await refuseGatewayRoute(range);
      });
  },
};

/** The file to write, null for standard output. */
function outputOf({ d, format }: DockerOptsOptions): string | null {
  return d ?? (format === "env" ? DEFAULT_OUTPUT : null);
}

/** Set-up scripts pass one file for both, and the subnet file would be lost. */
function refuseSameFile(input: string, output: string): void {
  if (!isSameFile(input, output)) return;
  throw new ConfigError(
    `-d ${output} is the file that -f ${input} reads, and tulled's subnet file would be overwritten: name another file, such as -d ${DEFAULT_OUTPUT}`,
  );
}

/** By name, through links, or as two names of one inode. */
function isSameFile(left: string, right: string): boolean {
  if (placeOf(left) === placeOf(right)) return true;
  const [one, two] = [left, right].map((path) => statSync(path, { throwIfNoEntry: false }));
  return one !== undefined && one.dev === two?.dev && one.ino === two.ino;
}

/** The path with the links of its folder resolved; the file itself may be missing. */
function placeOf(path: string): string {
  const absolute = resolve(path);
  try {
    return join(realpathSync(dirname(absolute)), basename(absolute));
  } catch {
    return absolute; // the folder is missing, and reading or writing reports that
  }
}

function formatOptions(variables: Variables, options: DockerOptsOptions): string {
  const choice = { ipMasq: !options.m, ip6tables: options.ip6tables === true };
  switch (options.format) {
    case "flags":
      return `${dockerFlags(variables, choice).join(" ")}\n`;
    case "daemon-json":
      return `${JSON.stringify(daemonSettings(variables, choice), null, 2)}\n`;
    case "env": {
      const individual = options.i ?? !options.c;
      const combined = options.c ?? !options.i;
      return formatDockerOpts(variables, { individual, combined, combinedKey: options.k, ...choice });
    }
  }
}

function readVariables(path: string, mayBeAbsent: boolean): Variables {
  try {
    if (!mayBeAbsent) return readAssignments(readRequiredFile(path));
    return readAssignments(readForeignFile(path) ?? "");
  } catch (error) {
    throw new ConfigError(
      `-f ${path} cannot be read (${errorMessage(error)}): start tulled, or name its subnet file`,
      {
        cause: error,
      },
    );
  }
}

function environmentVariables(environment: Environment): Variables {
  return new Map(
    Object.entries(environment).flatMap(([name, value]) =>
      value === undefined ? [] : [[name, value] as const],
    ),
  );
}

/** Replaces a regular file and creates a missing one; writes to what /dev/stdout, another link or a FIFO leads to. */
async function writeText(path: string, text: string): Promise<void> {
  try {
    const existing = lstatSync(path, { throwIfNoEntry: false });
    if (existing === undefined || existing.isFile()) await replaceFile(path, text, { mode: 0o644 });
    else writeThrough(path, text);
  } catch (error) {
    throw new ConfigError(`-d ${path} cannot be written: ${errorMessage(error)}; name another file`, {
      cause: error,
    });
  }
}

/** Docker makes the subnet's own route; one through a gateway would lead the containers' packets away. */
async function refuseGatewayRoute(subnet: Prefix): Promise<void> {
  const { findGateway } = await import("../docker/gateway-route.ts");
  const gateway = findGateway(subnet);
  if (gateway === null) return;
  throw new ConflictError(
    `this host's subnet ${subnet} is routed via ${gateway}: delete that route ("ip route del ${subnet}") before Docker starts`,
    { details: { subnet: subnet.toString(), gateway: gateway.toString() } },
  );
}
