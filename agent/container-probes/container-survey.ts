/** Measures paths from a container of this host to containers of its peers, and tells where those are broken that the hosts' own packets pass. */

import type { Address, PerFamily } from "../../ipam/addresses/ip.ts";
import { type Cause, causeOf } from "../probes/causes.ts";
import type { ProbeTarget } from "../probes/probe.ts";
import type { PathMeasure } from "../probes/survey.ts";
import type { ProbeContainers } from "./request.ts";

/** Where packets come from. */
export type Side = "host" | "container";

/** One that goes to a container, or to the peer's host where `container` is null. */
export interface ContainerMeasure extends PathMeasure {
  readonly container: Address | null;
}

export interface ContainerSurveyOptions {
  /** Of this host's container; targets of other families are left out. */
  readonly own: PerFamily<Address>;
  /** Those that were made for this. */
  readonly containers: ProbeContainers;
  /** Those that a person named, which take the place of the others. */
  readonly named: ProbeContainers;
  readonly survey: (side: Side, targets: readonly ProbeTarget[]) => Promise<readonly PathMeasure[]>;
}

interface Aim {
  readonly target: ProbeTarget;
  readonly container: Address | null;
}

/** In the order of `targets`. */
export async function surveyContainers(
  { own, containers, named, survey }: ContainerSurveyOptions,
  targets: readonly ProbeTarget[],
): Promise<readonly ContainerMeasure[]> {
  const reached = new Map([...containers, ...named]);
  const aims = targets.filter(({ family }) => own[family] !== undefined).map((each) => aimOf(each, reached));
  const measures = await survey("container", aims.map(aimed));
  const all = measures.map((measure, at) => {
    const container = aims[at]?.container ?? null;
    // A container of our own has no firewall.
    const isLost = container !== null && !named.has(measure.target.peer) && isTcpLost(measure);
    return { ...measure, container, cause: isLost ? TCP_LOST : measure.cause };
  });
  const silent = aims.filter((_, at) => isSilent(measures[at]));
  if (silent.length === 0) return all;
  const hosts = silent.map(({ target }) => target);
  const between = await survey("host", hosts);
  const toContainer = await survey("host", silent.map(aimed));
  const fromContainer = await survey("container", hosts);
  const causes = new Map(
    silent.map(({ target, container }, at): [string, Cause | null] => [
      target.id,
      containerCause({
        between: between[at],
        isToHost: container === null,
        isCertain: !named.has(target.peer),
        reachesContainer: !isSilent(toContainer[at]),
        leavesContainer: !isSilent(fromContainer[at]),
      }),
    ]),
  );
  return all.map((one) => {
    const cause = causes.get(one.target.id);
    // Null too: what silence between hosts would prove, that of a container does not.
    return cause === undefined ? one : { ...one, cause };
  });
}

function aimOf(target: ProbeTarget, containers: ProbeContainers): Aim {
  return { target, container: containers.get(target.peer)?.[target.family] ?? null };
}

function aimed({ target, container }: Aim): ProbeTarget {
  return container === null ? target : { ...target, inner: container, isInnerCertain: true };
}

const TCP_LOST = causeOf("tcp-lost", "has containers that answer pings, but not TCP");

function isTcpLost({ cause, answersTcp, roundTripsMs }: PathMeasure): boolean {
  return cause === null && !answersTcp && roundTripsMs.length > 0;
}

function isSilent(measure: PathMeasure | undefined): boolean {
  return measure === undefined || measure.roundTripsMs.length === 0;
}

const NOT_LET_OUT = causeOf(
  "containers-cut-off",
  "answers this host, but not this host's containers: this host does not forward their packets, or not the answers, or the peer's firewall drops them",
);

export interface Comparison {
  /** Host to host. */
  readonly between: PathMeasure | undefined;
  /** The peer has no container, and its host was to answer instead. */
  readonly isToHost: boolean;
  /** The peer's container answers pings, if it is there and they reach it. */
  readonly isCertain: boolean;
  /** This host is answered by the peer's container. */
  readonly reachesContainer: boolean;
  /** This host's container is answered by the peer's host. */
  readonly leavesContainer: boolean;
}

/** Why containers do not reach each other; null where nothing is proven. */
export function containerCause(seen: Comparison): Cause | null {
  const { between, isToHost, isCertain, reachesContainer, leavesContainer } = seen;
  if (between === undefined || isSilent(between)) return between?.cause ?? null;
  if (isToHost) return leavesContainer ? null : NOT_LET_OUT;
  if (!isCertain && !reachesContainer) return null;
  if (leavesContainer && !reachesContainer)
    return causeOf(
      "containers-cut-off",
      "answers itself, but its containers do not: it forwards nothing to them, or not their answers",
    );
  if (reachesContainer && !leavesContainer)
    return causeOf(
      "containers-cut-off",
      "answers this host, but not this host's containers: this host does not forward their packets, or not the answers",
    );
  const rest = reachesContainer
    ? "each host reaches the other's containers, but those do not reach each other"
    : "neither host reaches the other's containers";
  return causeOf("containers-cut-off", `answers this host; ${rest}`);
}
