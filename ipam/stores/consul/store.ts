/** Opens Consul as a store. */

import type { StoreConnection } from "../contracts.ts";
import { layoutOf } from "../layout.ts";
import { networkOver } from "../network-store.ts";
import type { ConsulOptions, StoreEnvironment } from "../options.ts";
import { ConsulClient } from "./client.ts";
import { ConsulKeyValue } from "./key-value.ts";
import { ConsulKv } from "./kv.ts";
import { ConsulSessions } from "./sessions.ts";

/** Opens a connection that connects at the first call. ConfigError for unusable addresses. */
export function openConsulStore(options: ConsulOptions, environment: StoreEnvironment): StoreConnection {
  const client = new ConsulClient(options, environment);
  const sessions = new ConsulSessions(client, options.nodeName, environment);
  return {
    description: `consul ${client.description}`,
    remoteHost: client.endpoints[0]?.host ?? null,
    remoteHosts: client.endpoints.flatMap(({ host }) => host ?? []),
    network: (prefix) => {
      // Consul's keys have no leading slash: it rejects one.
      const layout = layoutOf(prefix.replace(/^\/+/, ""));
      const description = `consul ${client.description} ${prefix}`;
      const kv = new ConsulKv(client, layout);
      const keys = new ConsulKeyValue({ client, kv, sessions, environment, description });
      return networkOver(keys, layout, description);
    },
    redial: () => client.redial(),
    close: async () => client.close(),
  };
}
