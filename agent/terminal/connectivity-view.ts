/** Measured paths as a table for people, and as JSON. Pure. */

import type { PathMeasure } from "../probes/survey.ts";
import type { TargetList } from "../probes/target-list.ts";
import { type Cell, type Column, formatTable } from "./table.ts";
import type { Terminal } from "./terminal.ts";

type HostNamesByLease = TargetList["hostNames"];

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

/** One line for each path, then for each broken one what was seen and what to do. */
export function formatConnectivity(
  measures: readonly PathMeasure[],
  hostNames: HostNamesByLease,
  terminal: Terminal,
): string {
  const rows = measures.map((measure): readonly Cell[] => {
    const { target, roundTripsMs, passesBytes, cause } = measure;
    const time = (share: number): string => milliseconds(quantile(roundTripsMs, share));
    return [
      target.id,
      nameIn(hostNames, target.peer) ?? "-",
      target.outer.toString(),
      target.path,
      time(0),
      time(0.5),
      time(0.99),
      `${Math.round(lossOf(measure) * 100)} %`,
      passesBytes === null ? "-" : `${passesBytes}`,
      cause === null ? verdict(measure) : { style: "red", text: cause.code },
    ];
  });
  const causes = measures.flatMap(({ target, cause }) =>
    cause === null ? [] : [`  ${terminal.style("red", `${target.id} ${cause.text}: ${cause.remedy}`)}\n`],
  );
  const heading = causes.length === 0 ? "" : `\n${terminal.style("bold", "problems")}\n`;
  return formatTable(COLUMNS, rows, terminal) + heading + causes.join("");
}

/** For programs: times in milliseconds, null where there are none. */
export function connectivityToJson(
  measures: readonly PathMeasure[],
  hostNames: HostNamesByLease,
): readonly object[] {
  return measures.map((measure) => {
    const { target, sent, roundTripsMs, passesBytes, cause } = measure;
    return {
      peer: target.peer,
      host: nameIn(hostNames, target.peer),
      family: target.family,
      publicAddress: target.outer.toString(),
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

function verdict(measure: PathMeasure): Cell {
  if (lossOf(measure) === 1) return { style: "dim", text: "not known: pings may be filtered" };
  return lossOf(measure) > 0 ? { style: "yellow", text: "lossy" } : { style: "green", text: "works" };
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
