/**
 * `tulle docker-opts`: subnet.env as options for dockerd, in place of flannel's mk-docker-opts.sh.
 *
 * Writes one file, or standard output; `tulle docker` configures and restarts Docker.
 */

import { lstat, readFile, writeFile } from "node:fs/promises";
import { Option } from "commander";
import { Prefix, parseInterfaceAddress } from "../../ipam/addresses/ip.ts";
import { readAssignments } from "../../ipam/config/subnet-env.ts";
import { ConfigError, ConflictError, errorMessage } from "../../ipam/errors.ts";
import type { Environment } from "../config/settings.ts";
import { daemonSettings, dockerFlags, formatDockerOpts, type Variables } from "../docker/docker-opts.ts";
import { replaceFile } from "../host/durable-file.ts";
import type { CommandModule } from "./command.ts";

interface DockerOptsOptions {
  readonly f: string;
  readonly d?: string;
  readonly i?: true;
  readonly c?: true;
  readonly k: string;
  readonly m?: true;
  readonly format: "env" | "flags" | "daemon-json";
}

const DEFAULT_OUTPUT = "/run/docker_opts.env";

const HELP = `
Without -i and -c both are written. DOCKER_OPT_… variables in the environment are passed on, and what the
combined variable holds there is put in front.

--format flags and daemon-json go to standard output unless -d is given, and need the -f file to exist;
with env a missing file gives empty options, as with the script.

Exit code: 1 also when a route through a gateway leads to this host's own subnet already, in which case
Docker could not use it; the file is written nevertheless.`;

export const dockerOpts: CommandModule = {
  define(command, context) {
    command
      .option("-f <file>", "subnet.env, as tulled writes it", "/run/flannel/subnet.env")
      .option("-d <file>", `file to write to (default: "${DEFAULT_OUTPUT}")`)
      .option("-i", "write each option as a variable of its own, such as DOCKER_OPT_MTU")
      .option("-c", "write all options into one variable")
      .option("-k <name>", "name of that variable", "DOCKER_OPTS")
      .option("-m", "leave --ip-masq out")
      .addOption(
        new Option("--format <form>", "what to write")
          .choices(["env", "flags", "daemon-json"])
          .default("env"),
      )
      .addHelpText("after", HELP)
      .action(async (options: DockerOptsOptions) => {
        const file = await readVariables(options.f, options.format === "env");
        const variables = new Map([...environmentVariables(context.environment), ...file]);
        const text = formatOptions(variables, options);
        if (options.format !== "env" && options.d === undefined) context.out.write(text);
        else await writeText(options.d ?? DEFAULT_OUTPUT, text);
        if (options.format === "env") await refuseGatewayRoute(variables.get("FLANNEL_SUBNET") ?? "");
      });
  },
};

function formatOptions(variables: Variables, options: DockerOptsOptions): string {
  const ipMasq = !options.m;
  switch (options.format) {
    case "flags":
      return `${dockerFlags(variables, ipMasq).join(" ")}\n`;
    case "daemon-json":
      return `${JSON.stringify(daemonSettings(variables, ipMasq), null, 2)}\n`;
    case "env": {
      const individual = options.i ?? !options.c;
      const combined = options.c ?? !options.i;
      return formatDockerOpts(variables, { individual, combined, combinedKey: options.k, ipMasq });
    }
  }
}

async function readVariables(path: string, mayBeAbsent: boolean): Promise<Variables> {
  try {
    return readAssignments(await readFile(path, "utf8"));
  } catch (error) {
    if (mayBeAbsent && error instanceof Error && "code" in error && error.code === "ENOENT") return new Map();
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

/** Only a regular file, or one yet to be made, is replaced; /dev/stdout, a link or a pipe is written through. */
async function writeText(path: string, text: string): Promise<void> {
  try {
    const existing = await lstat(path).catch(nullIfAbsent);
    if (existing === null || existing.isFile()) await replaceFile(path, text, 0o644);
    else await writeFile(path, text);
  } catch (error) {
    throw new ConfigError(`-d ${path} cannot be written: ${errorMessage(error)}; name another file`, {
      cause: error,
    });
  }
}

function nullIfAbsent(error: NodeJS.ErrnoException): null {
  if (error.code === "ENOENT") return null;
  throw error;
}

/** Docker makes the subnet's own route; one through a gateway would lead the containers' packets away. */
async function refuseGatewayRoute(subnetText: string): Promise<void> {
  if (subnetText === "") return;
  const { address, length } = parseInterfaceAddress(subnetText);
  const subnet = Prefix.of(address, length);
  const { findGateway } = await import("../docker/gateway-route.ts");
  const gateway = findGateway(subnet);
  if (gateway === null) return;
  throw new ConflictError(
    `this host's subnet ${subnet} is routed via ${gateway}: delete that route ("ip route del ${subnet}") before Docker starts`,
    { details: { subnet: subnet.toString(), gateway: gateway.toString() } },
  );
}
