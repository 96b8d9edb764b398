/** What this host is to have while the network in the store is another one than the one in force. */

import { expect, it } from "vitest";
import type { FirewallSettings } from "../../../../agent/config/config.ts";
import type { Attachment } from "../../../../agent/network/attachment.ts";
import { DesiredState, type DesiredStateOptions } from "../../../../agent/network/desired-state.ts";
import type { NetworkParts } from "../../../../agent/network/network-parts.ts";
import type { FirewallInput } from "../../../../backends/firewall/plan-input.ts";
import { hostGwBackend } from "../../../../backends/host-gw.ts";
import { MixedBackend } from "../../../../backends/mixed.ts";
import type { Scope } from "../../../../backends/state/contract/kind.ts";
import { describe as describeObject } from "../../../../backends/state/kinds/registry.ts";
import { type Plan, StateTracker } from "../../../../backends/state/tracker.ts";
import { Prefix } from "../../../../ipam/addresses/ip.ts";
import { parseNetworkConfig } from "../../../../ipam/config/network-config-parser.ts";
import { entry, value } from "../../../support/lease-fixture.ts";
import { peerTableLab } from "../../../support/peer-table-lab.ts";
import { hostFacts, OWN, OWN_MAC } from "../../../support/vxlan-fixture.ts";

const configText = (network: string): string =>
  JSON.stringify({ Network: network, Backend: { Type: "host-gw" } });

it("removes the direct route to a host that has moved to the newest range and then left", () => {
  const host = hostFacts();
  const backend = new MixedBackend(
    hostGwBackend.parseOptions({}).prepare(host, [4], { macFor: () => OWN_MAC }),
  );
  const { table, list, del } = peerTableLab({
    leaveGraceMs: 0,
    rejectPeer: (lease) => backend.rejectPeer(lease),
    identitiesOf: () => [],
  });
  const tracker = new StateTracker({
    ...{ devices: new Set(), sharedDevices: new Set(["under0"]), nexthopDevices: new Set(["under0"]) },
    ...{ networks: [Prefix.parse("10.2.0.0/16")], sysctls: new Set() },
  });
  const nothing = (): void => undefined;
  const planned: string[] = [];
  let isolated: readonly Prefix[] = [];
  const parts = {
    peers: table,
    firewall: {
      update: async (_network: null, input: FirewallInput) => {
        planned.push(`other ranges: ${input.otherRanges?.join()}`);
      },
    },
    reconciler: {
      setDesired: (plan: Plan) => tracker.setDesired(plan),
      setScope: (scope: Scope) => tracker.setScope(scope),
    },
    runner: { follow: nothing },
  } as unknown as NetworkParts;
  const attachment = { networkConfig: parseNetworkConfig(configText("10.2.0.0/16")), backend, host };
  const desired = new DesiredState(
    {
      network: null,
      attachment: attachment as unknown as Attachment,
      subnets: OWN,
      firewall: { enableForwarding: false, blackholeRoute: false, tunnelSources: "any" } as FirewallSettings,
      ranges: [Prefix.parse("10.2.0.0/16")],
      isolated: () => isolated,
      port: { hasNexthopObjects: false, links: () => [] },
      identity: { deviceMacsOf: () => new Set() },
      ownership: { owned: { devices: new Set(), interfaces: new Set(["under0"]) } },
      metrics: { setPeers: nothing },
      rejections: { noteChanges: nothing },
    } as unknown as DesiredStateOptions,
    parts,
  );
  const settle = (): string[] =>
    tracker.pending().map((pending) => {
      tracker.confirm(pending);
      return `${pending.change.op} ${describeObject(pending.change.object)}`;
    });
  const moved = value(5, { ip: "192.168.50.5", backendType: "host-gw", backendData: {} });
  list([entry("10.9.5.0-24", 5, { value: moved })], 0, configText("10.9.0.0/16"));
  desired.peersChanged();
  expect(settle()).toEqual(["create route 10.9.5.0/24 via 192.168.50.5 dev under0 proto 116"]);
  expect(planned).toEqual(["other ranges: 10.9.0.0/16"]);
  del("10.9.5.0-24", 0);
  table.expire(0);
  desired.peersChanged();
  expect(settle()).toEqual(["delete route 10.9.5.0/24 via 192.168.50.5 dev under0 proto 116"]);
  expect(planned.slice(1)).toEqual(["other ranges: "]);
  list([entry("10.9.5.0-24", 5, { value: moved })], 0, configText("10.9.0.0/16"));
  desired.peersChanged();
  isolated = [Prefix.parse("10.9.0.0/16")];
  desired.isolationChanged();
  expect(planned.slice(2)).toEqual(["other ranges: 10.9.0.0/16", "other ranges: "]);
});
