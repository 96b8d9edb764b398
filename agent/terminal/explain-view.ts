/** An explanation as lines for people. Pure. */

import { escapeText } from "../../ipam/escape.ts";
import type { Ending, Explanation, StepState } from "../explain/explanation.ts";
import { SENTENCE_LIMIT } from "./error-line.ts";
import type { Style, Terminal } from "./terminal.ts";

const STYLES: Readonly<Record<StepState, Style | null>> = { ok: null, doubt: "yellow", stop: "red" };
const SUBJECT_WIDTH = 12;

/** A heading, a line for each step, and where it ends and why as the last line. */
export function formatExplanation(heading: string, explanation: Explanation, terminal: Terminal): string {
  const { steps, end } = explanation;
  const lines = steps.map(({ subject, text, state }) => {
    const style = STYLES[state];
    const shown = escapeText(text, SENTENCE_LIMIT - SUBJECT_WIDTH);
    return `  ${escapeText(subject).padEnd(SUBJECT_WIDTH)}${style === null ? shown : terminal.style(style, shown)}\n`;
  });
  return `${terminal.style("bold", heading)}\n${lines.join("")}\n${terminal.style(endStyle(explanation), endLine(end))}\n`;
}

function endStyle({ end: { outcome }, doubts }: Explanation): Style {
  if (outcome === "delivered" || outcome === "leaves") return doubts.length === 0 ? "green" : "yellow";
  return outcome === "unknown" ? "yellow" : "red";
}

/** One sentence with the cause by name, and what to do. */
function endLine({ text, cause, remedy }: Ending): string {
  const named = cause === null ? "" : ` (${cause})`;
  return `${text}${named}${remedy === null ? "" : `: ${remedy}`}`;
}
