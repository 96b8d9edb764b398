/** What must hold once a cluster of Docker hosts has healed. Each check returns what is wrong, one sentence each. */

import { execFile } from "node:child_process";
import { TULLE } from "../../support/hosts.ts";
import type { DockerLab } from "../docker-lab.ts";

import { type ChaosHost, NETWORK } from "./chaos-host.ts";

/** What `tulle ps --json` prints of a container. */
interface ListedContainer {
  readonly names: readonly string[];
  readonly hostName: string;
  readonly addresses: readonly string[];
  readonly isHostHere: boolean;
  readonly network: string;
}

interface RunningContainer {
  readonly name: string;
  readonly pid: string;
  readonly address: string;
}

export async function problemsOf(lab: DockerLab, hosts: readonly ChaosHost[]): Promise<readonly string[]> {
  const running = await Promise.all(hosts.map(runningOn));
  const every = running.flat();
  const found = await Promise.all([
    ...every.map((container) => unreachableFrom(container, every)),
    ...hosts.map((host, at) => leftoversOn(host, running[at]?.length ?? 0)),
    ...hosts.map(networkProblemsOn),
    listingProblems(lab, hosts, running),
    tulle(lab, "network", "ipam", "check").then(
      () => [],
      (error: Error) => [`tulle network ipam check: ${error.message}`],
    ),
  ]);
  const expected = hosts.flatMap(({ containers }) => containers).length;
  return [
    ...(every.length === expected ? [] : [`${every.length} of ${expected} containers run`]),
    ...found.flat(),
  ];
}

/** Names that a container of `from` cannot resolve. */
export async function unresolvedFrom(from: ChaosHost, names: readonly string[]): Promise<readonly string[]> {
  const [container] = await runningOn(from);
  if (container === undefined) throw new Error(`no container runs on ${from.name}`);
  const script = names.map((name) => `(nslookup ${name}. >/dev/null 2>&1 || echo ${name}) &`).join(" ");
  return (await inContainer(container.pid, `${script} wait`)).split("\n").filter(Boolean);
}

async function runningOn({ docker, containers }: ChaosHost): Promise<readonly RunningContainer[]> {
  const format = `{{.Name}} {{.State.Pid}} {{with index .NetworkSettings.Networks "${NETWORK}"}}{{.IPAddress}}{{end}}`;
  const names = containers.map(({ name }) => name);
  const { text } = await docker.attempt("inspect", "--format", format, ...names);
  return text.split("\n").flatMap((line) => {
    const [name = "", pid = "0", address = ""] = line.split(" ");
    return name.startsWith("/") && Number(pid) > 0 ? [{ name: name.slice(1), pid, address }] : [];
  });
}

/** Every other container, by name. */
async function unreachableFrom(
  { name, pid }: RunningContainer,
  every: readonly RunningContainer[],
): Promise<readonly string[]> {
  const others = every.filter((other) => other.name !== name);
  const script = others.map(
    (other) => `(ping -c 1 -W 2 ${other.name} >/dev/null 2>&1 || echo ${other.name}) &`,
  );
  const missing = (await inContainer(pid, `${script.join(" ")} wait`)).split("\n").filter(Boolean);
  return missing.map((other) => `${name} does not reach ${other} by name`);
}

/** Interfaces of containers that do not run. */
async function leftoversOn(host: ChaosHost, expected: number): Promise<readonly string[]> {
  const links = await output("ip", ["-n", host.docker.host.netns.name, "-o", "link"]);
  const named = [...links.matchAll(/^\d+: ([^:@]+)/gm)].map(([, name = ""]) => name);
  const ports = named.filter((name) => name.startsWith("tp-"));
  const loose = named.filter((name) => name.startsWith("tc-"));
  return [
    ...(ports.length === expected ? [] : [`${host.name}: ${ports.length} ports for ${expected} containers`]),
    ...loose.map((name) => `${host.name}: ${name} is in no container`),
  ];
}

async function networkProblemsOn({ name, docker }: ChaosHost): Promise<readonly string[]> {
  const { text } = await docker.attempt("network", "ls", "--filter", "driver=tulle", "--format", "{{.Name}}");
  return text === NETWORK ? [] : [`${name}: the networks are ${text.replaceAll("\n", ", ")}`];
}

/** What the store says of the containers, against the engines. */
async function listingProblems(
  lab: DockerLab,
  hosts: readonly ChaosHost[],
  running: readonly (readonly RunningContainer[])[],
): Promise<readonly string[]> {
  const listed = JSON.parse(await tulle(lab, "ps", "--json")) as readonly ListedContainer[];
  const inStore = listed.map(
    ({ names, hostName, addresses, isHostHere, network }) =>
      `${names[0]} on ${hostName}${isHostHere ? "" : " (away)"} in ${network} at ${addresses.join()}`,
  );
  const inEngines = hosts.flatMap((_, at) =>
    (running[at] ?? []).map(
      ({ name, address }) => `${name} on ${hostNameOf(listed)} in ${NETWORK} at ${address}`,
    ),
  );
  return [
    ...inStore.filter((line) => !inEngines.includes(line)).map((line) => `only the store has ${line}`),
    ...inEngines.filter((line) => !inStore.includes(line)).map((line) => `the store has not ${line}`),
  ];
}

/** All hosts of a lab have this machine's name. */
function hostNameOf([first]: readonly ListedContainer[]): string {
  return first?.hostName ?? "";
}

async function tulle(lab: DockerLab, ...args: readonly string[]): Promise<string> {
  const [endpoint = ""] = lab.net.etcd.endpoints;
  const flags = [`-etcd-endpoints=${endpoint}`, `-etcd-prefix=${lab.net.prefix}`];
  const enter = [`--net=${lab.net.lab.lan.path}`, ...TULLE];
  return await output("nsenter", [...enter, ...args, ...flags]);
}

async function inContainer(pid: string, script: string): Promise<string> {
  const enter = ["--target", pid, "--mount", "--net", "--root", "--wd=/"];
  return await output("nsenter", [...enter, "/bin/busybox", "sh", "-c", script]).catch((error: Error) => {
    // It ended meanwhile: the check of running containers says so.
    return error.message.includes("No such") ? "" : Promise.reject(error);
  });
}

function output(program: string, args: readonly string[]): Promise<string> {
  return new Promise((resolve, reject) => {
    execFile(program, args, { timeout: 30_000, maxBuffer: 1 << 26 }, (error, stdout, stderr) => {
      if (error === null) resolve(stdout);
      else reject(new Error(`${stdout}${stderr}`.trim() || error.message));
    });
  });
}
