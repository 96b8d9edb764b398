/**
 * Answers of the name server: 10,000 names on 50 hosts in one network, one question after another over UDP on the
 * loopback interface, from the same process. Then the same while a host's members change before each question.
 */

import { createSocket } from "node:dgram";
import { encode } from "dns-packet";
import { DNS_PORT, NAME_SERVER } from "../../agent/names/name-server-address.ts";
import { NameService } from "../../agent/names/name-service.ts";
import { RtnetlinkPort } from "../../backends/kernel/rtnetlink-port.ts";
import { NetlinkConnection } from "../../backends/netlink/connection.ts";
import { systemClock } from "../../ipam/clock.ts";
import { Faults } from "../../ipam/faults.ts";
import { silentLogger } from "../../ipam/log.ts";
import type { NamedNetworksView } from "../../ipam/named-networks/contracts.ts";
import type { Member } from "../../ipam/named-networks/named-network.ts";
import { hostId, member, networkId, viewOf } from "../support/named-view.ts";
import type { Bench } from "./support/report.ts";

const HOSTS = 50;
const NETWORK = networkId(1);

export const bench: Bench = async (report, { isQuick }) => {
  const perHost = isQuick ? 10 : 200;
  const hosts = Array.from({ length: HOSTS }, (_, host) => membersOf(host, perHost));
  let view = viewOf({ red: hosts });
  const port = RtnetlinkPort.open();
  const netlink = NetlinkConnection.open();
  const stop = new AbortController();
  const service = new NameService({
    runtime: {
      clock: systemClock,
      random: Math.random,
      logger: silentLogger,
      faults: new Faults(silentLogger),
      port,
      netlink,
    },
    view: () => view,
    clients: { clientOf: () => ({ networks: [NETWORK] }) },
  });
  const running = service.run(stop.signal);
  await service.ready(AbortSignal.timeout(10_000));
  const names = hosts.flatMap((members) => members.flatMap(({ names: [first] }) => first ?? []));
  try {
    const title = `${names.length} names on ${HOSTS} hosts`;
    report.figure({ name: `${title}: first answer each`, unit: "ms", values: await askAll(names) });
    report.figure({ name: `${title}: again`, unit: "ms", values: await askAll(names) });
    const changed = await askAll(names, (index) => {
      view = withChange(view, index % HOSTS);
    });
    report.figure({ name: `${title}: a host changed before each`, unit: "ms", values: changed });
  } finally {
    stop.abort();
    await running;
    port.close();
    netlink.close();
  }
};

function membersOf(host: number, count: number): readonly Member[] {
  return Array.from({ length: count }, (_, index) =>
    member([`box-${host}-${index}`, `short${host}x${index}`, "all"], `10.100.${host}.${index}`),
  );
}

/** The same members in a new record, as after a container's start. */
function withChange(view: NamedNetworksView, host: number): NamedNetworksView {
  const members = new Map(view.members.get(NETWORK));
  const before = members.get(hostId(host));
  if (before !== undefined) members.set(hostId(host), { ...before });
  return { ...view, members: new Map([[NETWORK, members]]) };
}

/** Milliseconds from each question to its answer. */
async function askAll(
  names: readonly string[],
  before: (index: number) => void = () => {},
): Promise<number[]> {
  const socket = createSocket("udp4");
  await new Promise<void>((resolve) => socket.connect(DNS_PORT, NAME_SERVER.toString(), resolve));
  const times: number[] = [];
  for (const [index, name] of names.entries()) {
    before(index);
    const query = encode({ type: "query", id: index, questions: [{ name, type: "A" }] });
    const answered = new Promise<Buffer>((resolve) => socket.once("message", resolve));
    const startMs = performance.now();
    socket.send(query);
    const answer = await answered;
    times.push(performance.now() - startMs);
    if (answer.readUInt16BE(6) !== 1) throw new Error(`${name} was not answered`);
  }
  socket.close();
  return times;
}
