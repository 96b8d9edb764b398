/** What was aimed at, beside what flanneld 0.20, 0.22.3 and its newest release took on a like machine, and which figures answer it. */

interface Sought {
  readonly bench: string;
  readonly name: string;
  /** The 99th percentile instead of the median. */
  readonly p99?: true;
}

export interface Target {
  readonly measure: string;
  readonly flanneld: string;
  readonly aim: string;
  readonly figures: readonly Sought[];
}

const of = (bench: string, ...names: readonly string[]): Sought[] => names.map((name) => ({ bench, name }));

export const TARGETS: readonly Target[] = [
  {
    measure: "the machine: a Node that does nothing, exec to end",
    flanneld: "(28 ms there)",
    aim: "(28 ms there)",
    figures: of("yardstick", "node -e 0"),
  },
  {
    measure: "5,000 leases, exec to all programmed · processor time · etcd's",
    flanneld: "6.0 s · 3.3–5.0 s · 3.1 s",
    aim: "0.5 s · 0.6 s · 0.1 s",
    figures: of(
      "cold-start",
      "tulled, 5000 leases: all programmed",
      "tulled, 5000 leases: processor time",
      "tulled, 5000 leases: etcd's processor time",
    ),
  },
  {
    measure: "programming 5,000 peers alone",
    flanneld: "3.5 s",
    aim: "0.1 s",
    figures: of("kernel", "5000 peers: programmed"),
  },
  {
    measure: "50,000 leases, exec to all programmed · memory",
    flanneld: "not tried",
    aim: "5 s · 250 MiB",
    figures: [
      ...of("cold-start", "tulled, 50000 leases: all programmed"),
      ...of("scale", "50000 leases: proportional memory"),
    ],
  },
  {
    measure: "burst of 1,000 joins by single puts, all programmed · the store alone",
    flanneld: "1.2 s",
    aim: "the store's time + 0.1 s",
    figures: of(
      "burst",
      "tulled, burst of 1000: joins by single puts: all programmed",
      "tulled, burst of 1000: joins by single puts: the store alone",
    ),
  },
  {
    measure: "burst of 1,000 joins, 100 per transaction, all programmed · the store alone",
    flanneld: "0.75 s",
    aim: "0.2 s",
    figures: of(
      "burst",
      "tulled, burst of 1000: joins, 100 per transaction: all programmed",
      "tulled, burst of 1000: joins, 100 per transaction: the store alone",
    ),
  },
  {
    measure: "join among 5,000 leases, median · p99",
    flanneld: "3.3–3.6 · 7.8–10.8 ms",
    aim: "2.5 · 6 ms",
    figures: [
      ...of("join-leave", "tulled, 5000 leases: join, put to route"),
      { bench: "join-leave", name: "tulled, 5000 leases: join, put to route", p99: true },
    ],
  },
  {
    measure: "repair among 1,000 peers: route · neighbour · FDB entry · nexthop · address · setting",
    flanneld: "never",
    aim: "20 ms",
    figures: of(
      "kernel",
      "1000 peers, a deleted route: repaired",
      "1000 peers, a deleted neighbour: repaired",
      "1000 peers, a deleted FDB entry: repaired",
      "1000 peers, a deleted nexthop object and its route: repaired",
      "1000 peers, a deleted address: repaired",
      "1000 peers, a setting: repaired",
    ),
  },
  {
    measure: "repair of the deleted device with 1,000 peers, all entries",
    flanneld: "never",
    aim: "300 ms",
    figures: of("kernel", "1000 peers, the device deleted, with all entries: repaired"),
  },
  {
    measure: "restart under traffic among 1,000 leases, new lease served · packets lost",
    flanneld: "1.3–1.4 s · 1–5 of 1,200",
    aim: "0.5 s · 0",
    figures: of(
      "restart",
      "tulled, restart among 1000 leases: exec to a new lease served",
      "tulled, restart among 1000 leases: packets lost",
    ),
  },
  {
    measure: "proportional memory, idle: 0 · 5,000 leases",
    flanneld: "31 · 39 MiB",
    aim: "65 · 80 MiB",
    figures: of(
      "footprint",
      "tulled, 0 leases: proportional memory",
      "tulled, 5000 leases: proportional memory",
    ),
  },
  {
    measure: "processor time in 60 idle seconds: 0 · 5,000 leases",
    flanneld: "0.09–0.19 s",
    aim: "0.1 s",
    figures: of(
      "footprint",
      "tulled, 0 leases: processor time in 60 idle seconds",
      "tulled, 5000 leases: processor time in 60 idle seconds",
    ),
  },
  {
    measure: "50 agents at once, all complete · exits",
    flanneld: "4.9 s · 4",
    aim: "4.5 s · 0",
    figures: of(
      "herd",
      "tulled, 50 agents at once: the last one complete",
      "tulled, 50 agents at once: exits",
    ),
  },
];
