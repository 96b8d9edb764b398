/** Measured paths as a table for people, and as JSON. Pure. */

import type { Address, PerFamily } from "../../ipam/addresses/ip.ts";
import { labelOf } from "../../ipam/hosts/host-label.ts";
import { type PathMeasure, verdictOf } from "../probes/survey.ts";
import type { TargetList } from "../probes/target-list.ts";
import { type Cell, type Column, formatTable } from "./table.ts";
import type { Terminal } from "./terminal.ts";

type HostNamesByLease = TargetList["hostNames"];

/** A path from this host, or to a container where `container` is given; null: to the peer's host instead. */
export type ShownMeasure = PathMeasure & { readonly container?: Address | null };

export interface Measures {
  /** The container that packets came from; null for this host. */
  readonly from: { readonly addresses: PerFamily<Address>; readonly bridge: string | null } | null;
  readonly measures: readonly ShownMeasure[];
}

const COLUMNS: readonly Column[] = [
  { title: "PEER" },
  { title: "HOST" },
  { title: "ADDRESS" },
  { title: "PATH" },
  { title: "MIN", align: "right" },
  { title: "P50", align: "right" },
  { title: "P99", align: "right" },
  { title: "LOSS", align: "right" },
  { title: "MTU", align: "right" },
  { title: "" },
];

/** One line for each path, then what was seen where it is broken and what to do. */
export function formatConnectivity(
  { from, measures }: Measures,
  hostNames: HostNamesByLease,
  terminal: Terminal,
): string {
  const rows = measures.map((measure): readonly Cell[] => {
    const { target, roundTripsMs, passesBytes } = measure;
    const time = (share: number): string => milliseconds(quantile(roundTripsMs, share));
    return [
      target.id,
      nameIn(hostNames, target.peer) ?? "-",
      destinationOf(measure),
      target.path,
      time(0),
      time(0.5),
      time(0.99),
      `${Math.round(lossOf(measure) * 100)} %`,
      passesBytes === null ? "-" : `${passesBytes}`,
      verdict(measure),
    ];
  });
  const problems = problemLines(measures, hostNames).map((text) => `  ${terminal.style("red", text)}\n`);
  const heading = problems.length === 0 ? "" : `\n${terminal.style("bold", "problems")}\n`;
  return sourceLine(from) + formatTable(COLUMNS, rows, terminal) + heading + problems.join("");
}

/** With the same cause at more peers than this, they are one problem; the table names them. */
const MOST_ALIKE = 3;

/** One for each broken path, or for each cause that many have. */
function problemLines(measures: readonly ShownMeasure[], hostNames: HostNamesByLease): readonly string[] {
  const groups = new Map<string, string[]>();
  for (const { target, cause } of measures) {
    if (cause === null) continue;
    const label = labelOf(target.id, nameIn(hostNames, target.peer));
    const subject = cause.scope === "peer" ? label : `${label}:`;
    const group = groups.get(cause.code) ?? [];
    group.push(`${subject} ${cause.text}: ${cause.remedy}`);
    groups.set(cause.code, group);
  }
  return [...groups].flatMap(([code, [first = "", ...others]]) =>
    others.length < MOST_ALIKE
      ? [first, ...others]
      : [first, `${others.length} more peers have the cause ${code}`],
  );
}

function sourceLine(from: Measures["from"]): string {
  if (from === null) return "";
  const place = from.bridge === null ? "without a bridge" : `on ${from.bridge}`;
  return `from a container of this host: ${Object.values(from.addresses).join(", ")} ${place}\n\n`;
}

/** The public address, or what packets were sent to. */
function destinationOf({ target, container }: ShownMeasure): string {
  if (container === undefined) return target.outer.toString();
  return container === null ? `${target.inner} (no container)` : container.toString();
}

/** For programs: times in milliseconds, null where there are none. */
export function connectivityToJson(
  { from, measures }: Measures,
  hostNames: HostNamesByLease,
): readonly object[] {
  return measures.map((measure) => {
    const { target, sent, roundTripsMs, passesBytes, cause, container } = measure;
    return {
      peer: target.peer,
      host: nameIn(hostNames, target.peer),
      family: target.family,
      publicAddress: target.outer.toString(),
      ...(from !== null && {
        from: from.addresses[target.family]?.toString(),
        to: `${container ?? target.inner}`,
      }),
      ...(from !== null && { isToContainer: container !== null }),
      path: target.path,
      sent,
      lost: sent - roundTripsMs.length,
      roundTripMs: {
        min: quantile(roundTripsMs, 0),
        p50: quantile(roundTripsMs, 0.5),
        p99: quantile(roundTripsMs, 0.99),
      },
      mtuBytes: passesBytes,
      cause,
    };
  });
}

/** Leases come from the store: one may have the name of what every object inherits. */
function nameIn(hostNames: HostNamesByLease, lease: string): string | null {
  return Object.hasOwn(hostNames, lease) ? (hostNames[lease] ?? null) : null;
}

function verdict(measure: ShownMeasure): Cell {
  const { sent, roundTripsMs, cause } = measure;
  if (cause !== null) return { style: "red", text: cause.code };
  if (verdictOf(measure) === "unknown") return { style: "dim", text: "not known: pings may be filtered" };
  if (roundTripsMs.length === 0) return { style: "green", text: "works: answers TCP, not pings" };
  const lost = sent - roundTripsMs.length;
  return lost > 0 ? { style: "yellow", text: `works, ${lost} lost` } : { style: "green", text: "works" };
}

function lossOf({ sent, roundTripsMs }: PathMeasure): number {
  return 1 - roundTripsMs.length / sent;
}

/** Of ascending values, by the nearest rank; null when there are none. */
function quantile(values: readonly number[], share: number): number | null {
  return values[Math.max(0, Math.ceil(values.length * share) - 1)] ?? null;
}

function milliseconds(value: number | null): string {
  return value === null ? "-" : `${value.toFixed(2)} ms`;
}
