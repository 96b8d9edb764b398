/** What a fake Docker Engine has and is asked for. Types only. */

export interface CreateOptions {
  readonly driver?: string;
  readonly ipamDriver?: string;
  readonly ipamOptions?: Readonly<Record<string, string>>;
  /** `--subnet`, `--ip-range`, `--gateway`, one entry per subnet. */
  readonly config?: readonly {
    readonly Subnet?: string;
    readonly IPRange?: string;
    readonly Gateway?: string;
  }[];
  /** `--aux-address`. */
  readonly aux?: readonly string[];
  readonly options?: Readonly<Record<string, string>>;
  readonly labels?: Readonly<Record<string, string>>;
  readonly isInternal?: boolean;
  readonly hasIpv6?: boolean;
}

export interface EngineContainer {
  readonly id: string;
  name: string;
  endpoints: Map<string, EngineEndpoint>;
  isRunning: boolean;
  restartPolicy: string;
  error: string;
}

export interface EngineEndpoint {
  readonly id: string;
  readonly mac?: string;
  readonly address: string;
  readonly poolId: string;
  readonly aliases: readonly string[];
  readonly sourceName: string;
  /** Until Join is answered the engine lists no container with it. */
  readonly isConnecting: boolean;
}

export interface EnginePool {
  readonly poolId: string;
  readonly subnet: string;
  readonly gateway: string;
}

export interface EngineNetwork {
  readonly id: string;
  readonly name: string;
  readonly options: CreateOptions;
  readonly pools: readonly EnginePool[];
}

/** The body of POST /networks/create. */
export interface ApiNetwork {
  readonly Name: string;
  readonly Driver: string;
  readonly Internal: boolean;
  readonly EnableIPv6: boolean;
  readonly IPAM: {
    readonly Driver: string;
    readonly Options: Record<string, string>;
    readonly Config: { Subnet: string; Gateway: string }[];
  };
  readonly Options: Record<string, string>;
  readonly Labels: Record<string, string>;
}
