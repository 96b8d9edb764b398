import { type EtcdLab, type Host, TULLE } from "./hosts.ts";

/** What the log says of a broken path, or of a limit that is reached. */
const ALARM = /(?:path to a peer is broken|paths to peers are broken|this host drops packets)/;

/** How the agents go on: most are stopped, some are killed, some give their lease back. */
const DISTURBANCES: readonly ((net: EtcdLab, host: Host) => Promise<void>)[] = [
  (_, host) => host.daemon.stop().then(() => undefined),
  (_, host) => host.daemon.kill(),
  async (net, host) => {
    const key = (await host.daemon.status())?.lease.key;
    await host.daemon.stop();
    // Cleaned up before the lease goes, the host would really be unreachable.
    const tulle = [...TULLE];
    if (key !== undefined) host.run(...tulle, "lease", "revoke", key, "--yes", ...storeFlags(net));
    host.run(...tulle, "cleanup", ...storeFlags(net), `--state-dir=${host.stateDirectory}`);
  },
];

const PAUSE_MS = 3_000;

/** Disturbs one agent after another for `minutes`. Returns how many it disturbed. Hosts must run. */
export async function disturb(net: EtcdLab, minutes: number, flags: readonly string[]): Promise<number> {
  const endMs = performance.now() + minutes * 60_000;
  let count = 0;
  for (; performance.now() < endMs; count++) {
    const host = net.host(1 + (count % net.lab.hosts.length));
    await DISTURBANCES[count % DISTURBANCES.length]?.(net, host);
    await host.daemon.start(...net.flags, ...flags);
    await new Promise((resolve) => setTimeout(resolve, PAUSE_MS));
  }
  return count;
}

/** The lines of all logs that call a path broken, each with the host's name. */
export function alarmsOf(net: EtcdLab): readonly string[] {
  return net.lab.hosts.flatMap(({ name, daemon }) =>
    daemon.log
      .split("\n")
      .filter((line) => ALARM.test(line))
      .map((line) => `${name}: ${line}`),
  );
}

/** True when every host has had an answer of all others. */
export async function isWell(net: EtcdLab): Promise<boolean> {
  const all = await Promise.all(net.lab.hosts.map(({ daemon }) => daemon.status()));
  return all.every(
    (status) =>
      status !== null &&
      status.peers.length === all.length - 1 &&
      status.peers.every(({ health }) => health?.state === "good"),
  );
}

function storeFlags(net: EtcdLab): readonly string[] {
  return net.flags.filter((flag) => !flag.startsWith("-iface"));
}
